// The microphone's samples, the mean of its channels, in blocks; `end`: when the last one was heard, s.
const BLOCK = 512;

class Samples extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.count = 0;
  }

  process([channels]) {
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.count++] = sum / channels.length;
      if (this.count === BLOCK) {
        this.port.postMessage({ samples: this.block, end: currentTime + (i + 1) / sampleRate }, [this.block.buffer]);
        this.block = new Float32Array(BLOCK);
        this.count = 0;
      }
    }
    return true;
  }
}

registerProcessor("samples", Samples);
