// Put everything in its place, and again where the level of labels or the width changes.
function drawFooter() {
  const { about } = data;
  $("footer").replaceChildren(
    about.notes.length ? make("ul", { class: "notes" }, about.notes.map((note) => make("li", {}, note))) : "",
    make("p", {}, "A label is a model’s guess at how a text reads, not a measurement of what its writer felt. " +
      "Intervals say how far shares would move in another random sample of such texts, not how often the model is wrong."),
    make("p", {}, `Made with emodef ${about.version}. This page is one file: nothing in it is loaded from or sent anywhere.`));
}

function drawAll() {
  drawFigures();
  $("shares").hidden = !level().labels.length;
  if (level().labels.length) drawShares();
  drawTogether();
  drawTimeline();
  drawExamples();
  const shown = [...$("main").children].filter((section) => !section.hidden);
  $("sections").replaceChildren(...shown.map((section) =>
    make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
}

drawHead();
drawStrip();
const names = data.levels.map(({ name, labels }, k) => [k, `${name || "all"} ${labels.length}`]);
options($("levels"), names, 0, (chosen) => {
  state.level = chosen;
  timeline.at = null;
  Object.assign(filter, { labels: [], shown: PAGE });
  drawAll();
});
listenToFilter();
drawAll();
drawFooter();
$("bar").hidden = !data.texts;
if (!data.texts) $("main").append(make("p", { class: "note" }, "There are no texts in this file."));

let width = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  if (data.time && timeline.view === "lines") drawLines();
}).observe(document.body);
