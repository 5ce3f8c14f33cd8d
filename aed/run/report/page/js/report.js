// The page of a run, of the runs of a multirun, or of several, one of which is chosen.

const content = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("report");

// what each run of a multirun has for itself
function ofJob(title, subject, draw) {
  const place = el("div", {}, draw(subject.jobs[0]));
  const names = subject.jobs.map((job) => job.words);
  const list = names.length > 1 ? selected("run", names, (index) => place.replaceChildren(draw(subject.jobs[index]))) : null;
  return section(title, list, place);
}

function worst(subject) {
  const clips = subject.clips.filter((clip) => clip.picture);
  const shown = clips.length ? clips : subject.clips.slice(0, 12);
  const suspects = subject.clips.filter((clip) => clip.suspect);
  const said = subject.suspects ? `${plural(subject.suspects, "clip")} marked "label?": decided as another class with a posterior of at least 90 %. Listen whether the label is right.` : "";
  return section("Worst clips", el("p", { class: "note", text: `Those with the greatest loss: log-mel as the net sees it, and its answer for each patch. ${said}` }),
    clipList(`${plural(shown.length, "clip")}`, shown, content.sounds, true),
    suspects.length > shown.length ? clipList("label suspects", suspects, content.sounds, false) : null);
}

function compared() {
  const rows = content.subjects.flatMap((subject) => subject.headline.map((row) => [subject.name, row.program, percent(row.clips, 2),
    row.low === null ? "-" : `${percent(row.low)} .. ${percent(row.high)}`, row.files]));
  const pairs = content.pairs.map((pair) => [`${pair.one} / ${pair.other}`, pair.program, pair.files, pair.only_one, pair.only_other, number(pair.p, 3)]);
  return section("Compared", table("clips, %", ["", "program", "clips", "95 % interval", "number"], rows),
    pairs.length ? table("the same clips: right in one alone, and the probability of a difference as great by chance (sign test)",
      ["", "program", "clips", "only the first", "only the second", "p"], pairs) : null);
}

function draw(subject) {
  const several = subject.jobs.length > 1;
  subject.clips.forEach((clip) => { clip.job_words = several ? subject.jobs.find((job) => job.name === clip.job).words : ""; });
  root.replaceChildren(...[
    content.subjects.length > 1 ? compared() : null, headline(subject),
    subject.task === "single_label" ? confusion(subject, content.sounds) : null,
    perClass(subject), worst(subject), ofJob("Learning", subject, learning), ofJob("Int8, layer by layer", subject, int8Of),
    ofJob("Memory of boards", subject, memoryOf), ofJob("Where this comes from", subject, factsOf),
  ].filter(Boolean));
}

document.getElementById("about").textContent = content.about;
if (content.subjects.length > 1) {
  document.getElementById("choice").append(selected("shown", content.subjects.map((subject) => subject.name), (index) => draw(content.subjects[index])));
}
draw(content.subjects[0]);
document.documentElement.dataset.ready = "yes";
