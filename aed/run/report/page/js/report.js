// The page of a run, of the runs of a multirun, of streams, of a search, or of several, one of which is chosen.

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
  const suspects = subject.clips.filter((clip) => clip.suspect && !shown.includes(clip));
  const said = subject.suspects ? `${plural(subject.suspects, "clip")} marked "label?": decided as another class with a posterior of at least 90 %. Listen whether the label is right.` : "";
  return section("Worst clips", el("p", { class: "note", text: `Those with the greatest loss: log-mel as the net sees it, and its answer for each patch. ${said}` }),
    clipList(`${plural(shown.length, "clip")}`, shown, content.sounds, true),
    suspects.length ? clipList("further label suspects", suspects, content.sounds, false) : null);
}

// what the stage detect left of a run: of its int8 model, or of its float model
function heardBy(job, sounds) {
  const place = el("div", {}, ...streamsOf(job.streams[0], sounds));
  const names = job.streams.map((own) => own.name);
  return el("div", {}, names.length > 1 ? choices(names, (index) => place.replaceChildren(...streamsOf(job.streams[index], sounds))) : null, place);
}

function draw(subject) {
  const { sounds } = content;
  if (subject.kind === "streams") return streamsOf(subject, sounds);
  if (subject.kind === "search") return searchOf(subject);
  const several = subject.jobs.length > 1;
  subject.clips.forEach((clip) => { clip.job_words = several ? subject.jobs.find((job) => job.name === clip.job).words : ""; });
  return [
    headline(subject), subject.task === "single_label" ? confusion(subject, sounds) : null,
    perClass(subject), worst(subject), ofJob("Map of the clips", subject, (job) => mapOf(job, subject, sounds)),
    ofJob("Learning", subject, learning), ofJob("Int8, layer by layer", subject, int8Of), ofJob("Memory of boards", subject, memoryOf),
    subject.jobs.some((job) => job.streams.length) ? ofJob("Streams", subject, (job) => job.streams.length ? heardBy(job, sounds) : el("p", { text: "none" })) : null,
    ofJob("Where this comes from", subject, factsOf),
  ].filter(Boolean);
}

document.getElementById("about").textContent = content.about;
const place = el("div");
const show = (index) => place.replaceChildren(...draw(content.subjects[index]));
if (Object.keys(content.compared).length) root.append(compared(content));
if (content.subjects.length > 1) root.append(selected("shown below", content.subjects.map((subject) => subject.name), show));
root.append(place);
if (content.subjects.length) show(0);
document.documentElement.dataset.ready = "yes";
