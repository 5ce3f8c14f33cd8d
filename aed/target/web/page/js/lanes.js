// A lane for each class: its posteriors, its threshold, its events.

const NEVER = 1;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A number as people and the command line write it.
const rounded = (value) => Number(value.toFixed(6));

class Lanes {
  // changed(): a threshold is another one.
  constructor(list, engine, spanS, changed) {
    this.engine = engine;
    this.spanS = spanS;
    this.rows = Math.ceil(spanS / engine.facts.hop_s) + 2;
    this.cardOn = engine.on.slice();
    this.cardOff = engine.off.slice();
    this.lanes = engine.facts.classes.map((name, label) => this.lane(name, label, changed));
    list.replaceChildren(...this.lanes.map((lane) => lane.item));
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.lane.visible = entry.isIntersecting;
    }, { rootMargin: "200px" });
    for (const lane of this.lanes) this.seen.observe(lane.item);
    this.clear();
    this.showThresholds();
  }

  lane(name, label, changed) {
    const slider = element("input", { type: "range", min: "0.01", max: "1", step: "0.01", "aria-label": `Threshold of ${name}` });
    const limit = element("span");
    const canvas = element("canvas", { "aria-hidden": "true" });
    const value = element("span", { class: "value" }, "–");
    const title = element("span", { class: "name", title: name }, name);
    const item = element("li", { class: "lane" }, title, canvas, value, element("span", { class: "limit" }, slider, limit));
    slider.addEventListener("input", () => {
      this.set(label, Number(slider.value));
      changed();
    });
    const lane = { item, canvas, value, slider, limit, label, visible: true, bars: [] };
    item.lane = lane;
    return lane;
  }

  // The threshold of a class; the one under which it is off again keeps its share of it.
  set(label, on) {
    const share = this.cardOn[label] > 0 ? this.cardOff[label] / this.cardOn[label] : 1;
    this.engine.on[label] = on;
    this.engine.off[label] = Math.min(on, rounded(on * share));
    this.showThresholds();
  }

  reset() {
    this.engine.on.set(this.cardOn);
    this.engine.off.set(this.cardOff);
    this.showThresholds();
  }

  // The thresholds as a rule has them; null: never.
  get thresholds() {
    const never = (label) => this.engine.on[label] > NEVER;
    const labels = this.lanes.map((lane) => lane.label);
    return {
      on: labels.map((label) => (never(label) ? null : rounded(this.engine.on[label]))),
      off: labels.map((label) => (never(label) ? 1 : rounded(this.engine.off[label]))),
    };
  }

  showThresholds() {
    for (const { label, slider, limit, item } of this.lanes) {
      const on = this.engine.on[label];
      slider.disabled = on > NEVER;
      slider.value = String(Math.min(1, on));
      limit.textContent = on > NEVER ? "never" : on.toFixed(2);
      item.classList.toggle("never", on > NEVER);
    }
  }

  clear() {
    this.decided = 0;
    this.starts = new Float64Array(this.rows).fill(-1e9);
    this.values = new Float32Array(this.rows * this.lanes.length);
    for (const lane of this.lanes) {
      lane.bars = [];
      lane.value.textContent = "–";
    }
  }

  // The time that a decision stands for begins at startS.
  add(startS, probabilities) {
    const row = this.decided++ % this.rows;
    this.starts[row] = startS;
    this.values.set(probabilities, row * this.lanes.length);
    for (const lane of this.lanes) lane.value.textContent = probabilities[lane.label].toFixed(2);
  }

  // An event of a class: it has an onset, and an offset once it has ended.
  addBar(event) {
    const { bars } = this.lanes[event.label];
    bars.push(event);
    while (bars.length > this.rows) bars.shift();
  }

  draw(nowS) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const colours = { curve: colour("--curve"), event: colour("--event"), limit: colour("--limit") };
    for (const lane of this.lanes) if (lane.visible) this.drawLane(lane, nowS, colours);
  }

  drawLane(lane, nowS, colours) {
    const context = fitted(lane.canvas);
    const { width, height } = lane.canvas;
    const strip = Math.round(height / 6);
    const x = (time) => width * (1 - (nowS - time) / this.spanS);
    const y = (value) => height - 1 - value * (height - strip - 3);
    context.clearRect(0, 0, width, height);
    context.fillStyle = colours.event;
    for (const bar of lane.bars) {
      const from = x(bar.onset);
      context.fillRect(from, 0, Math.max(2, x(bar.offset ?? nowS) - from), strip);
    }
    this.drawCurve(context, lane.label, x, y, colours.curve);
    const on = this.engine.on[lane.label];
    if (on > NEVER) return;
    context.strokeStyle = colours.limit;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(0, y(on));
    context.lineTo(width, y(on));
    context.stroke();
    context.setLineDash([]);
  }

  drawCurve(context, label, x, y, colour) {
    const hop = this.engine.facts.hop_s;
    const first = Math.max(0, this.decided - this.rows);
    if (first === this.decided) return;
    context.beginPath();
    context.moveTo(x(this.starts[first % this.rows]), y(0));
    let end = 0;
    for (let i = first; i < this.decided; i++) {
      const row = i % this.rows;
      const level = y(this.values[row * this.lanes.length + label]);
      end = x(this.starts[row] + hop);
      context.lineTo(x(this.starts[row]), level);
      context.lineTo(end, level);
    }
    context.lineTo(end, y(0));
    context.globalAlpha = 0.18;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = Math.min(2, devicePixelRatio);
    context.strokeStyle = colour;
    context.stroke();
  }
}
