// Recordings: wav files in and out, and other files as the browser decodes them.

function text(view, at, length) {
  return String.fromCharCode(...new Uint8Array(view.buffer, at, length));
}

// The samples of a wav of 16 bits at a rate, the mean of its channels; null: another file, for the browser to decode.
function wavSamples(buffer, rate) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 44 || text(view, 0, 4) !== "RIFF" || text(view, 8, 4) !== "WAVE") return null;
  let channels = 0;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const name = text(view, at, 4);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (name === "fmt ") {
      const plain = view.getUint16(start, true) === 1 && view.getUint16(start + 14, true) === 16;
      if (!plain || view.getUint32(start + 4, true) !== rate) return null;
      channels = view.getUint16(start + 2, true);
    } else if (name === "data") {
      if (!channels) return null;
      const frames = Math.floor(Math.min(size, buffer.byteLength - start) / 2 / channels);
      const wave = new Float32Array(frames);
      for (let i = 0; i < frames; i++) {
        let sum = 0;
        for (let c = 0; c < channels; c++) sum += view.getInt16(start + 2 * (i * channels + c), true);
        wave[i] = sum / 32768 / channels;
      }
      return wave;
    }
    at = start + size + (size % 2);
  }
  return null;
}

// Any recording that the browser reads, at a rate; whether its samples are the file's own.
async function readSound(file, rate) {
  const buffer = await file.arrayBuffer();
  const own = wavSamples(buffer, rate);
  if (own) return { wave: own, exact: true };
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);
  const wave = new Float32Array(decoded.length);
  for (let c = 0; c < decoded.numberOfChannels; c++) {
    const channel = decoded.getChannelData(c);
    for (let i = 0; i < wave.length; i++) wave[i] += channel[i] / decoded.numberOfChannels;
  }
  return { wave, exact: false };
}

// A wav of 16-bit samples.
function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44));
  const write = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  return new Blob([view, samples], { type: "audio/wav" });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A part of a row of csv.
function quoted(value) {
  return /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value);
}
