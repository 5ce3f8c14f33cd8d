// Clips: what each program decided, the sound, and of the worst the picture and the posterior of each patch.

const MOST_LISTED = 60;

function clipItem(clip, sounds, whole) {
  const said = Object.entries(clip.decided);
  const same = said.every(([, name]) => name === said[0][1]);
  const words = same ? said[0][1] : said.map(([program, name]) => `${program}: ${name}`).join(", ");
  const line = el("p", {}, "is ", el("b", { text: clip.truth || "nothing" }), ", decided ", el("b", { text: words || "nothing" }), " ");
  if (clip.suspect) line.append(el("span", { class: "tag", text: "label?" }));
  const likely = clip.likely.map(([name, value]) => `${name} ${percent(value)} %`).join(", ");
  const job = clip.job_words ? `${clip.job_words}; ` : "";
  const note = el("p", { class: "note", text: `${job}${likely}; loss ${number(clip.loss, 2)}` });
  return item(clip.file, [line, note], whole ? clip : { sound: clip.sound }, sounds);
}

// a card with what is said of a sound, its picture and posteriors, if there are some, and its player
function item(title, words, piece, sounds) {
  return el("li", {}, el("h3", { text: title }), ...words,
    piece.picture ? el("img", { src: piece.picture, alt: `log-mel of ${title}` }) : null,
    piece.patches && piece.starts.length ? posteriors(piece) : null,
    player(piece, title, sounds));
}

function posteriors(piece) {
  const { starts, patches } = piece;
  const hop = starts.length > 1 ? starts[1] - starts[0] : piece.patch_s;
  const ends = [...starts, starts[starts.length - 1] + hop];
  const lines = Object.fromEntries(Object.entries(patches).map(([name, values]) => [name, [...values, values[values.length - 1]]]));
  const scales = { x: { range: () => [0, Math.max(piece.seconds || 0, ends[ends.length - 1])] } };
  return new Chart("posterior of each patch, from its start", ends, lines, { height: 130, x: "s", range: [0, 1], steps: true, more: () => ({ scales }) }).figure;
}

const player = (piece, title, sounds) => piece.sound === undefined
  ? el("p", { class: "note", text: "no sound here" })
  : el("audio", { controls: "", preload: "none", src: sounds[piece.sound], "aria-label": `sound of ${title}` });

function clipList(title, clips, sounds, whole) {
  return itemList(title, clips.slice(0, MOST_LISTED).map((clip) => clipItem(clip, sounds, whole)), clips.length);
}

function itemList(title, items, count, unit = "more clip") {
  const rest = count - items.length;
  return el("div", {}, el("h3", { text: title }), el("ul", { class: "clips" }, ...items), rest ? el("p", { class: "note", text: `and ${plural(rest, unit)}` }) : null);
}
