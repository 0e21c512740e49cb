// The strongest texts of each label; by label, by two labels, by words.
const EACH = 3; // texts of a label where all labels are listed
const PAGE = 40; // texts of a search shown at first
const filter = { labels: [], words: "", shown: PAGE };

// places of the strongest texts of a label of the present level, strongest first: those of its fine labels, merged
function strongest(place) {
  const best = new Map();
  for (const one of fine(place)) {
    for (const index of data.strongest[one]) {
      const score = scoreOf(data.examples[index], one) ?? 0;
      if (!(best.get(index) >= score)) best.set(index, score);
    }
  }
  const most = largest(data.strongest.map((list) => list.length), 0);
  return [...best].sort((a, b) => b[1] - a[1]).slice(0, most).map(([index]) => index);
}
const scoreOf = (example, one) => example.scores[example.labels.indexOf(one)];
const has = (example, place) => fine(place).some((one) => example.labels.includes(one));

// the labels of a text at the present level, each with its highest score
function labelsOf(example) {
  const { labels } = level();
  return labels
    .map((label, place) => ({ label, place, scores: fine(place).filter((one) => example.labels.includes(one)).map((one) => scoreOf(example, one)) }))
    .filter(({ scores }) => scores.length)
    .map(({ label, place, scores }) => ({ label, place, score: scores.includes(null) ? null : largest(scores, 0) }))
    .sort((a, b) => b.score - a.score);
}

function marked(text, words) {
  if (!words) return [text];
  const parts = [];
  const [where, wanted] = [text.toLowerCase(), words.toLowerCase()];
  if (where.length !== text.length) return [text]; // a letter whose small form is longer: places would be off
  let from = 0;
  for (let at = where.indexOf(wanted); at >= 0; at = where.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), make("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}

function card(example) {
  return make("article", { class: "example" },
    make("p", { dir: "auto" }, marked(example.text, filter.words), example.cut ? make("span", { class: "cut" }, ` … and ${count(example.cut, "character")} more`) : null),
    make("footer", {},
      labelsOf(example).map(({ label, score }) =>
        make("span", { class: "tag", "--hue": hue(label), "--score": score ?? 1 }, label.name, score === null ? null : make("b", {}, score.toFixed(2)))),
      example.time ? make("time", { datetime: `${example.time}Z` }, written(example.time, "moment")) : null));
}

function drawExamples() {
  const some = data.examples.length > 0;
  $("examples").hidden = !some;
  if (!some) return;
  const { labels } = level();
  const each = largest(data.strongest.map((list) => list.length), 0);
  $("examples-lead").textContent = `The texts with the highest probability of each label, up to ${each} a label; a text that recurs is shown once.`;
  const chosen = filter.labels.length > 1 ? "both" : String(filter.labels[0] ?? "");
  $("filter-label").replaceChildren(
    make("option", { value: "" }, "all"),
    filter.labels.length > 1 ? make("option", { value: "both" }, filter.labels.map((place) => labels[place].name).join(" and ")) : "",
    ...labels.flatMap((label, place) => (label.count ? [make("option", { value: place }, label.name)] : [])));
  $("filter-label").value = chosen;
  if (!filter.labels.length && !filter.words) drawAllLabels(labels);
  else drawFound();
}

function drawAllLabels(labels) {
  $("filter-count").textContent = "";
  $("examples-list").replaceChildren(...labels.flatMap((label, place) => {
    const found = strongest(place);
    if (!found.length) return [];
    return [make("section", { class: "label", "--hue": hue(label), "aria-label": label.name },
      make("div", { class: "about" }, make("h3", {}, label.name), label.definition ? make("p", {}, label.definition) : null,
        found.length > EACH ? make("button", { type: "button", class: "link", onclick: () => showExamples([place]) }, `All ${found.length}`) : null),
      make("div", { class: "texts" }, found.slice(0, EACH).map((index) => card(data.examples[index]))))];
  }));
}

function drawFound() {
  const wanted = filter.words.toLowerCase();
  const pool = filter.labels.length === 1 ? strongest(filter.labels[0]) : data.examples.map((_, index) => index);
  const found = pool.map((index) => data.examples[index]).filter((example) =>
    filter.labels.every((place) => has(example, place)) && example.text.toLowerCase().includes(wanted));
  $("filter-count").textContent = count(found.length, "text");
  const more = found.length > filter.shown && make("button", {
    type: "button",
    class: "link",
    onclick: () => {
      filter.shown += 5 * PAGE;
      drawFound();
    },
  }, "Show more");
  const about = filter.labels.length === 1 && level().labels[filter.labels[0]].definition;
  $("examples-list").replaceChildren(
    about ? make("p", { class: "definition" }, about) : "",
    found.length
      ? make("div", { class: "texts found" }, found.slice(0, filter.shown).map(card))
      : make("p", { class: "note" }, "No example has all of this. The page keeps the strongest texts of each label only."),
    more || "");
}

function showExamples(places) {
  Object.assign(filter, { labels: places, words: "", shown: PAGE });
  $("filter").elements["filter-words"].value = "";
  drawExamples();
  $("examples").scrollIntoView();
  $("examples-title").focus({ preventScroll: true });
}

function listenToFilter() {
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter-label").addEventListener("change", (event) => {
    const { value } = event.target;
    Object.assign(filter, { labels: value === "" ? [] : value === "both" ? filter.labels : [Number(value)], shown: PAGE });
    drawExamples();
  });
  $("filter-words").addEventListener("input", (event) => {
    Object.assign(filter, { words: event.target.value.trim(), shown: PAGE });
    drawExamples();
  });
}
