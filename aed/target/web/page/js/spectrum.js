// The latest columns of the net's input, as a picture that moves.

const STOPS = [[8, 10, 30], [52, 22, 98], [130, 38, 110], [204, 70, 78], [247, 148, 60], [252, 232, 164]];

// Colours of 256 values.
function colours() {
  const table = new Uint8ClampedArray(4 * 256);
  for (let value = 0; value < 256; value++) {
    const place = (value / 255) * (STOPS.length - 1);
    const stop = Math.min(STOPS.length - 2, Math.floor(place));
    for (let i = 0; i < 3; i++) {
      table[4 * value + i] = STOPS[stop][i] + (place - stop) * (STOPS[stop + 1][i] - STOPS[stop][i]);
    }
    table[4 * value + 3] = 255;
  }
  return table;
}

// Gives a canvas as many pixels as the screen has there; returns its context.
function fitted(canvas) {
  const scale = Math.min(2, devicePixelRatio);
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return canvas.getContext("2d");
}

class Spectrum {
  constructor(canvas, mels, columns) {
    this.canvas = canvas;
    this.columns = columns;
    this.ring = document.createElement("canvas");
    this.ring.width = columns;
    this.ring.height = mels;
    this.into = this.ring.getContext("2d");
    this.column = this.into.createImageData(1, mels);
    this.table = colours();
    this.clear();
  }

  clear() {
    this.count = 0;
    this.into.clearRect(0, 0, this.ring.width, this.ring.height);
  }

  add(values) {
    const last = values.length - 1;
    for (let i = 0; i <= last; i++) {
      const from = 4 * (values[i] + 128);
      this.column.data.set(this.table.subarray(from, from + 4), 4 * (last - i));
    }
    this.into.putImageData(this.column, this.count % this.columns, 0);
    this.count++;
  }

  draw() {
    const context = fitted(this.canvas);
    const { width, height } = this.canvas;
    const split = this.count % this.columns;
    const old = ((this.columns - split) / this.columns) * width;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    if (split < this.columns) {
      context.drawImage(this.ring, split, 0, this.columns - split, this.ring.height, 0, 0, old, height);
    }
    if (split > 0) context.drawImage(this.ring, 0, 0, split, this.ring.height, old, 0, width - old, height);
  }
}
