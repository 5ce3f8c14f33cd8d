// Runs beside each other: how much better or worse each is than the first, and the clips that they do not decide alike.

const points = (share) => `${share >= 0 ? "+" : ""}${(100 * share).toFixed(2)}`;
const between = (row) => `${points(row.low)} .. ${points(row.high)}`;

// an interval on a line with 0 in the middle
function range(row, most) {
  const at = (share) => 50 + 50 * Math.max(-1, Math.min(1, share / most));
  const line = el("i"), dot = el("b");
  line.style.left = `${at(row.low)}%`;
  line.style.width = `${Math.max(0.5, at(row.high) - at(row.low))}%`;
  dot.style.left = `${at(row.difference)}%`;
  return el("td", { class: "bar" }, el("span", { class: "range", "aria-hidden": "true" }, line, dot));
}

function differences(title, rows, named) {
  const most = Math.max(0.01, ...rows.flatMap((row) => [Math.abs(row.low), Math.abs(row.high)]));
  return table(title, [...named.map(([head]) => head), "clips", "difference", "95 % interval", `-${percent(most)} .. +${percent(most)}`, "better", "worse", "p (Holm)"],
    rows.map((row) => [...named.map(([, key]) => row[key]), row.clips, points(row.difference), between(row), range(row, most), row.better, row.worse, number(row.p_holm, 3)]));
}

function compared(content) {
  const { names, differences: rows, scores, unlike, more, note } = content.compared;
  const said = note ? el("p", { class: "note", text: note }) : null;
  if (!rows) return section("Compared", said);
  const first = rows.length ? rows[0].beside : names[0];
  const scored = scores.map((row) => [row.run, row.model, percent(row.right, 2), `${percent(row.low)} .. ${percent(row.high)}`, row.clips, row.seeds]);
  const runs = [...new Set(rows.map((row) => row.run))], alone = runs.length === 1 ? ` of ${runs[0]}` : "";
  const named = runs.length > 1 ? [["run", "run"]] : [];
  const last = rows.length ? rows[rows.length - 1].model : "";
  const parts = ["class", "fold"].map((scope) => [scope, rows.filter((row) => row.scope === scope && row.model === last)]).filter(([, own]) => own.length);
  return section("Compared", said,
    table("clips decided rightly, %", ["run", "program", "clips, %", "95 % interval", "clips", "seeds"], scored),
    rows.length ? differences(`all clips: points${alone} over ${first}`, rows.filter((row) => row.scope === "all"), [...named, ["program", "model"]]) : null,
    el("p", { class: "note", text: "better, worse: clips that the run alone, or the first alone, decides rightly. p: McNemar's exact test, of several seeds the sign test, adjusted after Holm for the tests of one table." }),
    ...parts.map(([scope, own]) => differences(`${last}, each ${scope}: points${alone} over ${first}`, own, [...named, [scope, "name"]])),
    unlikeList(content, names, unlike, more));
}

function unlikeList(content, names, unlike, more) {
  if (!unlike.length) return el("p", { text: "All decide the same clips rightly." });
  const heard = new Map(content.subjects.flatMap((subject) => (subject.clips || []).filter((clip) => clip.sound !== undefined).map((clip) => [clip.file, clip.sound])));
  const models = [...new Set(unlike.map((clip) => clip.model))];
  const place = el("div");
  const draw = (model) => {
    const own = unlike.filter((clip) => clip.model === model);
    const items = own.slice(0, MOST_LISTED).map((clip) => {
      const shares = clip.right.map((share, index) => `${names[index]}: ${share === 1 ? "right" : share === 0 ? "wrong" : `${percent(share, 0)} % right`}`);
      return item(clip.file, [el("p", {}, "is ", el("b", { text: clip.truth || "nothing" }), `; ${shares.join(", ")}`)], { sound: heard.get(clip.file) }, content.sounds);
    });
    place.replaceChildren(itemList(`${plural(own.length, "clip")} not decided alike, ${model}`, items, own.length + more));
  };
  draw(models[models.length - 1]);
  return el("div", {}, models.length > 1 ? choices([...models].reverse(), (index) => draw([...models].reverse()[index])) : null, place);
}
