// Where a text is typed: words are coloured behind the letters as they stand. The text is one, wherever it is typed.
import { make } from "./charts.js";

const FAINT = 0.02; // a shift of a probability that is not shown,
const BESIDE = 0.1; // nor one that is so small a part of the largest
const TRY = [
  "I hope it works out; I am still nervous about it.",
  "I can't believe we won, I am so happy and so proud of everyone!",
  "Wait, you kept every letter he ever wrote to you?",
];

let text = "";
const readers = [];
const listeners = [];
export const theText = () => text;
export const onText = (listener) => listeners.push(listener);
const blank = (value) => !value.trim();
export const hasText = () => !blank(text);

export function setText(value, from = null) {
  text = value.toWellFormed();
  for (const reader of readers) reader.show(reader === from);
  listeners.forEach((listener) => listener(text));
}

// places in characters, as the server counts them, to places in a string of this language
export function places(value) {
  if (!/[\ud800-\udfff]/.test(value)) return (at) => at;
  const starts = [0];
  for (const character of value) starts.push(starts.at(-1) + character.length);
  return (at) => starts[Math.min(at, starts.length - 1)];
}

export class Reader {
  constructor(box, { name }) {
    this.under = make("div", { class: "under", "aria-hidden": "true" });
    this.area = make("textarea", {
      "aria-label": name, spellcheck: "false", autocomplete: "off", dir: "auto", placeholder: "Type or paste a text …",
      oninput: () => setText(this.area.value, this),
    });
    this.samples = make("div", { class: "samples" }, make("span", {}, "Try"), TRY.map((sample) =>
      make("button", { type: "button", class: "sample", onclick: () => { setText(sample); this.area.focus(); } }, sample)));
    this.clear = make("button", { type: "button", class: "clear", "aria-label": "Clear the text", title: "Clear", onclick: () => { setText(""); this.area.focus(); } }, "×");
    box.replaceChildren(make("div", { class: "paper" }, make("div", { class: "layers" }, this.under, this.area), this.clear), this.samples);
    readers.push(this);
    this.show();
  }

  show(typedHere = false) {
    if (!typedHere && this.area.value !== text) this.area.value = text;
    this.samples.hidden = Boolean(text);
    this.clear.hidden = !text;
    this.mark([], []);
  }

  // words: [{ start, end }] in characters; weights: for each { by, hue, name } with the shift of largest size, or null
  mark(words, weights) {
    const at = places(text);
    const top = Math.max(0.1, ...weights.map((weight) => Math.abs(weight?.by ?? 0)));
    const parts = [];
    let from = 0;
    words.forEach((word, k) => {
      const weight = weights[k];
      if (!weight || Math.abs(weight.by) < Math.max(FAINT, BESIDE * top)) return;
      const [start, end] = [at(word.start), at(word.end)];
      if (start < from) return;
      const strength = Math.sqrt(Math.min(1, Math.abs(weight.by) / top));
      parts.push(text.slice(from, start), make("span", { class: weight.by > 0 ? "for" : "against", "--hue": weight.hue, "--strength": strength.toFixed(2) }, text.slice(start, end)));
      from = end;
    });
    this.under.replaceChildren(...parts, `${text.slice(from)}\u200b`); // its last line has a height, too
  }
}

// For each word the label whose probability it shifts most. answer: of /v1/explain; shown: names of labels.
export function weigh(answer, shown, hueOf) {
  return answer.words.map((_, k) => shown
    .map((name) => ({ by: answer.shifts[name][k], hue: hueOf(name), name }))
    .reduce((best, one) => (best && Math.abs(best.by) >= Math.abs(one.by) ? best : one), null));
}

// The same in words: for each label those that carry it, and those that speak against it.
export function tellWords(box, answer, shown, hueOf) {
  const line = (name) => {
    const sorted = answer.words.map((word, k) => [word.text, answer.shifts[name][k]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const found = sorted.slice(0, 6).filter(([, by]) => Math.abs(by) >= Math.max(FAINT, BESIDE * Math.abs(sorted[0][1]))).sort((a, b) => b[1] - a[1]);
    return make("li", { "--hue": hueOf(name) }, make("b", {}, name), " ", make("span", {},
      found.length
        ? found.flatMap(([word, by]) => [make("span", { class: by > 0 ? "for" : "against" }, word.trim(), make("small", {}, ` ${by > 0 ? "+" : "−"}${Math.abs(by).toFixed(2)}`)), " "])
        : make("span", { class: "none" }, "no word alone carries it")));
  };
  box.replaceChildren(
    shown.length ? make("h2", {}, "Words that carry it; dotted ones speak against it") : "",
    make("ul", {}, shown.map(line)),
    answer.together > 1 ? make("p", { class: "hint" }, `The text is long: ${answer.together} neighbouring words are weighed together.`) : "");
}
