// A search: the winners as they were measured, score against each cost, and all trials.

// name, words, unit, words in a table
const COST_AXES = [["instructions", "M instructions a second", 1e6, "M instr./s"], ["flash_bytes", "flash, KiB", 1024, "flash, KiB"], ["ram_bytes", "RAM, KiB", 1024, "RAM, KiB"]];
const OBJECTIVE_COSTS = { instructions: "instructions", flash: "flash_bytes", ram: "ram_bytes" };
const LIMITS = { flash_bytes: "flash_kib", ram_bytes: "ram_kib" };
// kind of a trial, the later ones drawn over the earlier: words, colour, size of its point
const TRIAL_KINDS = { other: ["trained", "--soft", 6], shipped: ["a shipped recipe", "--green", 10], front: ["no other is better", "--blue", 10], winner: ["winner", "--orange", 14] };
const measured = (costs, [key, , unit]) => costs === null ? "-" : (costs[key] / unit).toFixed(unit === 1e6 ? 2 : 1);

function searchOf(own) {
  const won = new Map(own.winners.map((winner, index) => [winner.number, index + 1]));
  const kind = (trial) => won.has(trial.number) ? "winner" : own.front.includes(trial.number) ? "front" : trial.shipped ? "shipped" : "other";
  return [searchResult(own), section("Score against costs", ...searchCharts(own, kind)), section("Trials", trialTable(own, won, kind))];
}

// whether one trial is in no objective worse than the other, and in some better
function dominates(own, one, other) {
  const gains = own.objectives.map((name) => name === "score" ? one.score - other.score : other.costs[OBJECTIVE_COSTS[name]] - one.costs[OBJECTIVE_COSTS[name]]);
  return Math.min(...gains) >= 0 && Math.max(...gains) > 0;
}

function besideShipped(own) {
  const trained = own.trials.filter((trial) => trial.score !== null && trial.costs !== null);
  return trained.filter((trial) => trial.shipped).map((trial) => {
    const better = trained.filter((other) => dominates(own, other, trial)).map((other) => other.number).join(", ");
    return el("p", { class: "note", text: better ? `In nothing worse than the shipped recipe of trial ${trial.number}, and better: ${better}.` : `No trial is in everything as good as the shipped recipe of trial ${trial.number} and in something better.` });
  });
}

function searchResult(own) {
  const limits = [["flash_kib", "KiB of flash"], ["ram_kib", "KiB of RAM"]].filter(([key]) => own.limits[key] !== null).map(([key, words]) => `${own.limits[key]} ${words}`);
  const trained = own.trials.filter((trial) => trial.score !== null).length;
  const about = el("p", { text: `${plural(own.trials.length, "point")}, ${trained} trained to the end, for ${own.board}${limits.length ? `, ${limits.join(" and ")} at most` : ""}. Score: ${own.metric} of validation clips.` });
  const refused = Object.entries(own.refused).map(([number, why]) => el("p", { class: "note", text: `Trial ${number} is no winner: ${why}` }));
  if (!own.winners.length) return section("Result", about, ...refused, el("p", { text: "There are no winners yet." }));
  const [best] = own.winners, tested = Object.entries(best.tested);
  const span = best.between ? [`95 % interval ${percent(best.between[0])} .. ${percent(best.between[1])}`] : [];
  const cards = [["best score, validation", `${percent(best.score)} %`, `trial ${best.number}; the best of many flatters itself`],
    ["its test clips, int8", `${percent(best.tested.int8)} %`, [...span, ...tested.filter(([model]) => model !== "int8").map(([model, value]) => `${model} ${percent(value)}`)].join("; ")],
    ...COST_AXES.map((axis) => [axis[1], measured(best.costs, axis), best.source])];
  const rows = own.winners.map((winner) => [winner.number, el("td", { class: "words", text: winner.words }), percent(winner.score, 2), percent(winner.validated, 2),
    ...["float", "int8"].map((model) => percent(winner.tested[model], 2)), ...COST_AXES.map((axis) => `${measured(winner.costs, axis)} (${measured(winner.estimated, axis)})`), winner.source]);
  const commands = el("dl", {}, ...own.winners.flatMap((winner) => [el("dt", { text: `trial ${winner.number}` }), el("dd", {}, el("code", { text: winner.command }))]));
  return section("Result", about, el("ul", { class: "big" }, ...cards.map(([words, value, note]) => el("li", {}, el("span", { text: words }), el("strong", { text: value }), el("span", { class: "note", text: note })))), ...refused,
    table("winners: %, and costs of the int8 net, in brackets as estimated before training", ["trial", "net", "score", "val, int8", "test", "test, int8", ...COST_AXES.map((axis) => axis[3]), "costs"], rows),
    el("p", { class: "note", text: "Test clips were scored for these alone, once, and nothing was chosen by them." }),
    ...besideShipped(own), el("details", {}, el("summary", { text: "commands that train the same" }), commands));
}

function searchCharts(own, kind) {
  const dots = own.trials.filter((trial) => trial.score !== null && trial.costs !== null);
  if (!dots.length) return [el("p", { class: "note", text: "Nothing was trained to its end." })];
  const kinds = Object.keys(TRIAL_KINDS).filter((name) => dots.some((trial) => kind(trial) === name));
  const key = el("p", { class: "note" }, ...kinds.flatMap((name) => {
    const [words, paint] = TRIAL_KINDS[name], box = el("span", { class: "key mark", "aria-hidden": "true" });
    box.style.background = `var(${paint})`;
    return [box, `${words} `];
  }));
  return [el("p", { class: "note", text: "Costs as estimated before training; the line joins the best scores at each cost, with the numbers of their trials. Dashed: the limit." }), key,
    el("div", { class: "charts" }, ...COST_AXES.map((axis) => costChart(own, dots, kinds, kind, axis).figure))];
}

function costChart(own, dots, kinds, kind, [cost, words, unit]) {
  const sorted = dots.map((trial) => ({ x: trial.costs[cost] / unit, y: 100 * trial.score, kind: kind(trial), number: trial.number })).sort((one, other) => one.x - other.x || other.y - one.y);
  const xs = sorted.map((dot) => dot.x), limit = own.limits[LIMITS[cost]];
  let most = -Infinity;
  const steps = sorted.map((dot) => dot.y > most ? (most = dot.y) : null);
  const ends = [xs[0] * 0.85, xs[xs.length - 1] * 1.15];
  const ticks = [0.01, 0.1, 1, 10, 100, 1000, 1e4].flatMap((ten) => [ten, 2 * ten, 5 * ten]).filter((tick) => tick >= ends[0] && tick <= ends[1]);
  const lines = { best: steps, ...Object.fromEntries(kinds.map((name) => [name, sorted.map((dot) => dot.kind === name ? dot.y : null)])) };
  const more = (axis) => ({
    legend: { show: false },
    scales: { x: { distr: 3, range: () => ends }, y: { range: (_, low, high) => [Math.max(0, low - 5), Math.min(101, high + 5)] } },
    axes: [{ ...axis, label: words, labelSize: 18, size: 34, splits: () => ticks, filter: (_, splits) => splits, values: (_, splits) => splits.map(String) }, { ...axis, size: 48 }],
    series: [{}, { stroke: colour("--blue"), width: 1, paths: uPlot.paths.stepped({ align: 1 }), spanGaps: true, points: { show: false } },
      ...kinds.map((name) => ({ stroke: colour("--card"), paths: () => null, points: { show: true, size: TRIAL_KINDS[name][2], width: 1, fill: colour(TRIAL_KINDS[name][1]) } }))],
    hooks: { draw: [(plot) => { numbered(plot, sorted, steps); if (limit > ends[0] && limit < ends[1]) limitLine(plot, limit); }] },
  });
  return new Chart(`${own.metric}, %, over ${words}`, xs, lines, { height: 300, more });
}

function numbered(plot, dots, steps) {
  plot.ctx.fillStyle = colour("--text");
  plot.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  plot.ctx.textAlign = "left";
  dots.forEach((dot, index) => {
    if (steps[index] !== null) plot.ctx.fillText(String(dot.number), plot.valToPos(dot.x, "x", true) + 6 * devicePixelRatio, plot.valToPos(dot.y, "y", true) + 14 * devicePixelRatio);
  });
}

function limitLine(plot, limit) {
  const { ctx, bbox } = plot, x = plot.valToPos(limit, "x", true);
  ctx.save();
  ctx.strokeStyle = colour("--bad");
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function trialTable(own, won, kind) {
  const place = el("div");
  const ranks = [...Object.keys(TRIAL_KINDS)].reverse();
  const order = (trial) => [trial.score === null ? 1 : 0, ranks.indexOf(kind(trial)), -(trial.score ?? 0), trial.number];
  const sorted = [...own.trials].sort((one, other) => {
    const [left, right] = [order(one), order(other)], at = left.findIndex((value, index) => value !== right[index]);
    return at < 0 ? 0 : left[at] - right[at];
  });
  const states = [...new Set(sorted.map((trial) => trial.state))];
  const mark = (trial) => [won.has(trial.number) ? `winner ${won.get(trial.number)}` : own.front.includes(trial.number) ? "front" : "", trial.shipped ? "shipped" : ""].filter(Boolean).join(", ");
  const draw = (state) => {
    const rows = sorted.filter((trial) => state === null || trial.state === state);
    place.replaceChildren(table(plural(rows.length, "trial"), ["trial", "state", "", "score, %", ...COST_AXES.map((axis) => axis[3]), "seconds", "net"],
      rows.map((trial) => [trial.number, el("td", { class: "short", text: trial.state }), el("td", { class: "short", text: mark(trial) }), percent(trial.score, 2),
        ...COST_AXES.map((axis) => measured(trial.costs, axis)), trial.seconds ? trial.seconds.toFixed(0) : "-", el("td", { class: "words", text: [trial.words, trial.why].filter(Boolean).join(": ") })]), "trials"));
  };
  draw(null);
  const names = ["all", ...states.map((state) => `${state} (${own.trials.filter((trial) => trial.state === state).length})`)];
  return el("div", {}, states.length > 1 ? choices(names, (index) => draw(index ? states[index - 1] : null)) : null, place);
}
