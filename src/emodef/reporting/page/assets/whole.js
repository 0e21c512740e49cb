// Every chart in its place, and again where the level of labels or the width changes.
function drawAll() {
  drawFigures();
  $("shares").hidden = !level().labels.length;
  if (level().labels.length) drawShares();
  drawTogether();
  drawTimeline();
  drawExamples();
  const shown = [...$("shares").parentElement.children].filter((section) => !section.hidden);
  $("sections").replaceChildren(...shown.map((section) =>
    make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
}

function drawWhole() {
  drawStrip();
  const names = data.levels.map(({ name, labels }, k) => [k, `${name || "all"} ${labels.length}`]);
  options($("levels"), names, state.level, (chosen) => {
    state.level = chosen;
    timeline.at = null;
    Object.assign(filter, { labels: [], shown: PAGE });
    drawAll();
  });
  drawAll();
  $("bar").hidden = !data.texts;
}

function followWidth(box) {
  let width = box.clientWidth;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    if (width && data?.time && timeline.view === "lines") drawLines();
  }).observe(box);
}
