// Which annotated label is replaced by which predicted one: a table of squares, read with the pointer or the arrow keys, and the most
// frequent pairs. Label -1 is none: nothing missed (last row), nothing wrong given (last column).
const NONE = -1;
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
  const top = largest(off, byShare ? 0.01 : 1);
  const diagonal = largest(labels.map((_, place) => value(place, place)), byShare ? 0.01 : 1);
  const ends = new Set(data.ends);
  const square = (missed, wrong, i, j) => {
    const part = missed === wrong ? (missed === NONE ? 0 : value(missed, wrong) / diagonal) : Math.min(1, value(missed, wrong) / top);
    const shade = Math.round(20 * Math.sqrt(part)) / 20;
    const kind = missed === wrong ? (missed === NONE ? "void" : "found") : shade ? "more" : "";
    return {
      kind,
      classes: [ends.has(j) && "apart"],
      value: shade,
      text: !shade ? "" : byShare ? percent(value(missed, wrong), 0) : whole.format(value(missed, wrong)),
    };
  };
  const { grid, readout } = heatMap({
    caption: $("map-lead").textContent,
    rest: "Point at a square, or step through them with the arrow keys; Enter shows its texts.",
    order,
    row: (missed) => named(missed, "nothing missed"),
    column: (wrong) => named(wrong, "nothing wrong"),
    parted: (at) => (ends.has(at) ? "apart" : null),
    square,
    told,
    open: (missed, wrong) => missed !== wrong && showTexts(missed, wrong),
  });
  grid.addEventListener("keydown", (event) => event.key === "Enter" && event.target.click());
  $("map-chart").replaceChildren(
    make("div", { class: "map" }, readout,
      make("p", { class: "axes", "aria-hidden": "true" }, make("span", {}, "↓ annotated, and missed"), make("span", {}, "given instead →")),
      make("div", { class: "scroll" }, grid)),
    make("div", { class: "pairs" }, pairList()));
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
