// The confusion matrix: a row a true class, a column a decided one; a cell is a button that lists its clips.

const MOST_CLASSES = 40;

function confusion(subject, sounds) {
  const detail = el("div", { "aria-live": "polite" });
  const place = el("div");
  const draw = (program) => {
    detail.replaceChildren();
    place.replaceChildren(matrixOf(subject, program, (title, clips) => detail.replaceChildren(clipList(title, clips, sounds, false))));
  };
  draw(subject.programs[0]);
  const hint = "Rows: true class; columns: decided. Choose a cell to hear its clips: those decided worst come first.";
  return section("Confusions", el("p", { class: "note", text: hint }),
    subject.programs.length > 1 ? choices(subject.programs, (index) => draw(subject.programs[index])) : null, place, detail);
}

function matrixOf(subject, program, show) {
  const cells = new Map();
  subject.clips.forEach((clip) => {
    const key = JSON.stringify([clip.truth, clip.decided[program]]);
    cells.set(key, [...(cells.get(key) || []), clip]);
  });
  const seen = new Set(subject.clips.flatMap((clip) => [clip.truth, clip.decided[program]]));
  const known = subject.classes.filter((name) => subject.classes.length <= MOST_CLASSES || seen.has(name));
  const names = [...known, ...[...seen].filter((name) => !subject.classes.includes(name)).sort()];
  const clipsOf = (truth, decided) => cells.get(JSON.stringify([truth, decided])) || [];
  if (names.length > MOST_CLASSES) return pairs(cells, show);
  const buttons = [];
  const button = (truth, decided, total) => {
    const clips = clipsOf(truth, decided);
    if (!clips.length) return el("td");
    const made = el("button", {
      type: "button", text: clips.length, class: truth === decided ? "" : "wrong", "aria-pressed": "false",
      "aria-label": `${plural(clips.length, "clip")} of ${truth} decided as ${decided}`, title: `${truth} decided as ${decided}`,
      on: { click: () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === made)));
        show(`${plural(clips.length, "clip")} of ${truth} decided as ${decided}`, clips);
      } },
    });
    buttons.push(made);
    const made_cell = el("td", {}, made);
    made_cell.style.backgroundColor = `rgba(var(--tint), ${(0.08 + 0.42 * clips.length / total).toFixed(3)})`;
    return made_cell;
  };
  const head = el("tr", {}, el("td"), ...names.map((name) => el("th", { scope: "col", title: name }, el("span", { text: name }))));
  const rows = names.map((truth) => {
    const total = Math.max(1, names.reduce((sum, decided) => sum + clipsOf(truth, decided).length, 0));
    return el("tr", {}, el("th", { scope: "row", title: truth, text: truth }), ...names.map((decided) => button(truth, decided, total)));
  });
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "confusion matrix" },
    el("table", { class: "matrix" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}

// of many classes the pairs that are taken for each other most often
function pairs(cells, show) {
  const wrong = [...cells].map(([key, clips]) => [...JSON.parse(key), clips]).filter(([truth, decided]) => truth !== decided);
  wrong.sort((one, other) => other[2].length - one[2].length);
  const rows = wrong.slice(0, 50).map(([truth, decided, clips]) => [truth, decided, el("button", {
    type: "button", class: "choose", text: plural(clips.length, "clip"), "aria-label": `${plural(clips.length, "clip")} of ${truth} decided as ${decided}`,
    on: { click: () => show(`${plural(clips.length, "clip")} of ${truth} decided as ${decided}`, clips) },
  })]);
  return table("the most frequent confusions", ["true", "decided", "clips"], rows);
}
