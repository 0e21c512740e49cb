// Put everything in its place.
function drawHead() {
  const { about, texts, disagreements, found } = data;
  const [first] = data.pairs.filter(([missed, wrong]) => missed !== NONE && wrong !== NONE).sort((a, b) => b[2] - a[2]);
  const alone = data.pairs.filter(([missed]) => missed === NONE).reduce((sum, [, , n]) => sum + n, 0);
  const share = (n) => percent(n / Math.max(1, texts));
  $("facts").replaceChildren(...about.facts.map((fact) => make("span", {}, fact)));
  const figures = [
    ["texts", whole.format(texts), ""],
    ["the very labels of the annotators", share(texts - disagreements), count(texts - disagreements, "text")],
    ["other labels", share(disagreements), found.length < disagreements ? `${whole.format(found.length)} of ${whole.format(disagreements)} on this page` : count(disagreements, "text")],
  ];
  if (first) figures.push(["most often taken for another", `${labels[first[0]].name} → ${labels[first[1]].name}`, count(first[2], "text")]);
  else if (alone) figures.push(["labels given in addition", whole.format(alone), ""]);
  $("figures").replaceChildren(...figures.map(([name, value, more]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, make("strong", {}, value), make("small", {}, more)))));
}

function drawFoot() {
  const { about, found, disagreements } = data;
  $("texts-lead").textContent = "A number is the model’s probability of the label. Bold: what only one side gave. A text’s confidence is the " +
    "probability of its wrong label less that of the missed one. Many such predictions are another reading of the text." +
    (found.length < disagreements ? ` Here are ${whole.format(found.length)} of ${whole.format(disagreements)}: the most confident of as many pairs of labels.` : "");
  const { credit } = about;
  $("footer").replaceChildren(
    about.notes.length ? make("ul", { class: "notes" }, about.notes.map((note) => make("li", {}, note))) : "",
    credit ? make("p", { class: "credit" }, "Texts: ", make("a", { href: credit.homepage, rel: "noreferrer" }, credit.title), `, ${credit.cite}. ${credit.terms}`) : "",
    make("p", {}, `Made with emodef ${about.version}. This page is one file: nothing in it is loaded from or sent anywhere.`));
}

drawHead();
drawFoot();
$("main").hidden = $("bar").hidden = false;
drawMap();
drawLabels();
listenToFilter();
drawTexts();
