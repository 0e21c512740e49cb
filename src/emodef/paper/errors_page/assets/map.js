// Which annotated label is replaced by which predicted one: a table of squares, read with the pointer or the arrow keys, and the most
// frequent pairs. Label -1 is none: nothing missed (last row), nothing wrong given (last column).
const NONE = -1;
const DEEP = 0.7; // of the colour's way: from here on white stands out, as in the report
const { labels } = data;
const map = { mode: "share" };
const known = new Map(data.pairs.map(([missed, wrong, n]) => [`${missed},${wrong}`, n]));
const pairTexts = (missed, wrong) => known.get(`${missed},${wrong}`) ?? 0;
const named = (place, none) => (place === NONE ? none : labels[place].name);

function told(missed, wrong) {
  if (missed === wrong) {
    if (missed === NONE) return "";
    const { name, annotated, both } = labels[missed];
    return annotated ? `${name}: annotated in ${count(annotated, "text")}, found by the model in ${whole.format(both)}, ${percent(both / annotated)}` : `${name}: in no text`;
  }
  const n = pairTexts(missed, wrong);
  if (missed === NONE) return `${named(wrong)} given and no annotated label missed: ${count(n, "text")}`;
  const part = labels[missed].annotated ? `, ${percent(n / labels[missed].annotated)} of ${labels[missed].name}` : "";
  if (wrong === NONE) return `${named(missed)} missed and nothing wrong given instead: ${count(n, "text")}${part}`;
  return `${named(missed)} missed, ${named(wrong)} given: ${count(n, "text")}${part}`;
}

function drawMap() {
  options($("map-modes"), [["share", "Share of the label"], ["texts", "Texts"]], map.mode, (mode) => {
    map.mode = mode;
    drawMap();
  });
  const byShare = map.mode === "share";
  $("map-lead").textContent = byShare
    ? "Of the texts that annotators gave the label at the left: the share where the model missed it and gave the label above, which they did not. Grey: where it found it."
    : "Texts that annotators gave the label at the left, which the model missed, and that it gave the label above, which they did not. Grey: where both agree.";
  const order = [...labels.keys(), NONE];
  const value = (missed, wrong) => {
    const n = missed === wrong ? labels[missed].both : pairTexts(missed, wrong);
    if (!byShare) return n;
    const all = missed === NONE ? data.texts : labels[missed].annotated;
    return all ? n / all : 0;
  };
  const off = order.flatMap((a) => order.filter((b) => a !== b && a !== NONE && labels[a].annotated >= 5).map((b) => value(a, b)));
  const top = Math.max(...off, byShare ? 0.01 : 1);
  const diagonal = Math.max(...labels.map((_, place) => value(place, place)), byShare ? 0.01 : 1);
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const rest = "Point at a square, or step through them with the arrow keys; Enter shows its texts.";
  readout.textContent = rest;
  const ends = new Set(data.ends);
  const cell = (missed, wrong, i, j) => {
    const part = missed === wrong ? (missed === NONE ? 0 : value(missed, wrong) / diagonal) : Math.min(1, value(missed, wrong) / top);
    const shade = Math.round(20 * Math.sqrt(part)) / 20;
    const kind = missed === wrong ? (missed === NONE ? "void" : "found") : shade ? "more" : "";
    const shown = missed === NONE && wrong === NONE ? "" : byShare ? percent(value(missed, wrong), 0) : whole.format(value(missed, wrong));
    return make("td", {
      class: [kind, kind === "more" && shade > DEEP && "deep", ends.has(j) && "apart"].filter(Boolean).join(" "),
      tabindex: i === 0 && j === 0 ? 0 : -1,
      "--value": shade.toFixed(2),
      "data-row": i,
      "data-column": j,
    }, make("span", {}, shade ? shown : ""));
  };
  const grid = make("table", { class: `heat ${order.length > 14 ? "small" : order.length < 9 ? "few" : ""}`, "--labels": order.length, role: "grid" },
    make("caption", { class: "unseen" }, $("map-lead").textContent),
    make("thead", {}, make("tr", {}, make("td", {}), order.map((wrong, j) =>
      make("th", { scope: "col", class: ends.has(j) ? "apart" : null }, make("span", {}, named(wrong, "nothing wrong")))))),
    make("tbody", {}, order.map((missed, i) => make("tr", { class: ends.has(i) ? "apart" : null },
      make("th", { scope: "row" }, named(missed, "nothing missed")), order.map((wrong, j) => cell(missed, wrong, i, j))))));
  listenToMap(grid, order, readout, rest);
  $("map-chart").replaceChildren(
    make("div", { class: "map" }, readout,
      make("p", { class: "axes", "aria-hidden": "true" }, make("span", {}, "↓ annotated, and missed"), make("span", {}, "given instead →")),
      make("div", { class: "scroll" }, grid)),
    make("div", { class: "pairs" }, pairList()));
}

function listenToMap(grid, order, readout, rest) {
  const squares = grid.tBodies[0].rows;
  const place = (node) => node.closest?.("td[data-row]");
  let lit = [];
  const look = (square) => {
    lit.forEach((node) => node.classList.remove("lit"));
    lit = [];
    readout.textContent = rest;
    if (!square) return;
    const [i, j] = [Number(square.dataset.row), Number(square.dataset.column)];
    readout.textContent = told(order[i], order[j]);
    lit = [squares[i].cells[0], grid.tHead.rows[0].cells[j + 1]];
    lit.forEach((node) => node.classList.add("lit"));
  };
  const open = (square) => {
    const [missed, wrong] = [order[square.dataset.row], order[square.dataset.column]];
    if (missed !== wrong) showTexts(missed, wrong);
  };
  grid.addEventListener("pointerover", (event) => look(place(event.target)));
  grid.addEventListener("pointerleave", () => look(null));
  grid.addEventListener("focusin", (event) => look(place(event.target)));
  grid.addEventListener("click", (event) => place(event.target) && open(place(event.target)));
  grid.addEventListener("keydown", (event) => {
    const from = place(event.target);
    if (!from) return;
    if (event.key === "Enter") open(from);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = squares[Number(from.dataset.row) + step[0]]?.cells[Number(from.dataset.column) + 1 + step[1]];
    if (!to?.dataset.row) return;
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
}

const dot = (place, none) => make("b", { class: place === NONE ? "no" : null, "--hue": place === NONE ? null : hue(labels[place]) }, named(place, none));

function pairList() {
  const ranked = data.pairs.filter(([missed, wrong]) => missed !== NONE && wrong !== NONE).sort((x, y) => y[2] - x[2]).slice(0, 12);
  const item = ([missed, wrong, n]) => make("li", {}, make("button", { type: "button", onclick: () => showTexts(missed, wrong) },
    make("span", { class: "pair" }, dot(missed), make("span", { class: "to" }, "→ "), dot(wrong)), make("span", { class: "count" }, whole.format(n))));
  return [make("h3", {}, "Most frequent"), ranked.length
    ? [make("div", { class: "titles", "aria-hidden": "true" }, make("span", {}, "texts")), make("ol", {}, ranked.map(item))]
    : make("p", { class: "note" }, "No label was taken for another.")].flat();
}
