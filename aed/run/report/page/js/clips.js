// Clips: what each program decided, the sound, and of the worst the picture and the posterior of each patch.

const MOST_LISTED = 60;

function clipItem(clip, sounds, whole) {
  const item = el("li", {}, el("h3", { text: clip.file }));
  const said = Object.entries(clip.decided);
  const same = said.every(([, name]) => name === said[0][1]);
  const words = same ? said[0][1] : said.map(([program, name]) => `${program}: ${name}`).join(", ");
  const line = el("p", {}, "is ", el("b", { text: clip.truth || "nothing" }), ", decided ", el("b", { text: words || "nothing" }), " ");
  if (clip.suspect) line.append(el("span", { class: "tag", text: "label?" }));
  item.append(line);
  const likely = clip.likely.map(([name, value]) => `${name} ${percent(value)} %`).join(", ");
  const job = clip.job_words ? `${clip.job_words}; ` : "";
  item.append(el("p", { class: "note", text: `${job}${likely}; loss ${number(clip.loss, 2)}` }));
  if (whole && clip.picture) {
    item.append(el("img", { src: clip.picture, alt: `log-mel of ${clip.file}` }));
    const ends = [...clip.starts, clip.starts[clip.starts.length - 1] + step(clip)];
    const lines = Object.fromEntries(Object.entries(clip.patches).map(([name, values]) => [name, [...values, values[values.length - 1]]]));
    item.append(new Chart("posterior of each patch, from its start", ends, lines, { height: 130, x: "s", range: [0, 1], steps: true }).figure);
  }
  item.append(clip.sound === undefined
    ? el("p", { class: "note", text: "no sound here" })
    : el("audio", { controls: "", preload: "none", src: sounds[clip.sound], "aria-label": `sound of ${clip.file}` }));
  return item;
}

const step = (clip) => clip.starts.length > 1 ? clip.starts[1] - clip.starts[0] : clip.patch_s;

function clipList(title, clips, sounds, whole) {
  const shown = clips.slice(0, MOST_LISTED);
  const list = el("ul", { class: "clips" }, ...shown.map((clip) => clipItem(clip, sounds, whole)));
  const rest = clips.length - shown.length;
  return el("div", {}, el("h3", { text: title }), list, rest ? el("p", { class: "note", text: `and ${plural(rest, "more clip")}` }) : null);
}
