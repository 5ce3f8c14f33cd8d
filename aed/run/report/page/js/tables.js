// Headline, classes, epochs, int8, memory, and where all comes from.

const MEASURES = { loss: "loss", patch_acc: "accuracy of patches", clip_acc: "accuracy of clips", patch_map: "mAP of patches", clip_map: "mAP of clips", clip_loss: "loss of clips" };

function headline(subject) {
  const single = subject.task === "single_label";
  const measure = single ? "Share of the clips that are classified correctly" : "Mean average precision over clips";
  const cards = subject.headline.map((row) => {
    const parts = [row.low === null ? "" : `95 % interval ${percent(row.low)} .. ${percent(row.high)}`];
    parts.push(row.deviation === null ? "" : `deviation over ${subject.jobs.length} runs ${percent(row.deviation)}`);
    return el("li", {}, el("span", { text: row.program }), el("strong", { text: `${percent(row.clips)} %` }),
      el("span", { class: "note", text: parts.filter(Boolean).join("; ") }));
  });
  const rows = subject.headline.map((row) => [row.program, percent(row.clips, 2), percent(row.patches, 2), row.same === null ? "-" : percent(row.same, 2)]);
  const files = subject.headline[0].files;
  return section("Result", el("p", { text: `${measure}: ${subject.split}, ${plural(files, "clip")}${subject.jobs.length > 1 ? `, mean of ${subject.jobs.length} runs` : ""}.` }),
    el("ul", { class: "big" }, ...cards), ...subject.notes.map((text) => el("p", { class: "note", text })),
    table(`${subject.split}, %`, ["", "clips", "patches", "same decision as float"], rows),
    el("p", { class: "note", text: single ? "Interval: Wilson's, over clips, each counted once; it takes clips of one recording for independent, which they are not." : "" }));
}

function perClass(subject) {
  const { metric, shares, counts } = subject.by_class;
  const programs = Object.keys(shares);
  const order = subject.classes.map((_, index) => index).filter((index) => counts[index] || programs.some((name) => shares[name][index] !== null));
  order.sort((one, other) => (shares[programs[0]][one] ?? 2) - (shares[programs[0]][other] ?? 2));
  const rows = order.map((index) => [subject.classes[index], counts[index], ...programs.map((name) => percent(shares[name][index])),
    bars(programs.map((name) => shares[name][index]), programs.map(kindOf))]);
  return section("Classes", keys(programs), table(`${metric} of each class, %, the worst first`, ["class", "clips", ...programs, ""], rows));
}

function learning(job) {
  if (!job.curves.length) return el("p", { class: "note", text: "There are no epochs: metrics.csv is not in the run's folder, or nothing was trained in epochs." });
  const made = job.curves.map((chart) => new Chart(MEASURES[chart.name] || chart.name, chart.epochs, chart.lines, { x: "epoch" }).figure);
  return el("div", { class: "charts" }, ...made);
}

function int8Of(job) {
  if (!job.int8.layers) return el("p", { class: "note", text: "The run has no int8 model." });
  const most = Math.max(...job.int8.layers.map((row) => row.sqnr_db || 0), 1);
  const rows = job.int8.layers.map((row) => [row.name, row.op, row.precision, number(row.sqnr_db), bars([row.sqnr_db / most], [""]),
    row.saturated === null ? "-" : percent(row.saturated, 2), kib(row.weights_bytes), row.macc === null ? "-" : (row.macc / 1e6).toFixed(3)]);
  const layers = table("layers: signal to quantisation noise, saturated activations, size", ["layer", "operator", "", "SQNR, dB", "", "saturated, %", "weights, KiB", "M MACC"], rows);
  const judged = job.int8.judging;
  const steps = job.int8.steps.map((row) => [row.name, percent(row.score, 2), `${number(row.gain, 2)} (${number(row.low, 2)} .. ${number(row.high, 2)})`, number(row.sqnr_db), row.kept ? "yes" : "no", row.detail]);
  const repair = steps.length > 1 ? table(`repair: ${judged.metric || "score"} of ${judged.split || "the judging clips"}, %`, ["step", "score", "gain, 90 % interval", "SQNR, dB", "kept", ""], steps) : null;
  return el("div", {}, job.int8.note ? el("p", { text: job.int8.note }) : null, layers, repair);
}

function memoryOf(job) {
  if (!job.memory.length) return el("p", { class: "note", text: "Unknown: the run has no int8 model and no report of a board." });
  const of = (need, has) => need === null ? "-" : el("span", { text: has ? `${kib(need)} of ${kib(has).replace(".0", "")}` : `${kib(need)}, external`, class: has && need > has ? "over" : "" });
  const rows = job.memory.map((row) => [`${row.board} (${row.core})`, of(row.flash, row.has_flash), bars([row.flash / (row.has_flash || Infinity)], [""]),
    of(row.ram, row.has_ram), bars([row.ram / (row.has_ram || Infinity)], ["int8"])]);
  return table(`KiB on the chip: ${job.memory[0].what}`, ["board", "flash", "", "RAM", ""], rows);
}

function factsOf(job) {
  const { facts } = job;
  const list = el("dl");
  const add = (term, ...content) => list.append(el("dt", { text: term }), el("dd", {}, ...content));
  add("command", facts.command ? el("code", { text: facts.command }) : "not in the run's folder");
  const counts = Object.entries(facts.clips).map(([split, count]) => `${split} ${count}`).join(", ");
  const folds = Object.entries(facts.folds).map(([key, value]) => `, ${key} ${value}`).join("");
  add("data", `${facts.data || "unknown"}: clips ${counts}; split by ${facts.split || "unknown"}${folds}`);
  const leaks = facts.leaks === null ? "unknown" : facts.leaks ? `LEAKS: ${facts.leaks} recordings are on both sides of the split` : "no recording is on both sides of the split";
  add("leaks", el("span", { text: leaks, class: facts.leaks ? "over" : "" }));
  if (facts.skipped) add("left out", plural(facts.skipped, "clip"));
  const weights = Object.entries(facts.weights).map(([key, value]) => `${key} ${value}`).join(", ");
  add("published weights", weights || "none");
  add("versions", Object.entries(facts.versions).map(([key, value]) => `${key} ${value}`).join(", ") || "unknown");
  return list;
}
