// The events of a stream: those that last, those that have ended, and their list on the page.

const MOST_ENDED = 5000;
const MOST_SHOWN = 200;
const KEYS = { " ": "play", r: "right", w: "wrong", x: "other" };
const ACTIONS = { play: "Play", right: "Right", wrong: "Wrong", other: "As class …" };

class Events {
  constructor(names) {
    this.names = names;
    this.clear();
  }

  clear() {
    this.open = new Map();
    this.ended = [];
  }

  // Takes in what the device says; returns an event that begins, else null.
  add(kind, found) {
    if (kind === "begins") {
      const event = { label: found.label, name: this.names[found.label], onset: found.onset, offset: null, probability: found.probability, alarms: [found.heard] };
      this.open.set(found.label, event);
      return event;
    }
    const event = this.open.get(found.label);
    if (kind === "lasts") {
      event.alarms.push(found.heard);
      return null;
    }
    Object.assign(event, { onset: found.onset, offset: found.offset, probability: found.probability });
    this.open.delete(found.label);
    this.ended.push(event);
    if (this.ended.length > MOST_ENDED) this.ended.shift();
    return null;
  }

  // As `aed detect format=csv` writes them.
  csv(file) {
    const rows = this.ended.map((event) => [
      file, event.onset.toFixed(3), event.offset.toFixed(3), event.name, event.probability.toFixed(6),
      event.alarms.map((time) => time.toFixed(3)).join(" "),
    ]);
    const head = ["file", "onset_s", "offset_s", "event", "posterior", "alarms_s"];
    return [head, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
  }
}

const clock = (time) => `${Math.floor(time / 60)}:${(time % 60).toFixed(1).padStart(4, "0")}`;

class EventList {
  // act(action, event): a button or key of an event, as of ACTIONS.
  constructor(list, none, act) {
    this.list = list;
    this.none = none;
    this.act = act;
    list.addEventListener("keydown", (press) => this.key(press));
    list.addEventListener("click", (click) => {
      const item = click.target.closest("li");
      if (item) act(click.target.dataset.action ?? "play", item.event);
    });
  }

  clear() {
    this.list.replaceChildren();
    this.none.hidden = false;
  }

  add(event) {
    const button = (action) =>
      element("button", { type: "button", tabindex: "-1", "data-action": action, "aria-label": `${ACTIONS[action]}: ${event.name} at ${event.onset.toFixed(1)} s` }, ACTIONS[action]);
    const item = element("li", { tabindex: this.list.children.length ? "-1" : "0" });
    item.event = event;
    item.append(
      element("span", { class: "time" }), element("span", { class: "name", title: event.name }, event.name),
      element("span", { class: "saved name" }), element("span", { class: "share" }),
      element("span", { class: "actions" }, ...Object.keys(ACTIONS).map(button)),
    );
    this.list.prepend(item);
    if (this.list.children.length > MOST_SHOWN) this.list.lastChild.remove();
    this.none.hidden = true;
    event.item = item;
    this.show(event);
  }

  // Times and posterior as they are now.
  show(event) {
    const [time, , , share] = event.item.children;
    time.textContent = event.offset === null ? `${clock(event.onset)} – now` : `${clock(event.onset)} – ${clock(event.offset)}`;
    share.textContent = event.probability.toFixed(2);
  }

  saved(event, text) {
    const said = event.item.querySelector(".saved");
    said.textContent = text;
    said.title = text;
  }

  key(press) {
    const item = press.target.closest("li");
    const onItem = press.target === item;
    const next = { ArrowDown: item.nextSibling, ArrowUp: item.previousSibling, Home: this.list.firstChild, End: this.list.lastChild };
    if (press.ctrlKey || press.metaKey || press.altKey) return;
    if (press.key in next) {
      if (next[press.key]) this.focus(next[press.key]);
    } else if (onItem && KEYS[press.key.toLowerCase()]) {
      this.act(KEYS[press.key.toLowerCase()], item.event);
    } else if (onItem && press.key === "Enter") {
      this.act("play", item.event);
    } else {
      return;
    }
    press.preventDefault();
  }

  focus(item) {
    for (const other of this.list.querySelectorAll("li[tabindex='0']")) other.tabIndex = -1;
    item.tabIndex = 0;
    item.focus();
  }
}
