// The first tab: while one types, what the text's labels are, and a moment later which words carry them.
import { $, make, options } from "./charts.js";
import { Newest, messageOf, read, send } from "./api.js";
import { Feels, Threshold, score } from "./feels.js";
import { Reader, hasText, onText, tellWords, theText, weigh } from "./reader.js";

const GROUPS = 6; // colours that stay distinct
const FEW = 7; // bars shown at first
const SOON = 110; // ms after a key until the labels are asked for
const LATER = 420; // ms after an answer until its words are

export const levels = []; // [{ level, name, labels }], the finest first
const groups = []; // the labels of the coarsest level, by which all are coloured
export const hue = (label) => (groups.includes(label?.group) ? `var(--g${groups.indexOf(label.group)})` : "var(--accent)");

// What the server's labels are; whether it also takes others.
export async function readLevels() {
  const finest = await read("/v1/labels");
  const coarser = await Promise.all(finest.levels.map((level) => read(`/v1/labels?${new URLSearchParams({ level })}`)));
  levels.push(...[finest, ...coarser].map((found, k) => ({ level: k ? finest.levels[k - 1] : null, name: found.name, labels: found.labels, exclusive: found.exclusive })));
  const coarsest = levels.reduce((least, one) => (one.labels.length < least.labels.length ? one : least));
  if (coarsest.labels.length <= GROUPS) groups.push(...coarsest.labels.map(({ name }) => name));
  return finest.own_labels ?? true;
}

export function startLook(isOpen) {
  const view = { level: 0, scores: null, of: null, predicted: new Set(), picked: null, all: false, words: null, problem: null };
  const at = () => levels[view.level];
  const label = (name) => at().labels.find((one) => one.name === name);
  const hueOf = (name) => hue(label(name));

  const reader = new Reader($("text-reader"), { name: "Your text" });
  const feels = new Feels($("text-feels"), (name) => {
    view.picked = view.picked === name ? null : name;
    draw();
    askWords();
  });
  const threshold = new Threshold($("text-threshold"), { own: "Each its own", change: () => { draw(); say(); askWords(); } });

  const labels = new Newest({
    wait: SOON,
    ask: ({ text, level }, signal) => send("/v1/predict", { texts: [text], level, all_scores: true }, { signal }),
    tell: (answer, { text }) => {
      if (text !== theText()) return;
      const [found] = answer.predictions;
      view.scores = new Map(Object.entries(found.scores));
      view.predicted = new Set(found.labels.map((one) => one.name));
      Object.assign(view, { of: text, problem: null });
      draw();
      say();
      askWords();
    },
    fail: (error, { text }) => {
      Object.assign(view, { of: text, problem: messageOf(error), scores: null });
      draw();
      say();
    },
  });
  const words = new Newest({
    wait: LATER,
    ask: ({ text, names, level }, signal) => send("/v1/explain", { text, labels: names, level }, { signal }),
    tell: (answer, { text, names }) => {
      if (text !== theText() || !view.scores) return;
      view.words = { answer, names };
      drawWords();
    },
    fail: (error) => {
      reader.mark([], []); // those of the labels that were wanted before
      $("text-words").replaceChildren(make("p", { class: "hint" }, messageOf(error)));
    },
  });

  function found() {
    return at().labels
      .filter(({ name }) => view.scores.has(name))
      .map((one) => {
        const p = view.scores.get(one.name);
        const bound = threshold.value ?? one.threshold ?? null;
        return { ...one, p, threshold: bound, lit: bound === null ? view.predicted.has(one.name) : p > bound, hue: hue(one) };
      })
      .sort((a, b) => b.p - a.p);
  }
  const lit = () => found().filter((one) => one.lit);
  // whose words are wanted: of the label picked, else of those that are there, else of the likeliest
  const wanted = () => (view.picked ? [view.picked] : (lit().length ? lit() : found().slice(0, 1)).slice(0, 4).map(({ name }) => name));

  function askWords() {
    if (!view.scores) return; // no text, or not answered yet: then they are asked for with the answer
    const names = wanted();
    const { level } = at();
    if (view.words && names.every((name) => Object.hasOwn(view.words.answer.shifts, name))) { // of this very text: see changed()
      words.drop(); // what was asked meanwhile is no longer wanted
      view.words.names = names;
      drawWords();
    } else words.push({ text: theText(), names, level });
  }

  function drawWords() {
    const ready = view.words && view.scores;
    const names = ready ? view.words.names.filter((name) => Object.hasOwn(view.words.answer.shifts, name)) : [];
    if (!names.length) {
      reader.mark([], []);
      $("text-words").replaceChildren();
      return;
    }
    reader.mark(view.words.answer.words, weigh(view.words.answer, names, hueOf));
    tellWords($("text-words"), view.words.answer, names, hueOf);
  }

  function drawVerdict() {
    if (view.problem) return $("text-verdict").replaceChildren(make("p", { class: "problem" }, view.problem));
    if (!view.scores) {
      return $("text-verdict").replaceChildren(make("p", { class: "hint" }, `${at().labels.length} labels, each with a meaning; as you type, the bars say how likely each is.`));
    }
    const there = lit();
    const [top] = found();
    $("text-verdict").replaceChildren(there.length
      ? make("p", { class: "names" }, there.slice(0, 4).map((one) => make("strong", { "--hue": one.hue }, one.name)))
      : make("p", { class: "hint" }, "No label passes its threshold; the likeliest is ", make("b", {}, top.name), `, ${score(top.p)}.`));
  }

  function draw() {
    drawVerdict();
    const rows = view.scores ? found() : at().labels.map((one) => ({ ...one, p: 0, threshold: threshold.value ?? one.threshold ?? null, lit: false, hue: hue(one) }));
    const most = Math.max(FEW, view.scores ? lit().length : 0);
    const shown = view.all ? rows : rows.filter((one, k) => k < most || one.name === view.picked);
    feels.show(shown, view.picked);
    $("text-feels").classList.toggle("idle", !view.scores);
    $("text-more").hidden = rows.length <= most;
    $("text-more").textContent = view.all ? "Show fewer" : `Show all ${rows.length}`;
  }

  function said() {
    if (view.of !== theText()) return ""; // bars stay until the next answer; nothing is said of a text that is gone
    if (view.problem || !view.scores) return view.problem ?? "";
    return lit().map((one) => `${one.name} ${score(one.p)}`).join(", ") || "No label passes its threshold.";
  }
  function say() { // what is said again without need is read aloud again
    if ($("text-said").textContent !== said()) $("text-said").textContent = said();
  }

  function changed() {
    view.words = null;
    words.drop();
    $("text-words").replaceChildren();
    $("text-said").textContent = "";
    if (!isOpen()) return;
    if (!hasText()) {
      labels.drop();
      Object.assign(view, { scores: null, picked: null, problem: null });
      draw();
    } else labels.push({ text: theText(), level: at().level });
  }

  options($("text-level"), levels.map(({ name, labels: its }, k) => [k, `${k ? name : "all"} ${its.length}`]), 0, (k) => {
    Object.assign(view, { level: k, picked: null, scores: null });
    feels.clear();
    draw();
    changed();
  });
  $("text-more").addEventListener("click", () => {
    view.all = !view.all;
    draw();
  });
  $("text-threshold").hidden = levels[0].exclusive;
  onText(changed);
  draw();
  return { opened: changed };
}
