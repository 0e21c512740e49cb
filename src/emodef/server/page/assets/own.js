// The second tab: labels of one's own, each a name and what it means, scored while they are written.
import { $, make } from "./charts.js";
import { Newest, messageOf, read, send } from "./api.js";
import { Threshold, score } from "./feels.js";
import { Reader, hasText, onText, setText, tellWords, theText, weigh } from "./reader.js";
import { readLabels, writeLabels } from "./toml.js";

const STORE = "emodef.labels";
const SOON = 220; // ms after a key until scores are asked for
const LATER = 500; // ms after an answer until its words are
const HUES = 8;
const MOST = 4; // labels whose words are shown at once
const blank = () => ({ name: "", definitions: [""], examples: [], threshold: null });
const isText = (value) => typeof value === "string";

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    return found.filter((one) => isText(one?.name) && [one.definitions, one.examples].every((list) => Array.isArray(list) && list.every(isText)))
      .map(({ name, definitions, examples, threshold }) => ({ name, definitions: definitions.length ? definitions : [""], examples, threshold: Number.isFinite(threshold) ? threshold : null }));
  } catch {
    return [];
  }
}
function store(labels) {
  try { localStorage.setItem(STORE, JSON.stringify(labels)); } catch { /* storage is off or full: they stay on this page */ }
}

const filled = (list) => list.map((one) => one.trim()).filter(Boolean);
const clean = (label) => ({ name: label.name.trim(), definitions: filled(label.definitions), examples: filled(label.examples), threshold: label.threshold });
const whole = (label) => label.name && label.definitions.length;

// what is wrong with a label, in the words its writer needs; null where nothing is
function lacking(label, labels) {
  const { name, definitions } = clean(label);
  if (!name && !definitions.length) return null;
  if (!name) return "Give it a name.";
  if (labels.some((other) => other !== label && other.name.trim() === name)) return "Another label has this name.";
  return definitions.length ? null : "Write what it means.";
}

export function startOwn(isOpen, able) {
  const labels = stored();
  const cards = new Map(); // label -> what is drawn of it
  const view = { scores: null, predicted: new Set(), problem: null, words: null };
  const hueOf = (name) => `var(--s${Math.max(0, labels.findIndex((one) => one.name.trim() === name)) % HUES})`;
  const reader = new Reader($("own-reader"), { name: "A text to try your labels on" });
  const threshold = new Threshold($("own-threshold"), { own: "Suggested", change: () => { show(); words.drop(); if (view.scores) words.push({ text: theText(), labels: sent() }); } });
  const usable = () => labels.filter((one) => !lacking(one, labels)).map(clean).filter(whole);
  // as the server takes them; entries, so that no name means anything to this language
  const sent = () => Object.fromEntries(usable().map(({ name, definitions, examples, threshold: bound }) =>
    [name, { definitions, ...(examples.length && { examples }), ...(bound !== null && { threshold: bound }) }]));

  const scores = new Newest({
    wait: SOON,
    ask: (input, signal) => send("/v1/score", { texts: [input.text], labels: input.labels, all_scores: true }, { signal }),
    tell: (answer, input) => {
      const [found] = answer.predictions;
      Object.assign(view, { scores: new Map(Object.entries(found.scores)), predicted: new Set(found.labels.map((one) => one.name)), problem: null });
      show();
      words.push(input);
      $("own-said").textContent = [...view.scores].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([name, p]) => `${name} ${score(p)}`).join(", ");
    },
    fail: (error) => {
      Object.assign(view, { problem: messageOf(error), scores: null });
      show();
    },
  });
  const words = new Newest({
    wait: LATER,
    ask: async (input, signal) => {
      const there = [...(view.scores?.keys() ?? [])].filter(isLit).slice(0, MOST);
      return there.length ? send("/v1/explain", { text: input.text, labels: there, own: input.labels }, { signal }) : null;
    },
    tell: (answer) => {
      if (!view.scores) return;
      if (!answer) return noWords("None of your labels passes its threshold here.");
      const names = answer.labels.map(({ name }) => name);
      reader.mark(answer.words, weigh(answer, names, hueOf));
      tellWords($("own-words"), answer, names, hueOf);
    },
    fail: (error) => noWords(messageOf(error)),
  });

  function noWords(why) { // nor those that another threshold had
    reader.mark([], []);
    $("own-words").replaceChildren(make("p", { class: "hint" }, why));
  }

  function isLit(name) {
    const p = view.scores?.get(name);
    return p !== undefined && (threshold.value === null ? view.predicted.has(name) : p > threshold.value);
  }

  function changed() { // a text or a label
    words.drop();
    reader.mark([], []);
    $("own-words").replaceChildren();
    if (!isOpen() || !able) return;
    if (hasText() && usable().length) scores.push({ text: theText(), labels: sent() });
    else {
      scores.drop();
      Object.assign(view, { scores: null, problem: null });
      $("own-said").textContent = "";
    }
    show();
  }
  function edited() {
    store(labels);
    changed();
  }

  function show() {
    $("own-problem").hidden = !view.problem;
    $("own-problem").textContent = view.problem ?? "";
    labels.forEach((label, k) => {
      const card = cards.get(label);
      const p = view.scores?.get(label.name.trim());
      const lack = lacking(label, labels);
      card.item.style.setProperty("--hue", `var(--s${k % HUES})`);
      card.item.classList.toggle("lit", isLit(label.name.trim()));
      card.value.textContent = p === undefined || lack ? "–" : score(p);
      card.fill.style.setProperty("--to", lack ? 0 : (p ?? 0).toFixed(4));
      card.tick.hidden = threshold.value === null;
      card.tick.style.setProperty("--at", threshold.value ?? 0);
      card.lack.textContent = lack ?? "";
      card.remove.setAttribute("aria-label", `Remove ${label.name.trim() || "this label"}`);
    });
    $("own-export").disabled = !usable().length;
    $("own-clear").disabled = !labels.length;
  }

  const field = (tag, name, value, change, attributes) => {
    const box = make(tag, { ...attributes, "aria-label": name, autocomplete: "off", oninput: () => { change(box.value); edited(); } });
    box.value = value;
    return box;
  };

  function card(label) {
    const made = { value: make("span", { class: "value" }), fill: make("i", { class: "fill" }), tick: make("i", { class: "tick" }), lack: make("p", { class: "lack" }) };
    made.name = field("input", "Name of the label", label.name, (value) => { label.name = value.toWellFormed(); }, { class: "label-name", placeholder: "name", maxlength: 200, spellcheck: "false" });
    made.remove = make("button", {
      type: "button", class: "remove",
      onclick: () => {
        const at = labels.indexOf(label);
        labels.splice(at, 1);
        cards.delete(label);
        arrange();
        edited();
        (cards.get(labels[Math.min(at, labels.length - 1)])?.name ?? $("own-add")).focus();
      },
    }, "×");
    const meanings = make("div", { class: "meanings" });
    const drawMeanings = () => meanings.replaceChildren(...label.definitions.map((meaning, k) =>
      field("textarea", k ? `Definition ${k + 1}` : "Definition", meaning, (value) => { label.definitions[k] = value.toWellFormed(); }, { rows: 1, placeholder: k ? "in other words" : "what it means, in a line" })));
    drawMeanings();
    const bound = field("input", "Its own threshold", label.threshold ?? "", (value) => {
      const number = Number(value);
      label.threshold = value.trim() && number > 0 && number < 1 ? number : null;
    }, { type: "number", min: 0.01, max: 0.99, step: 0.01, placeholder: "suggested" });
    const more = make("details", {}, make("summary", {}, "More"),
      make("button", { type: "button", class: "link", onclick: () => { label.definitions.push(""); drawMeanings(); meanings.lastChild.focus(); } }, "Say it in other words, too"),
      make("div", { class: "row" }, make("span", {}, "Texts that show it, one a line"), field("textarea", "Texts that show it, one a line", label.examples.join("\n"), (value) => { label.examples = value.toWellFormed().split("\n"); }, { rows: 2 })),
      make("div", { class: "row" }, make("span", {}, "Its own threshold"), bound));
    made.item = make("li", { class: "card" },
      make("div", { class: "card-head" }, made.name, made.value, made.remove),
      make("span", { class: "track", "aria-hidden": "true" }, made.fill, made.tick),
      meanings, made.lack, more);
    return made;
  }

  function arrange() {
    for (const label of labels) if (!cards.has(label)) cards.set(label, card(label));
    $("own-cards").replaceChildren(...labels.map((label) => cards.get(label).item));
    show();
  }

  function replace(found, note = "") {
    $("own-note").hidden = !note;
    $("own-note").textContent = note;
    labels.splice(0, labels.length, ...found);
    cards.clear();
    arrange();
    edited();
  }

  $("own-add").addEventListener("click", () => {
    labels.push(blank());
    arrange();
    cards.get(labels.at(-1)).name.focus();
  });
  $("own-clear").addEventListener("click", () => {
    replace([]);
    $("own-add").focus();
  });
  $("own-import").addEventListener("click", () => $("own-file").click());
  $("own-file").addEventListener("change", async () => {
    const [file] = $("own-file").files;
    $("own-file").value = "";
    if (!file) return;
    try {
      const { labels: found, unused } = readLabels(await file.text());
      replace(found.map((one) => ({ ...one, definitions: one.definitions.length ? one.definitions : [""] })),
        unused.length ? `Not used here, of ${file.name}: ${unused.join(", ")}. A text may have several of your labels, and they have one level.` : "");
    } catch (error) {
      view.problem = `${file.name}: ${error.message}`;
      show();
    }
  });
  $("own-export").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([writeLabels(usable())], { type: "application/toml" }));
    make("a", { href: address, download: "labels.toml" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  if (!able) {
    view.problem = "The model of this server was trained without matching, and reads no labels but its own.";
    for (const id of ["own-add", "own-import", "own-presets"]) $(id).disabled = true;
  } else {
    read("/assets/presets.json").then((presets) => {
      $("own-presets").append(...presets.map(({ title }, k) => make("option", { value: k }, title)));
      $("own-presets").addEventListener("change", (event) => {
        const { labels: chosen, text } = presets[event.target.value] ?? {};
        event.target.value = "";
        if (chosen && !hasText()) setText(text);
        if (chosen) replace([...labels.filter((one) => whole(clean(one)) && !Object.hasOwn(chosen, one.name.trim())), ...Object.entries(chosen).map(([name, meaning]) => ({ ...blank(), name, definitions: [meaning] }))]);
      });
    }).catch((error) => {
      $("own-presets").disabled = true; // labels can be written all the same
      console.warn(error);
    });
  }
  onText(changed);
  arrange();
  return { opened: changed, labels: () => (able ? sent() : {}) };
}
