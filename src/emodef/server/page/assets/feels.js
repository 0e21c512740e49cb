// Labels as bars, likeliest first. A row stays the same row while its place changes, and glides to it.
import { make } from "./charts.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
export const score = (p) => (p >= 0.995 && p < 1 ? ">0.99" : p.toFixed(2));

export class Feels {
  constructor(list, pick) {
    Object.assign(this, { list, pick, rows: new Map() });
  }

  row(name) {
    const found = this.rows.get(name);
    if (found) return found;
    const part = (className) => make("span", { class: className });
    const row = { name: part("name"), value: part("value"), definition: part("definition"), fill: make("i", { class: "fill" }), tick: make("i", { class: "tick" }) };
    row.button = make("button", { type: "button", class: "feel", "aria-pressed": "false", onclick: () => this.pick(name) },
      row.name, row.value, make("span", { class: "track", "aria-hidden": "true" }, row.fill, row.tick), row.definition);
    row.item = make("li", {}, row.button);
    this.rows.set(name, row);
    return row;
  }

  // found: [{ name, p, threshold, lit, hue, definition }], in the order to show them; picked: a name, or null
  show(found, picked) {
    const before = new Map([...this.list.children].map((item) => [item, item.offsetTop]));
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const items = found.map((one) => {
      const row = this.row(one.name);
      row.name.textContent = one.name;
      row.value.textContent = score(one.p);
      row.definition.textContent = one.definition;
      row.button.classList.toggle("lit", one.lit);
      row.button.setAttribute("aria-pressed", String(one.name === picked));
      row.button.style.setProperty("--hue", one.hue);
      row.button.style.setProperty("--to", one.p.toFixed(4));
      row.tick.hidden = one.threshold === null;
      row.tick.style.setProperty("--at", (one.threshold ?? 0).toFixed(4));
      return row.item;
    });
    if (items.length !== this.list.children.length || items.some((item, k) => item !== this.list.children[k])) {
      this.list.replaceChildren(...items);
      focused?.focus({ preventScroll: true });
    }
    if (still.matches) return;
    for (const item of items) {
      const from = before.get(item);
      const by = from === undefined ? 0 : from - item.offsetTop;
      if (by) item.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 220, easing: "ease-out" });
    }
  }

  clear() {
    this.list.replaceChildren();
    this.rows.clear();
  }
}

// The threshold: each label its own (null), or one number for all. change(value) is called with it.
export class Threshold {
  constructor(box, { own, change }) {
    this.value = null;
    this.change = change;
    this.output = make("output", {});
    this.range = make("input", { type: "range", min: 0.02, max: 0.98, step: 0.01, value: 0.3, "aria-label": "One threshold for all labels", oninput: () => this.set(Number(this.range.value)) });
    this.each = make("button", { type: "button", onclick: () => this.set(null) }, own);
    this.one = make("button", { type: "button", onclick: () => this.set(Number(this.range.value)) }, "One for all");
    box.replaceChildren(
      make("div", { class: "switch", role: "group", "aria-label": "Threshold" }, this.each, this.one),
      make("span", { class: "slide" }, this.range, this.output));
    this.show();
  }

  set(value) {
    this.value = value;
    this.show();
    this.change(value);
  }

  show() {
    this.each.setAttribute("aria-pressed", String(this.value === null));
    this.one.setAttribute("aria-pressed", String(this.value !== null));
    this.output.textContent = Number(this.range.value).toFixed(2);
    this.output.classList.toggle("off", this.value === null);
  }
}
