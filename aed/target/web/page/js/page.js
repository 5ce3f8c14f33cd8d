// The page: what its buttons do, and what it shows of the stream.

const SPAN_S = innerWidth < 640 ? 8 : 16;

const at = (id) => document.getElementById(id);

class Page {
  constructor(facts, engine) {
    this.facts = facts;
    this.engine = engine;
    this.store = new Store(facts);
    this.events = new Events(facts.classes);
    this.spectrum = new Spectrum(at("spectrum"), facts.n_mels, Math.round((SPAN_S * facts.rate) / facts.hop_length));
    this.lanes = new Lanes(at("lanes"), engine, SPAN_S, () => this.moved());
    this.list = new EventList(at("events"), at("none"), (action, event) => this.guard(() => this.act(action, event)));
    this.learned = new Learned(at("learned"), at("teach"), engine, () => at("label").value.trim(), (text) => this.say(text));
    this.sources = new Sources(this, facts.rate);
    this.recordFrom = null;
    this.peak = 0;
    this.stale = true;
    this.see = {
      column: (values) => this.spectrum.add(values),
      decision: (startS, probabilities, quiet) => this.decided(startS, probabilities, quiet),
      event: (kind, found) => this.happens(kind, found),
    };
    this.begin();
  }

  begin() {
    at("proof").textContent = this.engine.differing === 0
      ? `Int8 net ${this.facts.title}: here it gives the very bits of ONNX Runtime.`
      : `${this.engine.differing} outputs of the self-test differ from ONNX Runtime: do not trust this page.`;
    if (this.facts.gate_dbfs !== null) at("gate").textContent = `Under ${this.facts.gate_dbfs} dB the net does not run.`;
    at("span").textContent = `${SPAN_S} s ago`;
    at("place").textContent = this.store.place;
    at("labels").append(...this.facts.classes.map((name) => element("option", { value: name })));
    at("label").value = this.facts.classes[0];
    at("write-rule").textContent = this.store.server ? "Write thresholds to a copy of the model" : "Download thresholds";
    const press = { microphone: () => this.sources.listen(), "save-sound": () => this.saveSound(), "save-events": () => this.saveEvents(), record: () => this.record() };
    press.teach = () => this.learned.press();
    press["reset-rule"] = () => { this.lanes.reset(); this.moved(); };
    press["write-rule"] = async () => this.say(await this.store.rule(this.lanes.thresholds));
    for (const [id, action] of Object.entries(press)) {
      at(id).addEventListener("click", () => this.guard(action));
      at(id).disabled = false;
    }
    at("files").disabled = false;
    at("files").addEventListener("change", () => this.guard(async () => {
      await this.sources.openFiles([...at("files").files]);
      at("files").value = "";
    }));
    addEventListener("dragover", (drag) => { drag.preventDefault(); document.body.classList.add("dropping"); });
    addEventListener("dragleave", () => document.body.classList.remove("dropping"));
    addEventListener("drop", (drop) => {
      drop.preventDefault();
      document.body.classList.remove("dropping");
      this.guard(() => this.sources.openFiles([...drop.dataTransfer.files]));
    });
    addEventListener("resize", () => this.moved());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.moved());
    const frame = () => { this.draw(); requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
  }

  async guard(action) {
    try {
      await action();
    } catch (error) {
      this.say(error.message, true);
    }
  }

  say(text, bad = false) {
    at("message").textContent = text;
    at("message").classList.toggle("bad", bad);
  }

  moved() {
    this.stale = true;
  }

  // The stream is over.
  async finish() {
    if (this.recordFrom !== null) await this.record();
    this.engine.finish(this.see);
    this.moved();
  }

  restart() {
    this.engine.begin();
    this.spectrum.clear();
    this.lanes.clear();
    this.events.clear();
    this.list.clear();
    this.recordFrom = null;
    this.say("");
  }

  take(wave) {
    for (const value of wave) this.peak = Math.max(this.peak, Math.abs(value));
    this.engine.hear(wave, this.see);
    this.stale = true;
  }

  decided(startS, probabilities, quiet) {
    const { patch_s, hop_s } = this.facts;
    if (!quiet) this.learned.decided();
    this.lanes.add(startS + (patch_s - hop_s) / 2, probabilities);
  }

  happens(kind, found) {
    const event = this.events.add(kind, found) ?? this.events.open.get(found.label) ?? this.events.ended.at(-1);
    if (kind === "begins") {
      this.lanes.addBar(event);
      this.list.add(event);
    } else {
      this.list.show(event);
    }
  }

  saveSound() {
    const { kept } = this.engine;
    download(wavOf(kept.between(kept.first, kept.count), this.facts.rate), "heard.wav");
    if (kept.first > 0) this.say(`heard.wav has the last ${KEPT_S / 60} minutes.`);
  }

  saveEvents() {
    download(new Blob([this.events.csv("heard.wav")], { type: "text/csv" }), "events.csv");
  }

  // The sound of an event, with half a patch around it.
  samplesOf(event) {
    const { rate, patch_s } = this.facts;
    const end = event.offset ?? this.engine.heardS;
    const samples = this.engine.kept.between((event.onset - patch_s / 2) * rate, (end + patch_s / 2) * rate);
    if (!samples.length) throw new Error(`The sound of ${event.name} is no longer kept: it is over ${KEPT_S / 60} minutes old.`);
    return samples;
  }

  async act(action, event) {
    if (action === "play") return this.play(this.samplesOf(event));
    const label = { right: event.name, wrong: "background", other: at("label").value.trim() }[action];
    if (!label) throw new Error("Class: type a name below, under Record.");
    this.list.saved(event, await this.store.clip(this.samplesOf(event), label, `${action} ${event.name} ${event.onset.toFixed(3)} ${this.sources.name}`));
  }

  async play(samples) {
    this.player ??= new AudioContext();
    await this.player.resume();
    const buffer = this.player.createBuffer(1, samples.length, this.facts.rate);
    buffer.copyToChannel(Float32Array.from(samples, (value) => value / 32768), 0);
    this.playing?.stop();
    this.playing = this.player.createBufferSource();
    this.playing.buffer = buffer;
    this.playing.connect(this.player.destination);
    this.playing.start();
  }

  async record() {
    const label = at("label").value.trim();
    if (this.recordFrom === null) {
      if (!this.sources.microphone) throw new Error("Start the microphone first.");
      if (!label) throw new Error("Class: type the name of what you record.");
      this.recordFrom = this.engine.kept.count;
      at("record").setAttribute("aria-pressed", "true");
      at("record").textContent = "Stop";
      return;
    }
    const samples = this.engine.kept.between(this.recordFrom, this.engine.kept.count);
    this.recordFrom = null;
    at("record").setAttribute("aria-pressed", "false");
    at("record").textContent = "Record";
    if (!samples.length) throw new Error("Nothing was recorded.");
    this.say(`${(samples.length / this.facts.rate).toFixed(1)} s ${await this.store.clip(samples, label, "recorded")}`);
  }

  draw() {
    const level = this.peak > 0 ? Math.max(-60, 20 * Math.log10(this.peak)) : -60;
    this.peak *= 0.9;
    at("level").style.transform = `scaleX(${1 + level / 60})`;
    if (!this.stale) return;
    this.stale = false;
    this.spectrum.draw();
    this.lanes.draw(this.engine.heardS);
    this.numbers(level);
  }

  numbers(level) {
    const heardS = this.engine.heardS;
    const ms = 1000 * heardS;
    at("meter").setAttribute("aria-valuenow", level.toFixed(0));
    at("decibels").textContent = level > -60 ? `${level.toFixed(0)} dB` : "–";
    at("heard").textContent = `${heardS.toFixed(1)} s`;
    at("latency").textContent = this.sources.microphone && this.sources.latencyMs ? `${this.sources.latencyMs.toFixed(0)} ms` : "–";
    at("load").textContent = ms > 0 ? `${((100 * this.engine.busyMs) / ms).toFixed(1)} %, ${(ms / Math.max(1, this.engine.busyMs)).toFixed(0)} × real time` : "–";
    const time = this.recordFrom === null ? "" : `${((this.engine.kept.count - this.recordFrom) / this.facts.rate).toFixed(1)} s`;
    at("recording").textContent = time;
  }
}

async function start() {
  const asked = fetch("aed_web.json", { cache: "no-cache" }).then((answer) => answer.json());
  const [facts, wasm] = await Promise.all([asked, Engine.load()]);
  document.title = `Listen: ${facts.title}`;
  at("title").textContent = facts.title;
  new Page(facts, new Engine(facts, wasm));
}

start().catch((error) => {
  at("proof").textContent = `The page cannot start: ${error.message}`;
});
