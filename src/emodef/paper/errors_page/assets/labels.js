// Each label as annotators and as the model use it: missed by the model, found by both, given by the model alone.
const byLabel = { order: "missed" };
const ORDERS = {
  missed: ["Most missed", (label) => -(label.annotated - label.both)],
  extra: ["Most added", (label) => -(label.predicted - label.both)],
  annotated: ["Most annotated", (label) => -label.annotated],
};

function drawLabels() {
  options($("labels-orders"), Object.entries(ORDERS).map(([value, [name]]) => [value, name]), byLabel.order, (order) => {
    byLabel.order = order;
    drawLabels();
  });
  $("labels-lead").textContent = "How often annotators gave a label, and how often the model. Open a label to see what stands in its place.";
  $("labels-key").replaceChildren(...[["missed", "annotators only"], ["both", "both"], ["extra", "model only"]].map(([kind, name]) =>
    make("li", {}, make("i", { class: kind }), name)));
  const widest = Math.max(...labels.map((label) => label.annotated + label.predicted - label.both), 1);
  const order = [...labels.keys()].sort((a, b) => ORDERS[byLabel.order][1](labels[a]) - ORDERS[byLabel.order][1](labels[b]));
  $("labels-list").replaceChildren(...order.map((place) => oneLabel(place, widest)));
}

function oneLabel(place, widest) {
  const { name, definition, annotated, predicted, both } = labels[place];
  const part = (kind, n) => (n ? make("i", { class: kind, "--part": `${(100 * n) / widest}%` }) : null);
  const number = (n, what) => make("span", { class: "number" }, whole.format(n), make("small", {}, what));
  const inside = make("div", { class: "inside" });
  return make("details", { class: "one", "--hue": hue(labels[place]), ontoggle: (event) => {
    if (event.target.open && !inside.children.length) inside.append(...insideOf(place, definition));
  } },
    make("summary", {}, make("span", { class: "name" }, name),
      make("span", { class: "bars", "aria-hidden": "true" }, part("missed", annotated - both), part("both", both), part("extra", predicted - both)),
      number(annotated, "annotated"), number(predicted, "predicted"), number(both, "both")),
    inside);
}

function insideOf(place, definition) {
  const { annotated, predicted, both } = labels[place];
  const pairs = (mine, other) => data.pairs.filter((pair) => pair[mine] === place).sort((x, y) => y[2] - x[2]).slice(0, 6)
    .map(([missed, wrong, n]) => ({ missed, wrong, n, shown: [missed, wrong][other] }));
  const list = (title, found, none) => make("div", {}, make("h3", {}, title), make("ol", {}, found.map(({ missed, wrong, n, shown }) =>
    make("li", {}, make("button", { type: "button", onclick: () => showTexts(missed, wrong) }, make("span", { class: "pair" }, dot(shown, none)), make("span", {}, whole.format(n)))))));
  const rate = (n, of) => (of ? percent(n / of) : "–");
  return [
    make("p", {}, `${definition}${/[.!?]$/.test(definition) ? "" : "."} The model finds ${rate(both, annotated)} of the annotators’ texts; of its own, annotators agree in ${rate(both, predicted)}.`),
    list(`Missed in ${whole.format(annotated - both)}; given instead`, pairs(0, 1), "nothing wrong"),
    list(`Added in ${whole.format(predicted - both)}; annotators had`, pairs(1, 0), "nothing the model missed"),
  ];
}
