// The map of a run's clips: a point a clip, near others that the net takes for alike; a point plays its clip.

const KINDS = { pca: "two principal components", umap: "UMAP" };
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, settings = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  Object.entries(settings).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

function mapOf(job, subject, sounds) {
  if (!job.map.clips) return el("p", { class: "note", text: "There is no map: it needs the run's float model (stage export), a dense layer at its end, and the recordings." });
  const clips = job.map.clips.map((index) => subject.clips[index]);
  const [xs, ys] = [0, 1].map((axis) => fitted(job.map.places.map((place) => place[axis])));
  const truths = [...new Set(clips.map((clip) => clip.truth))].sort();
  const program = subject.programs[subject.programs.length - 1];
  const detail = el("div", { "aria-live": "polite" });
  const wide = innerWidth < 640 ? 480 : 1000;
  const points = clips.map((clip, index) => point(clip, 40 + (wide - 80) * xs[index], 560 - 520 * ys[index], truths.indexOf(clip.truth), clip.decided[program] === clip.truth));
  const plane = svg("svg", { viewBox: `0 0 ${wide} 600`, role: "group", "aria-label": "map of the clips: arrow keys go from point to point, Enter plays" }, ...[...points].reverse()); // the worst on top
  plane.classList.add("map");
  let sound = null;
  const choose = (index) => {
    points.forEach((own, other) => { own.setAttribute("tabindex", other === index ? "0" : "-1"); own.classList.toggle("chosen", other === index); });
    points[index].focus({ preventScroll: true });
  };
  const play = (index) => {
    choose(index);
    detail.replaceChildren(el("ul", { class: "clips" }, clipItem(clips[index], sounds, false)));
    sound?.pause();
    sound = detail.querySelector("audio");
    sound?.play().catch(() => {});
  };
  const order = clips.map((_, index) => index).sort((one, other) => xs[one] - xs[other]);
  points.forEach((own, index) => {
    own.setAttribute("tabindex", index === order[0] ? "0" : "-1");
    own.addEventListener("click", () => play(index));
    own.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) choose(order[(order.indexOf(index) + step + order.length) % order.length]);
      else if (event.key === "Enter" || event.key === " ") play(index);
      else return;
      event.preventDefault();
    });
  });
  const show = (name) => points.forEach((own, index) => own.classList.toggle("faint", name !== null && clips[index].truth !== name));
  return el("div", {}, el("p", { class: "note", text: `${KINDS[job.map.kind] || job.map.kind} of the float net's embedding, ${job.map.shown === null ? "" : `${percent(job.map.shown)} % of its variance; `}a ring is a clip decided wrongly (${program}). A point plays its clip.` }),
    legend(truths, show), el("div", { class: "plane" }, plane), detail);
}

// to 0 .. 1
function fitted(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return values.map((value) => high > low ? (value - low) / (high - low) : 0.5);
}

function point(clip, x, y, kind, right) {
  const said = Object.values(clip.decided).pop();
  const words = `${clip.file}: is ${clip.truth}, decided ${said || "nothing"}`;
  const size = right ? 8 : 10, named = { role: "button", "aria-label": words };
  const dot = kind < 8 ? svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: size, ...named })
    : svg("rect", { x: (x - size).toFixed(1), y: (y - size).toFixed(1), width: 2 * size - 1, height: 2 * size - 1, ...named });
  const title = svg("title");
  title.textContent = words;
  dot.append(title);
  dot.classList.add("point", `kind${kind % 8}`, ...(right ? [] : ["wrong"]));
  return dot;
}

// a button a class: the points of the others become faint
function legend(names, show) {
  const buttons = names.map((name, index) => {
    const mark = el("span", { class: `key mark kind${index % 8}${index >= 8 ? " second" : ""}`, "aria-hidden": "true" });
    return el("button", { type: "button", class: "choose", "aria-pressed": "false", on: { click: (event) => {
      const chosen = event.currentTarget.getAttribute("aria-pressed") === "false";
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(chosen && other === event.currentTarget)));
      show(chosen ? name : null);
    } } }, mark, name || "nothing");
  });
  return el("div", { role: "group", "aria-label": "classes" }, ...buttons);
}
