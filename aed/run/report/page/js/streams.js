// Streams: the headline, misses against false alarms, lanes of what occurs and what was detected, false alarms to hear.

const AXIS_WORDS = { background_per_hour: "alarms an hour where nothing is", confused_per_100_events: "alarms in the time of other events, for 100 events" };
const VERDICTS = { background: "nothing is there", confused: "something else is there", alarm: "alarm", missed: "missed" };
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
const rounded = (value, digits = 1) => value === undefined || value === null ? "-" : value.toFixed(digits);

function streamsOf(own, sounds) {
  return [streamResult(own), own.tradeoff.length ? section("Misses against false alarms", ...tradeoff(own)) : null,
    section("Timeline", timeline(own)), pieces(own, sounds)].filter(Boolean);
}

function streamResult(own) {
  const { metrics } = own;
  const about = `${plural(own.recordings.length, "recording")}, ${rounded(own.hours, 2)} h; ${own.model}${own.program === "runtime" ? "" : `, heard by its ${own.program}`}.`;
  const notes = own.notes.map((text) => el("p", { class: "note", text }));
  if (!metrics) return section("Result", el("p", { text: `${about} There is no reference: whether alarms are right is not known.` }), ...notes);
  const span = (key, digits, scale = 1) => metrics[`${key}/low`] === undefined ? "" : `95 % interval ${rounded(scale * metrics[`${key}/low`], digits)} .. ${rounded(scale * metrics[`${key}/high`], digits)}`;
  const cards = [
    ["events found", `${percent(metrics.recall)} %`, [`of ${plural(metrics.events, "event")}`, metrics["recall_interval/low"] === undefined ? "" : `95 % interval ${percent(metrics["recall_interval/low"])} .. ${percent(metrics["recall_interval/high"])}, over ${own.repeated}`]],
    ["false alarms an hour where nothing is", rounded(metrics.background_per_hour, 2), [span("background_per_hour", 2), `${rounded(metrics.background_hours, 2)} h without events`]],
    ["alarms in the time of other events", rounded(metrics.confused_per_100_events), ["for 100 events"]],
    ["from onset to alarm", `${rounded(metrics["delay_s/median"])} s`, [`median; 95 %: ${rounded(metrics["delay_s/95"])} s`]],
  ].map(([words, value, parts]) => el("li", {}, el("span", { text: words }), el("strong", { text: value }), el("span", { class: "note", text: parts.filter(Boolean).join("; ") })));
  const measures = [["onset_f1", "F1 of onsets"], ["onset_offset_f1", "F1 of onsets and offsets"], ["segment_f1", "F1 of seconds"], ["intersection_f1/macro", "F1 of shared time, mean of classes"], ["psds1", "PSDS 1"], ["psds2", "PSDS 2"]];
  const counts = own.classes.map((name) => [name, countOf(own, name), percent(metrics[`recall/${name}`]), bars([metrics[`recall/${name}`]], [""]), metrics[`background/${name}`] ?? "-", metrics[`confused/${name}`] ?? "-"]).filter((row) => row[1] || row[4] || row[5]);
  return section("Result", el("p", { text: about }), el("ul", { class: "big" }, ...cards), ...notes,
    table("each class", ["class", "events", "found, %", "", "false alarms", "in the time of others"], counts),
    table("other measures", ["measure", "value"], measures.filter(([key]) => metrics[key] !== undefined).map(([key, words]) => [words, metrics[key].toFixed(3)])),
    el("p", { class: "note", text: `Rule: ${ruleWords(own)}. An alarm finds an event of its class from its onset until ${own.slack_s} s after its end.` }));
}

const countOf = (own, name) => own.recordings.reduce((sum, recording) => sum + recording.reference.filter((row) => row[0] === name).length, 0);

function ruleWords(own) {
  return Object.entries(own.rule).filter(([, value]) => value !== null && value !== 0 && (!Array.isArray(value) || value.length))
    .map(([key, value]) => `${key} ${Array.isArray(value) ? value.map((one) => one === null ? "never" : +one.toPrecision(4)).join(", ") : value}`).join("; ");
}

function tradeoff(own) {
  const made = own.tradeoff.map((chart) => {
    const lines = Object.fromEntries(Object.entries(chart.lines).map(([name, values]) => [name, values.map((value) => value === null ? null : 100 * value)]));
    const least = chart.rates.find((rate) => rate > 0) || 1;
    const mark = (plot) => {
      if (!chart.rule) return;
      const [x, y] = [plot.valToPos(chart.rule[0], "x", true), plot.valToPos(100 * chart.rule[1], "y", true)];
      plot.ctx.fillStyle = colour("--text");
      plot.ctx.beginPath();
      plot.ctx.arc(x, y, 5 * devicePixelRatio, 0, 7);
      plot.ctx.fill();
    };
    const ticks = [0, 1e-2, 1e-1, 1, 10, 100, 1e3, 1e4, 1e5].filter((tick) => tick === 0 || (tick >= least / 2 && tick <= chart.rates[chart.rates.length - 1]));
    const more = (axis) => ({
      scales: { x: { distr: 4, asinh: least, range: () => [0, chart.rates[chart.rates.length - 1] || 1] }, y: { range: () => [0, 100] } },
      axes: [{ ...axis, size: 34, splits: () => ticks, filter: (_, splits) => splits }, { ...axis, size: 48 }],
      hooks: { draw: [mark] },
    });
    return new Chart(`events missed, %, over ${AXIS_WORDS[chart.axis]}`, chart.rates, lines, { height: 300, steps: true, strong: "all", more }).figure;
  });
  return [el("p", { class: "note", text: "One threshold for all classes, from the lowest to the highest: the fewest misses that so many false alarms allow. The dot is the model's own rule." }), el("div", { class: "charts" }, ...made)];
}

function timeline(own) {
  const place = el("div");
  const draw = (index) => place.replaceChildren(...lanes(own, own.recordings[index]));
  draw(0);
  const names = own.recordings.map((recording) => `${recording.name} (${clock(recording.length_s)})`);
  return el("div", {}, names.length > 1 ? selected("recording", names, draw) : null, place);
}

const LANE = 34;

function lanes(own, recording) {
  const used = own.classes.filter((name) => [recording.reference, recording.events].some((rows) => rows.some((row) => row[0] === name)));
  if (!used.length) return [el("p", { class: "note", text: "Nothing occurs in it, and nothing was detected." })];
  const view = { from: 0, to: recording.length_s };
  const said = el("p", { class: "note", "aria-live": "polite" });
  const more = (axis) => ({
    scales: { x: { range: () => [view.from, view.to] }, y: { range: () => [0, used.length] } },
    axes: [{ ...axis, size: 34, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600], values: (_, ticks) => ticks.map((tick) => `${Math.floor(tick / 60)}:${String(Math.round(tick % 60)).padStart(2, "0")}`) },
      { ...axis, size: 96, grid: { show: false }, splits: () => used.map((_, index) => index + 0.5), values: () => used.map((name) => name.length > 13 ? `${name.slice(0, 12)}…` : name), ticks: { show: false } }],
    series: [{}, { show: false }], legend: { show: false },
    hooks: { draw: [(plot) => paint(plot, recording, used)] },
  });
  const chart = new Chart(`what occurs (above) and what was detected (below) in ${recording.name}`, [0, recording.length_s], { "": [null, null] }, { height: LANE * used.length + 44, more });
  const move = (middle, width) => {
    const size = Math.max(4, Math.min(recording.length_s, width));
    view.from = Math.max(0, Math.min(recording.length_s - size, middle - size / 2));
    view.to = view.from + size;
    said.textContent = `${clock(view.from)} to ${clock(view.to)}: ${words(recording, view)}`;
    chart.draw();
  };
  const button = (text, act) => el("button", { type: "button", class: "choose", text, on: { click: () => act((view.from + view.to) / 2, view.to - view.from) } });
  const alarms = recording.alarms.map((row) => row[1]).sort((one, other) => one - other);
  const next = (middle, width) => {
    const time = alarms.find((each) => each > middle + 0.01) ?? alarms[0];
    if (time !== undefined) move(time, Math.min(width, 60));
  };
  const tools = [button("closer", (middle, width) => move(middle, width / 3)), button("wider", (middle, width) => move(middle, 3 * width)),
    button("earlier", (middle, width) => move(middle - width / 2, width)), button("later", (middle, width) => move(middle + width / 2, width)),
    button("next alarm", next), button("all", () => move(recording.length_s / 2, recording.length_s))];
  const key = el("p", { class: "note" }, ...[["reference", "occurs"], ["missed", "missed"], ["right", "detected"], ["bad", "false alarm"], ["confused", "false, in the time of another class"]]
    .filter(([kind]) => own.has_reference || kind === "right").flatMap(([kind, text]) => [el("span", { class: `key lane-${kind}`, "aria-hidden": "true" }), text]));
  return [key, chart.figure, el("div", {}, ...tools), said];
}

const rawSpan = (rows, view) => rows.filter(([, onset, offset]) => offset >= view.from && onset <= view.to);

function words(recording, view) {
  const list = (rows) => [...new Set(rawSpan(rows, view).map((row) => row[0]))].join(", ") || "nothing";
  return `occurs ${list(recording.reference)}; detected ${list(recording.events)}`;
}

function paint(plot, recording, used) {
  const { ctx, bbox } = plot, x = (time) => plot.valToPos(time, "x", true), height = bbox.height / used.length;
  const top = (name) => bbox.top + bbox.height - (used.indexOf(name) + 1) * height;
  const box = (name, onset, offset, half, fill) => {
    ctx.fillStyle = colour(fill);
    ctx.fillRect(x(onset), top(name) + height * (half ? 0.52 : 0.1), Math.max(2 * devicePixelRatio, x(offset) - x(onset)), height * 0.36);
  };
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colour("--line");
  used.forEach((name) => ctx.fillRect(bbox.left, top(name), bbox.width, devicePixelRatio));
  recording.reference.forEach(([name, onset, offset, found]) => box(name, onset, offset, false, found ? "--soft" : "--pink"));
  recording.events.forEach(([name, onset, offset, , verdict]) => box(name, onset, offset, true, { background: "--bad", confused: "--orange" }[verdict] || "--green"));
  ctx.restore();
}

function pieces(own, sounds) {
  if (!own.false.length && !own.missed.length) return own.has_reference ? section("False alarms", el("p", { text: "There are none, and no event is missed." })) : null;
  const made = (rows, words) => rows.map((row) => {
    const { name } = own.recordings[row.recording];
    return item(`${row.label} at ${clock(row.at_s)}`, [el("p", {}, ...words(row)), el("p", { class: "note", text: `${name}, from ${clock(row.start_s)}` })], row, sounds);
  });
  const about = (row) => row.kind === "confused" ? ["in the time of ", el("b", { text: row.occurs })] : [VERDICTS[row.kind] || row.kind];
  const total = own.recordings.flatMap((recording) => recording.alarms).filter((row) => row[2] !== "right").length;
  const missed = own.recordings.flatMap((recording) => recording.reference).filter((row) => !row[3]).length;
  const most = (shown, all, unit) => shown < all ? `${shown} of ${plural(all, unit)}` : plural(all, unit);
  return section(own.has_reference ? "False alarms and missed events" : "Alarms",
    el("p", { class: "note", text: `Those first of which the model was surest; the posterior is the event's greatest. Sound and log-mel from one second before the patch that raised the alarm, and the answer for each patch.` }),
    own.false.length ? itemList(own.has_reference ? `${most(own.false.length, total, "false alarm")}` : most(own.false.length, total, "alarm"), made(own.false, (row) => [...about(row), `; posterior ${percent(row.posterior)} %`]), own.false.length) : null,
    own.missed.length ? itemList(most(own.missed.length, missed, "missed event"), made(own.missed, (row) => [`lasts ${rounded(row.offset_s - row.at_s)} s; ${own.slack_s} s later there is still no alarm`]), own.missed.length) : null);
}
