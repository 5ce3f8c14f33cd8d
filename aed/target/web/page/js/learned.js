// Sounds that the device learns from examples: their names, and how near what is heard is to each.

class Learned {
  // button: starts and ends the examples; label(): the name of the sound; say(text): what is done.
  constructor(list, button, engine, label, say) {
    this.list = list;
    this.button = button;
    this.wasm = engine.wasm;
    this.cosine = engine.cosine;
    this.label = label;
    this.say = say;
    this.names = new Array(engine.facts.learn).fill(null);
    this.examples = null;
    button.hidden = this.names.length === 0;
  }

  press() {
    if (this.examples === null) {
      if (!this.label()) throw new Error("Class: type the name of the sound that is to be learned.");
      if (!this.names.includes(null)) throw new Error(`No more than ${this.names.length} sounds: forget one first.`);
      this.wasm.learn_begin();
      this.examples = 0;
      this.say("Let it sound; each decision is an example.");
    } else {
      this.end();
    }
    const on = this.examples !== null;
    this.button.setAttribute("aria-pressed", String(on));
    this.button.textContent = on ? "Learned" : "Teach";
  }

  end() {
    const sound = this.names.indexOf(null);
    const examples = this.examples;
    this.examples = null;
    if (!examples || this.wasm.learn_end(sound) !== 0) throw new Error("Nothing was learned: there were no examples.");
    this.names[sound] = this.label();
    this.say(`${this.names[sound]}: learned from ${examples} examples.`);
    this.show();
  }

  show() {
    const rows = this.names.map((name, sound) => {
      if (name === null) return null;
      const forget = element("button", { type: "button", "aria-label": `Forget ${name}` }, "Forget");
      forget.addEventListener("click", () => {
        this.wasm.learn_forget(sound);
        this.names[sound] = null;
        this.show();
      });
      return element("li", {}, element("span", { class: "name", title: name }, name), element("span", { class: "value" }, "–"), forget);
    });
    this.rows = rows;
    this.list.replaceChildren(...rows.filter(Boolean));
  }

  // A decision for which the net ran.
  decided() {
    if (this.examples !== null && this.wasm.learn_add() === 0) this.examples++;
    if (this.names.every((name) => name === null)) return;
    const heard = this.wasm.learned();
    this.rows.forEach((row, sound) => {
      if (!row) return;
      row.classList.toggle("on", sound === heard);
      row.children[1].textContent = `${this.cosine[sound].toFixed(2)}${sound === heard ? " heard" : ""}`;
    });
  }
}
