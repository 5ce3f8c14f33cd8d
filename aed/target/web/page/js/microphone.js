// The microphone, without what a browser does to speech.

const WANTED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const PROCESSING = { echoCancellation: "echo cancellation", noiseSuppression: "noise suppression", autoGainControl: "gain control" };

const CROSSINGS = 24;
const STEPS = 512;

// Blocks of samples at another rate, for browsers that connect no microphone to a context of the rate that is wanted: a
// sinc under a Hann window, from a table between whose values lines are drawn.
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.cutoff = 0.94 * Math.min(1, to / from);
    this.reach = Math.ceil(CROSSINGS / this.cutoff);
    this.table = Float64Array.from({ length: CROSSINGS * STEPS + 2 }, (_, i) => {
      const x = i / STEPS;
      const window = x < CROSSINGS ? 0.5 + 0.5 * Math.cos((Math.PI * x) / CROSSINGS) : 0;
      return this.cutoff * window * (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
    });
    this.waiting = new Float32Array(this.reach);
    this.next = this.reach;
  }

  weight(distance) {
    const place = Math.abs(distance) * this.cutoff * STEPS;
    const low = Math.floor(place);
    return low + 1 < this.table.length ? this.table[low] + (place - low) * (this.table[low + 1] - this.table[low]) : 0;
  }

  take(block) {
    const samples = new Float32Array(this.waiting.length + block.length);
    samples.set(this.waiting);
    samples.set(block, this.waiting.length);
    const made = [];
    for (; this.next + this.reach < samples.length; this.next += this.step) {
      const middle = Math.floor(this.next);
      let sum = 0;
      for (let i = Math.max(0, middle - this.reach + 1); i <= middle + this.reach; i++) sum += samples[i] * this.weight(i - this.next);
      made.push(sum);
    }
    const done = Math.max(0, Math.floor(this.next) - this.reach);
    this.waiting = samples.slice(done);
    this.next -= done;
    return Float32Array.from(made);
  }
}

class Microphone {
  // heard(samples, ageS): a block, and how long ago its last sample was heard.
  static async open(rate, heard) {
    if (!navigator.mediaDevices) throw new Error("A browser gives the microphone to pages of https, or of this machine, only.");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { ...WANTED, channelCount: 1 } });
    } catch (error) {
      throw new Error(`The browser gives no microphone (${error.message}): allow it for this page, and see that one is there.`);
    }
    const [context, source] = Microphone.connect(stream, rate);
    await context.audioWorklet.addModule("worklet.js");
    const node = new AudioWorkletNode(context, "samples", { numberOfOutputs: 0 });
    const resampler = context.sampleRate === rate ? null : new Resampler(context.sampleRate, rate);
    node.port.onmessage = ({ data }) => heard(resampler ? resampler.take(data.samples) : data.samples, context.currentTime - data.end);
    source.connect(node);
    await context.resume();
    return new Microphone(stream, context, rate, resampler === null);
  }

  // A context of the rate and the microphone in it; where the browser refuses, a context of the microphone's rate.
  static connect(stream, rate) {
    const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    try {
      return [context, context.createMediaStreamSource(stream)];
    } catch (error) {
      context.close();
      const own = new AudioContext({ latencyHint: "interactive" });
      return [own, own.createMediaStreamSource(stream)];
    }
  }

  constructor(stream, context, rate, byBrowser) {
    this.stream = stream;
    this.context = context;
    this.resampling = `resampled by ${byBrowser ? "the browser" : "the page"} to ${rate} Hz`;
  }

  // What the browser really gives, in words.
  get words() {
    const own = this.stream.getAudioTracks()[0].getSettings();
    const names = Object.keys(PROCESSING);
    const on = names.filter((name) => own[name]).map((name) => PROCESSING[name]);
    const unsaid = names.filter((name) => own[name] === undefined).map((name) => PROCESSING[name]);
    const rate = own.sampleRate ? `${own.sampleRate} Hz, ` : "";
    const state = on.length ? `with ${on.join(", ")}, which the browser does not switch off: scores suffer`
      : unsaid.length ? `the browser does not say whether it uses ${unsaid.join(", ")}`
      : "echo cancellation, noise suppression and gain control are off";
    return `Microphone: ${rate}${this.resampling}; ${state}.`;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}
