// The microphone, without what a browser does to speech.

const WANTED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const PROCESSING = { echoCancellation: "echo cancellation", noiseSuppression: "noise suppression", autoGainControl: "gain control" };

class Microphone {
  // heard(samples, ageS): a block, and how long ago its last sample was heard.
  static async open(rate, heard) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...WANTED, channelCount: 1 } });
    const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    await context.audioWorklet.addModule("worklet.js");
    const node = new AudioWorkletNode(context, "samples", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => heard(data.samples, context.currentTime - data.end);
    context.createMediaStreamSource(stream).connect(node);
    await context.resume();
    return new Microphone(stream, context);
  }

  constructor(stream, context) {
    this.stream = stream;
    this.context = context;
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
    return `Microphone: ${rate}resampled by the browser to ${this.context.sampleRate} Hz; ${state}.`;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}
