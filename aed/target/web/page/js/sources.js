// Where the sound comes from: the microphone, or files one after the other.

const FILE_BLOCK_S = 0.25;
const BUSY_MS = 30;

class Sources {
  // page: hears (restart, take, finish), and says what is done.
  constructor(page, rate) {
    this.page = page;
    this.rate = rate;
    this.microphone = null;
    this.reading = false;
    this.name = "nothing";
  }

  async listen() {
    if (this.microphone) return this.stop();
    this.refuseWhileReading();
    const microphone = await Microphone.open(this.rate, (samples, ageS) => {
      if (this.microphone !== microphone) return;
      this.page.take(samples);
      this.latencyMs = 1000 * (ageS + samples.length / this.rate);
    });
    const unplugged = () => this.page.guard(() => this.stop());
    microphone.stream.getAudioTracks()[0].addEventListener("ended", unplugged);
    this.page.restart();
    this.name = "microphone";
    this.show(microphone, microphone.words);
  }

  async stop() {
    const { microphone } = this;
    if (!microphone) return;
    this.show(null, at("device").textContent);
    await microphone.close();
    await this.page.finish();
  }

  show(microphone, words) {
    this.microphone = microphone;
    at("device").textContent = words;
    at("microphone").textContent = microphone ? "Stop microphone" : "Start microphone";
    at("files").disabled = microphone !== null;
    at("files-label").classList.toggle("off", microphone !== null);
  }

  refuseWhileReading() {
    if (this.reading) throw new Error("Still hearing a file: wait until it is over.");
  }

  async openFiles(files) {
    this.refuseWhileReading();
    await this.stop();
    this.reading = true;
    try {
      for (const file of files) await this.hearFile(file);
    } finally {
      this.reading = false;
    }
  }

  async hearFile(file) {
    this.page.say(`Reading ${file.name} …`);
    let sound;
    try {
      sound = await readSound(file, this.rate);
    } catch (error) {
      throw new Error(`${file.name}: no recording that this browser can read (${error.message})`);
    }
    this.page.restart();
    this.name = file.name;
    await this.hearAll(sound.wave);
    const how = sound.exact ? "its own samples" : "resampled by the browser: save the sound to detect the same samples elsewhere";
    at("device").textContent = `${file.name}: ${how}.`;
    this.page.say(`${file.name}: ${this.page.events.ended.length} events in ${(sound.wave.length / this.rate).toFixed(1)} s.`);
  }

  // The page stays alive meanwhile.
  async hearAll(wave) {
    const block = Math.round(FILE_BLOCK_S * this.rate);
    let since = performance.now();
    for (let from = 0; from < wave.length; from += block) {
      this.page.take(wave.subarray(from, from + block));
      if (performance.now() - since > BUSY_MS) {
        await new Promise((resolve) => setTimeout(resolve));
        since = performance.now();
      }
    }
    await this.page.finish();
  }
}
