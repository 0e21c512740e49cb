// Which labels come together: a table of coloured squares, read with the pointer or the arrow keys, and the strongest pairs.
const FEW = 5; // texts under which a share or a lift says little
const DAMPING = 2; // texts added to both sides of a lift where it becomes a colour: few texts, pale colour
const together = { mode: "share" };

function pairCounts() {
  const { labels, pairs } = level();
  const present = labels.map((_, place) => place).filter((place) => labels[place].count);
  const order = present.sort((a, b) =>
    (labels[a].group ?? 0) - (labels[b].group ?? 0) || labels[b].count - labels[a].count);
  const counts = new Map(pairs.flatMap(([a, b, n]) => [[`${a},${b}`, n], [`${b},${a}`, n]]));
  return { labels, order, both: (a, b) => counts.get(`${a},${b}`) ?? 0 };
}
const expected = (labels, a, b) => (labels[a].count * labels[b].count) / data.texts; // texts, if chance alone paired labels
const lift = (labels, a, b, n) => n / expected(labels, a, b);

function drawTogether() {
  const { labels, order, both } = pairCounts();
  const shown = level().pairs.length > 0;
  $("together").hidden = !shown;
  if (!shown) return;
  options($("together-modes"), [["share", "Share"], ["lift", "Against chance"]], together.mode, (mode) => {
    together.mode = mode;
    drawTogether();
  });
  const byShare = together.mode === "share";
  $("together-lead").textContent = byShare
    ? "Of the texts with the label at the left, the share that also have the label above."
    : "How many times as often two labels meet as they would by chance, which is 1×. Where few texts meet the colour is pale.";
  const top = largest(level().pairs.flatMap(([a, b, n]) =>
    [a, b].map((one) => (labels[one].count >= FEW ? n / labels[one].count : 0))), 0.01);
  const told = (a, b) => {
    const n = both(a, b);
    const [row, column] = [labels[a].name, labels[b].name];
    if (a === b) return `${row}: ${count(labels[a].count, "text")}`;
    const chance = expected(labels, a, b);
    if (!n) return `No text has both ${row} and ${column}; by chance ${chance < 1 ? "hardly one" : whole.format(Math.round(chance))} would.`;
    return `${row} and ${column}: ${count(n, "text")}, ${percent(n / labels[a].count)} of ${row} and ` +
      `${percent(n / labels[b].count)} of ${column}, ${times(n / chance)} chance`;
  };
  const square = (a, b, i, j) => {
    const n = both(a, b);
    const breaks = [i && labels[order[i - 1]].group !== labels[a].group && "below", j && labels[order[j - 1]].group !== labels[b].group && "after"];
    let kind = a === b ? "same" : "";
    let value = 0;
    let text = "";
    if (a !== b && n && byShare) {
      value = Math.sqrt(Math.min(1, n / labels[a].count / top));
      text = percent(n / labels[a].count, 0);
      kind = "more";
    } else if (a !== b && !byShare) {
      const chance = expected(labels, a, b);
      value = Math.min(1, Math.abs(Math.log2((n + DAMPING) / (chance + DAMPING))) / 4);
      text = times(n / chance);
      kind = n >= chance ? "more" : "less";
    }
    return { kind, classes: breaks, value, text };
  };
  const { grid, readout } = heatMap({
    caption: $("together-lead").textContent,
    rest: "Point at a square, or step through them with the arrow keys.",
    order,
    row: (a) => labels[a].name,
    column: (b) => labels[b].name,
    square,
    told,
    open: (a, b) => data.examples.length && showExamples([...new Set([a, b])]),
  });
  $("together-chart").replaceChildren(
    make("div", { class: "map" }, readout, make("div", { class: "scroll" }, grid), scale(byShare, top)),
    make("div", { class: "pairs" }, pairList(labels).flat()));
}

function scale(byShare, top) {
  const stops = byShare ? [0, 0.25, 0.5, 0.75, 1] : [-1, -0.5, 0, 0.5, 1];
  const name = (stop) => (byShare ? percent(stop * stop * top) : { "-1": "1/16×", "-0.5": "1/4×", 0: "1×", 0.5: "4×", 1: "16×" }[stop]);
  return make("div", { class: "scale", "aria-hidden": "true" }, stops.map((stop) =>
    make("span", { class: stop < 0 ? "less" : "more", "--value": Math.abs(stop) }, make("i", {}), name(stop))));
}

function pairList(labels) {
  const ranked = level().pairs
    .map(([a, b, n]) => ({ a, b, n, lift: lift(labels, a, b, n) }))
    .filter(({ n, lift: ratio }) => together.mode === "share" || (n >= FEW && ratio > 1))
    .sort((x, y) => (together.mode === "share" ? y.n - x.n : y.lift - x.lift) || y.n - x.n)
    .slice(0, 12);
  const title = together.mode === "share" ? "Most often together" : "Furthest above chance";
  const item = ({ a, b, n, lift: ratio }) => make("li", {}, make(data.examples.length ? "button" : "div", {
    type: data.examples.length ? "button" : null,
    onclick: data.examples.length ? () => showExamples([a, b]) : null,
  },
    make("span", { class: "pair" }, make("b", { "--hue": hue(labels[a]) }, labels[a].name), " ", make("b", { "--hue": hue(labels[b]) }, labels[b].name)),
    make("span", { class: "count" }, together.mode === "share" ? whole.format(n) : times(ratio)),
    make("small", {}, together.mode === "share" ? times(ratio) : whole.format(n))));
  const titles = together.mode === "share" ? ["texts", "× chance"] : ["× chance", "texts"];
  return [make("h3", {}, title), ranked.length
    ? [make("div", { class: "titles", "aria-hidden": "true" }, titles.map((name) => make("span", {}, name))), make("ol", {}, ranked.map(item))]
    : make("p", { class: "note" }, "No two labels meet more often than by chance in five texts or more.")];
}
