// The page of a data set: health, findings with the sounds side by side, and all recordings.

const data = JSON.parse(document.getElementById("data").textContent);
const { facts, files, findings, sounds } = data;
const WORDS = { leak: "in two splits", conflict: "twice, other labels", copy: "twice", source_leak: "source in two splits", likely_source: "likely one source", unreadable: "cannot be used",
  silent: "silent", clipped: "clipped", offset: "DC offset", padding: "zeros at the ends", short: "short", long: "long", low_rate: "low rate", annotation: "annotation", event_twice: "event twice" };
const flagWords = (key) => WORDS[key] || key.replaceAll("_", " ");
const counts = (own) => Object.entries(own).map(([value, count]) => `${value}: ${count}`).join(", ") || "-";
const spread = (own, unit) => Object.entries(own).map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ") + (Object.keys(own).length ? ` ${unit}` : "-");

function health() {
  const cards = [["clips", facts.clips.toLocaleString("en"), `${facts.usable.toLocaleString("en")} can be used`], ["length", `${facts.hours.toFixed(2)} h`, spread(facts.duration_s, "s")],
    ["spoil training or scores", findings.filter((own) => own.matters).length, "findings"], ["to look at", findings.filter((own) => !own.matters).length, "findings"]]
    .map(([words, value, note]) => el("li", {}, el("span", { text: words }), el("strong", { text: value }), el("span", { class: "note", text: note })));
  const rows = [["sample rate, Hz", counts(facts.sample_rates_hz)], ["channels", counts(facts.channels)], ["format", counts(facts.encodings)], ["labels of a clip", counts(facts.labels_per_clip)],
    ["peak", spread(facts.peak_dbfs, "dBFS")], ["digital zeros at the ends", `${percent(facts.padding)} % of all samples`]];
  const list = el("dl", {}, ...rows.flatMap(([term, text]) => [el("dt", { text: term }), el("dd", { text })]));
  return section("Health", el("ul", { class: "big" }, ...cards), list);
}

function classes() {
  const splits = Object.keys(facts.splits), names = Object.keys(facts.classes);
  const most = Math.max(1, ...names.map((name) => facts.classes[name].all));
  const rows = names.map((name) => [name, ...splits.map((split) => facts.classes[name][split] ?? 0), facts.classes[name].all, bars([facts.classes[name].all / most], [""])]);
  return section("Classes", table("clips that can be used", ["class", ...splits, "all", ""], rows));
}

const about = (file) => file.error ? file.error
  : [`${file.duration_s} s`, file.peak_dbfs === null ? "silent" : `peak ${file.peak_dbfs} dBFS`, `${file.rate_hz} Hz`, file.encoding, file.channels > 1 ? `${file.channels} channels` : "",
    file.clipped_runs ? `clipped ${plural(file.clipped_runs, "time")}` : "", Math.abs(file.offset) > 0.01 ? `mean ${percent(file.offset)} %` : "", file.padding > 0.5 ? `${percent(file.padding)} % zeros at the ends` : ""].filter(Boolean).join(", ");

function card(number) {
  const file = files[number];
  const where = [file.labels.join(", ") || "no label", file.split, file.source && `source ${file.source}`].filter(Boolean).join("; ");
  return el("li", {}, el("h3", { text: file.file }), el("p", { text: where }), el("p", { class: "note", text: about(file) }),
    file.picture ? el("img", { src: file.picture, alt: `log-mel of ${file.file}` }) : null, player(file, file.file, sounds));
}

const MOST_OPEN = 6;

function finding(own) {
  const mark = el("span", { class: own.matters ? "tag" : "tag mild", text: own.matters ? "spoils" : "note" });
  const box = el("details", own.matters || own.groups.length <= MOST_OPEN ? { open: "" } : {}, el("summary", {}, mark, ` ${own.text}`));
  const several = own.groups.some((group) => group.length > 1);
  if (own.groups.length && !several) box.append(el("ul", { class: "clips" }, ...own.groups.flat().map(card)));
  else if (own.groups.length) own.groups.forEach((group) => box.append(el("ul", { class: "clips group" }, ...group.map(card))));
  else box.append(el("ul", {}, ...own.names.map((text) => el("li", { text }))));
  const shown = own.groups.length || own.names.length;
  if (own.count > shown) box.append(el("p", { class: "note", text: `and ${own.count - shown} more; all are in the JSON file` }));
  return box;
}

const PAGE = 50;

function recordings() {
  const place = el("div"), chosen = { label: 0, flag: 0 };
  const labels = [...new Set(files.flatMap((file) => file.labels))].sort(), flags = [...new Set(files.flatMap((file) => file.flags))];
  const voice = new Audio();
  let playing = null;
  const stop = () => { voice.pause(); playing?.setAttribute("aria-pressed", "false"); playing = null; };
  const play = (file) => {
    if (file.sound === undefined) return "-";
    return el("button", { type: "button", class: "choose small", "aria-pressed": "false", "aria-label": `play ${file.file}`, text: "play", on: { click: (event) => {
      const own = event.currentTarget, again = own === playing;
      stop();
      if (again) return;
      playing = own;
      own.setAttribute("aria-pressed", "true");
      voice.src = sounds[file.sound];
      voice.play().catch(stop);
    } } });
  };
  voice.addEventListener("ended", stop);
  const text = (words, more = "") => cell("td", words, { class: `${isShort(words) ? "short" : "words"} ${more}` });
  const row = (file) => [file.file, play(file), text(file.labels.join(", ")), text(file.split || "-"), text(file.source || "-"), file.error ? "-" : file.duration_s.toFixed(2),
    file.error ? "-" : file.peak_dbfs?.toFixed(1) ?? "silent", file.error ? "-" : file.rate_hz, text(file.flags.map(flagWords).join(", "), "flags")];
  const draw = (count) => {
    const own = files.filter((file) => (!chosen.label || file.labels.includes(labels[chosen.label - 1])) && (!chosen.flag || (chosen.flag === 1 ? file.flags.length : file.flags.includes(flags[chosen.flag - 2]))));
    const rest = own.length - Math.min(count, own.length);
    const more = rest ? el("button", { type: "button", class: "choose", text: `show ${Math.min(PAGE, rest)} more of ${rest}`, on: { click: () => draw(count + PAGE) } }) : null;
    place.replaceChildren(table(plural(own.length, "recording"), ["recording", "", "class", "split", "source", "s", "peak, dBFS", "Hz", "found"], own.slice(0, count).map(row)), ...[more].filter(Boolean));
  };
  draw(PAGE);
  const silent = files.filter((file) => file.sound === undefined && !file.error).length;
  const notes = [`Sound: the first ${data.seconds} s of each, at the rate of the front end.`, silent ? `${plural(silent, "recording")} without sound for lack of room.` : "", data.more ? `${plural(data.more, "recording")} more are in the JSON file.` : ""];
  return section("Recordings", el("p", { class: "note", text: notes.filter(Boolean).join(" ") }),
    el("p", {}, selected("class", ["all", ...labels], (index) => { chosen.label = index; draw(PAGE); }),
      flags.length ? selected("found", ["anything or nothing", "something", ...flags.map(flagWords)], (index) => { chosen.flag = index; draw(PAGE); }) : ""), place);
}

document.getElementById("about").textContent = data.about;
document.getElementById("report").append(health(),
  section("Findings", ...(findings.length ? findings.map(finding) : [el("p", { text: "Nothing wrong was found." })])), classes(), recordings());
document.documentElement.dataset.ready = "yes";
