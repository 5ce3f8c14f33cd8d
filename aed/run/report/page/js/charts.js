// Lines over an axis, by uPlot; drawn anew when the width or the colours of the page change.

const COLOURS = ["--blue", "--orange", "--green", "--bad"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const charts = new Set();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Chart {
  // lines: name -> values, one for each x; options: height, x (its label), range of y, steps (whether a value lasts until the next x)
  constructor(title, xs, lines, options) {
    Object.assign(this, { xs, lines, options, plot: null, width: 0 });
    this.box = el("div", { role: "img", "aria-label": title });
    this.figure = el("figure", {}, el("figcaption", { text: title }), this.box);
    new ResizeObserver(() => this.resize()).observe(this.box);
    charts.add(this);
  }

  resize() {
    const width = Math.floor(this.box.clientWidth);
    if (!this.box.isConnected) charts.delete(this);
    else if (width && width !== this.width) {
      this.width = width;
      this.draw();
    }
  }

  draw() {
    if (this.plot) this.plot.destroy();
    const { height = 220, x = "", range = null, steps = false, ticks = null } = this.options;
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const paths = steps ? uPlot.paths.stepped({ align: 1 }) : undefined;
    this.plot = new uPlot({
      width: this.width, height, padding: [8, 8, 0, 0],
      scales: { x: { time: false }, y: range ? { range: () => range } : {} },
      axes: [{ ...axis, label: x, labelSize: 18, size: 34, ...(ticks ? { incrs: ticks } : {}) }, { ...axis, size: 48 }],
      legend: { live: false }, cursor: { show: false },
      series: [{}, ...Object.keys(this.lines).map((label, index) => ({
        label, stroke: colour(COLOURS[index % COLOURS.length]), width: 2, paths, spanGaps: !steps,
        dash: index >= COLOURS.length ? [6, 4] : [], points: { show: this.xs.length < 2 },
      }))],
    }, [this.xs, ...Object.values(this.lines)], this.box);
  }
}

function redraw() {
  charts.forEach((chart) => chart.box.isConnected ? chart.width && chart.draw() : charts.delete(chart));
}

dark.addEventListener("change", redraw);
window.addEventListener("beforeprint", redraw);
