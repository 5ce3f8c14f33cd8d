// Everything from the files of a run gets into the page as text or as the address of a sound or picture, never as markup.

const percent = (value, digits = 1) => value === null || value === undefined ? "-" : (100 * value).toFixed(digits);
const number = (value, digits = 1) => value === null || value === undefined ? "-" : value.toFixed(digits);
const kib = (bytes) => bytes === null || bytes === undefined ? "-" : (bytes / 1024).toFixed(1);
const plural = (count, unit) => `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;

function el(tag, settings = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "text") made.textContent = value;
    else if (name === "on") Object.entries(value).forEach(([kind, act]) => made.addEventListener(kind, act));
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function section(title, ...children) {
  const heading = el("h2", { text: title });
  return el("section", {}, heading, ...children);
}

// of a name that may stay in one line
const isShort = (text) => String(text).length <= 24;

// a table that scrolls by itself where it is wider than the page, also with the keys
function table(caption, head, rows, className = "") {
  const made = el("table", { class: className });
  if (caption) made.append(el("caption", { text: caption }));
  made.append(el("thead", {}, el("tr", {}, ...head.map((text) => cell("th", text, { scope: "col" })))));
  made.append(el("tbody", {}, ...rows.map(([first, ...rest]) =>
    el("tr", {}, cell("th", first, { scope: "row", class: isShort(first) ? "short" : "" }), ...rest.map((content) => cell("td", content))))));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption || "table" }, made);
}

function cell(tag, content, settings = {}) {
  if (content instanceof HTMLTableCellElement) return content;
  const made = el(tag, settings);
  made.append(content instanceof Node ? content : String(content));
  return made;
}

// bars of shares from 0 to 1, below each other
function bars(shares, kinds) {
  const box = el("span", { class: "bars", "aria-hidden": "true" });
  shares.forEach((share, index) => {
    const bar = el("i", { class: kinds[index] || "" });
    bar.style.width = `${100 * Math.max(0, Math.min(1, share || 0))}%`;
    box.append(bar);
  });
  return el("td", { class: "bar" }, box);
}

const kindOf = (program) => program === "int8" ? "int8" : program === "float" ? "" : "c";

function keys(programs) {
  const line = el("p", { class: "note" });
  programs.forEach((program) => line.append(el("span", { class: `key ${kindOf(program)}`, "aria-hidden": "true" }), program));
  return line;
}

// buttons of which one is chosen
function choices(names, choose) {
  const buttons = names.map((name, index) => el("button", {
    type: "button", class: "choose", text: name, "aria-pressed": String(index === 0), on: { click: () => {
      buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === index)));
      choose(index);
    } },
  }));
  return el("div", {}, ...buttons);
}

function selected(label, names, choose) {
  const list = el("select", { on: { change: () => choose(list.selectedIndex) } }, ...names.map((text) => el("option", { text })));
  return el("label", {}, `${label} `, list);
}
