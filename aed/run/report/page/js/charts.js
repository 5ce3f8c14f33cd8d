// Lines over an axis, by uPlot; drawn anew when the width or the colours of the page change.

const COLOURS = ["--blue", "--orange", "--green", "--bad", "--pink", "--sky", "--brown", "--soft"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const charts = new Set();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Chart {
  // lines: name -> values, one for each x. options: height, x (its label), range of y, steps (whether a value lasts until the next x),
  // strong (a line that stands out), more (settings of uPlot beside these, made of the colours at the time of drawing)
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
    const { height = 220, x = "", range = null, steps = false, strong = null, more = () => ({}) } = this.options;
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const paths = steps ? uPlot.paths.stepped({ align: 1 }) : undefined;
    const own = more(axis);
    this.plot = new uPlot({
      width: this.width, height, padding: [8, 16, 0, 0],
      legend: { live: false }, cursor: { show: false }, ...own,
      scales: { x: { time: false, ...own.scales?.x }, y: own.scales?.y || (range ? { range: () => range } : {}) },
      axes: own.axes || [{ ...axis, label: x, labelSize: 18, size: 34 }, { ...axis, size: 48 }],
      series: own.series || [{}, ...Object.keys(this.lines).map((label, index) => ({
        label, stroke: colour(label === strong ? "--text" : COLOURS[index % COLOURS.length]), width: label === strong ? 3 : 2, paths, spanGaps: !steps,
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
