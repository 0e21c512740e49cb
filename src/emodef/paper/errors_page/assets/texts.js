// The texts: by what annotators gave and the model missed, by what the model gave and they did not, by words.
const ANY = "any";
const STEP = 40; // texts shown at first, and more at a time
const filter = { annotated: ANY, predicted: ANY, words: "", order: "most", shown: STEP };
const ORDERINGS = {
  most: ["most confident", (text) => -text.confidence],
  least: ["least confident", (text) => text.confidence],
  unlikely: ["annotators’ label least likely", (text) => text.lowest],
};

// what of a text's labels only one side gave; [NONE] where a side has nothing of its own
for (const text of data.found) {
  const only = (mine, others) => mine.filter((place) => !others.includes(place));
  text.missed = only(text.labels, text.predicted);
  text.wrong = only(text.predicted, text.labels);
  const scores = (places) => places.map((place) => text.scores[place] ?? 0);
  text.lowest = text.missed.length ? Math.min(...scores(text.missed)) : 1;
  text.confidence = confidence(text, text.missed, text.wrong);
}
function confidence(text, missed, wrong) {
  const scores = (places) => places.map((place) => text.scores[place] ?? 0);
  return Math.max(...(wrong.length ? scores(wrong) : [0])) - Math.min(...(missed.length ? scores(missed) : [0]));
}

function fits(places, wanted) {
  return wanted === ANY || (wanted === NONE ? places.length === 0 : places.includes(wanted));
}

function foundTexts() {
  const words = filter.words.toLowerCase();
  const found = data.found.filter((text) =>
    fits(text.missed, filter.annotated) && fits(text.wrong, filter.predicted) && text.text.toLowerCase().includes(words));
  // of a text with several labels, the pair that is asked for counts
  const asked = (wanted, places) => (wanted === ANY ? places : wanted === NONE ? [] : [wanted]);
  const key = (text) => {
    const [missed, wrong] = [asked(filter.annotated, text.missed), asked(filter.predicted, text.wrong)];
    return ORDERINGS[filter.order][1]({ confidence: confidence(text, missed, wrong), lowest: text.lowest });
  };
  return found.map((text, at) => [key(text), at, text]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , text]) => text);
}

function marked(text) {
  if (!filter.words) return [text];
  const wanted = new RegExp(`(${filter.words.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")})`, "giu");
  return text.split(wanted).map((part, k) => (k % 2 ? make("mark", {}, part) : part));
}

const score = (value) => (value < 0.005 ? "<0.01" : value > 0.995 ? ">0.99" : value.toFixed(2));

function side(title, places, own, text) {
  const tag = (place) => make("span", { class: `tag ${own.includes(place) ? "parted" : "agreed"}`, "--hue": hue(labels[place]) },
    labels[place].name, make("b", {}, score(text.scores[place] ?? 0)));
  const sorted = [...places].sort((a, b) => (text.scores[b] ?? 0) - (text.scores[a] ?? 0));
  return [make("dt", {}, title), make("dd", {}, sorted.length ? sorted.map(tag) : make("span", { class: "tag none" }, "no label"))];
}

function textCard(text) {
  return make("article", { class: "example" },
    make("p", { dir: "auto" }, marked(text.text), text.cut ? make("span", { class: "cut" }, ` … and ${count(text.cut, "character")} more`) : null),
    make("dl", { class: "sides" }, side("Annotators", text.labels, text.missed, text), side("Model", text.predicted, text.wrong, text)));
}

function drawTexts() {
  const found = foundTexts();
  const { annotated, predicted } = filter;
  $("filter-count").textContent = count(found.length, "text");
  $("filter-clear").hidden = annotated === ANY && predicted === ANY && !filter.words;
  const more = found.length > filter.shown && make("button", { type: "button", class: "link", onclick: () => {
    filter.shown += 5 * STEP;
    drawTexts();
  } }, "Show more");
  const counted = annotated !== ANY && predicted !== ANY && !filter.words ? pairTexts(annotated, predicted) : 0;
  const left = counted > found.length ? ` There are ${whole.format(counted)} such texts; this page holds ${found.length ? whole.format(found.length) : "none of them"}.` : "";
  const none = found.length ? left : left || "No text here fits.";
  $("texts-list").replaceChildren(...found.slice(0, filter.shown).map(textCard), none ? make("p", { class: "note" }, none.trim()) : "", more || "");
}

function showTexts(annotated, predicted) {
  Object.assign(filter, { annotated, predicted, words: "", shown: STEP });
  setFilter();
  drawTexts();
  $("texts").scrollIntoView();
  $("texts-title").focus({ preventScroll: true });
}

function setFilter() {
  $("filter-annotated").value = String(filter.annotated);
  $("filter-predicted").value = String(filter.predicted);
  $("filter-words").value = filter.words;
}

function listenToFilter() {
  const choices = (none) => [make("option", { value: ANY }, "any label"), ...labels.map((label, place) => make("option", { value: place }, label.name)),
    make("option", { value: NONE }, none)];
  $("filter-annotated").replaceChildren(...choices("nothing that the model missed"));
  $("filter-predicted").replaceChildren(...choices("nothing of its own"));
  $("filter-order").replaceChildren(...Object.entries(ORDERINGS).map(([value, [name]]) => make("option", { value }, name)));
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  const listen = (id, type, change) => $(id).addEventListener(type, (event) => {
    Object.assign(filter, change(event.target.value), { shown: STEP });
    drawTexts();
  });
  const place = (value) => (value === ANY ? ANY : Number(value));
  listen("filter-annotated", "change", (value) => ({ annotated: place(value) }));
  listen("filter-predicted", "change", (value) => ({ predicted: place(value) }));
  listen("filter-order", "change", (value) => ({ order: value }));
  listen("filter-words", "input", (value) => ({ words: value.trim() }));
  $("filter-clear").addEventListener("click", () => {
    Object.assign(filter, { annotated: ANY, predicted: ANY, words: "", shown: STEP });
    setFilter();
    drawTexts();
    $("filter-annotated").focus();
  });
}
