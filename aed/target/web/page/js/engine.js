// The device: its C as WebAssembly, and the samples that it heard last.

const KEPT_S = 600;
const EVENT_BYTES = 40;
const KINDS = ["begins", "lasts", "ends"];

// The last samples of a stream, 16 bits each, in memory that does not grow.
class Kept {
  constructor(length) {
    this.ring = new Int16Array(length);
    this.count = 0;
  }

  add(samples) {
    const at = this.count % this.ring.length;
    const room = Math.min(samples.length, this.ring.length - at);
    this.ring.set(samples.subarray(0, room), at);
    this.ring.set(samples.subarray(room), 0);
    this.count += samples.length;
  }

  get first() {
    return Math.max(0, this.count - this.ring.length);
  }

  // Samples from one number to another; those that are no longer kept, or not yet heard, are left out.
  between(from, to) {
    const start = Math.max(this.first, Math.round(from));
    const length = Math.max(0, Math.min(this.count, Math.round(to)) - start);
    const samples = new Int16Array(length);
    const at = start % this.ring.length;
    const room = Math.min(length, this.ring.length - at);
    samples.set(this.ring.subarray(at, at + room));
    samples.set(this.ring.subarray(0, length - room), room);
    return samples;
  }
}

class Engine {
  constructor(facts, wasm) {
    const memory = wasm.memory.buffer;
    this.facts = facts;
    this.wasm = wasm;
    this.differing = wasm.selftest();
    this.block = wasm.block();
    this.wave = new Float32Array(memory, wasm.wave(), this.block);
    this.samples = new Int16Array(memory, wasm.samples(), this.block);
    this.probability = new Float32Array(memory, wasm.probability(), facts.classes.length);
    this.on = new Float32Array(memory, wasm.on(), facts.classes.length);
    this.off = new Float32Array(memory, wasm.off(), facts.classes.length);
    this.columns = new Int8Array(memory, wasm.columns());
    this.found = new DataView(memory, wasm.found(), EVENT_BYTES * facts.classes.length);
    this.cosine = wasm.learn ? new Float32Array(memory, wasm.cosine(), wasm.learn()) : null;
    this.kept = new Kept(KEPT_S * facts.rate);
    wasm.reset_rule();
    this.begin();
  }

  // What the constructor needs beside the facts, which are fetched at the same time.
  static async load() {
    const bytes = await (await fetch("aed.wasm", { cache: "no-cache" })).arrayBuffer();
    return (await WebAssembly.instantiate(bytes, {})).instance.exports;
  }

  begin() {
    this.wasm.begin();
    this.kept.count = 0;
    this.decisions = 0;
    this.busyMs = 0;
  }

  get heardS() {
    return this.kept.count / this.facts.rate;
  }

  // Hears samples in [-1, 1]. see: {column(values), decision(startS, probabilities, quiet), event(kind, event)}.
  hear(wave, see) {
    for (let from = 0; from < wave.length; from += this.block) {
      const count = Math.min(this.block, wave.length - from);
      const started = performance.now();
      this.wave.set(wave.subarray(from, from + count));
      this.wasm.take(count);
      this.kept.add(this.samples.subarray(0, count));
      for (let at = 0; at < count; ) {
        at += this.wasm.hear(at, count - at);
        this.report(see);
      }
      this.busyMs += performance.now() - started;
    }
  }

  report(see) {
    const mels = this.facts.n_mels;
    for (let i = 0; i < this.wasm.num_columns(); i++) see.column(this.columns.subarray(i * mels, (i + 1) * mels));
    if (this.wasm.decided() === 0) return;
    see.decision(this.decisions * this.facts.hop_s, this.probability, this.wasm.decided() === 2);
    this.decisions++;
    this.events(see);
  }

  events(see) {
    for (let i = 0; i < this.wasm.num_found(); i++) {
      const at = i * EVENT_BYTES;
      see.event(KINDS[this.found.getInt32(at + 32, true)], {
        label: this.found.getInt32(at + 28, true),
        onset: this.found.getFloat64(at, true),
        offset: this.found.getFloat64(at + 8, true),
        heard: this.found.getFloat64(at + 16, true),
        probability: this.found.getFloat32(at + 24, true),
      });
    }
  }

  // The stream is over: events that are still open end.
  finish(see) {
    this.wasm.finish();
    this.events(see);
  }
}
