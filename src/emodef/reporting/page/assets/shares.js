// The head of the page, and how often each label is there.
function drawHead() {
  const { about, time } = data;
  const facts = [...about.facts, `made ${written(about.made, "date")}`];
  if (time) {
    const unit = time.series[time.opens].unit;
    const shown = ["minute", "hour"].includes(unit) ? "moment" : "date";
    facts.splice(-1, 0, `${written(time.first, shown)} – ${written(time.last, shown)}`);
  }
  $("facts").replaceChildren(...facts.map((fact) => make("span", {}, fact)));
}

function drawFigures() {
  const { labels, sizes } = level();
  const several = sizes.slice(2).reduce((a, b) => a + b, 0);
  const mean = sizes.reduce((sum, n, size) => sum + n * size, 0) / Math.max(1, data.texts);
  const [top, next] = labels;
  const figures = [["texts", whole.format(data.texts), ""]];
  if (top?.count) {
    const then = next?.count ? `then ${next.name}, ${percent(share(next))}` : "";
    figures.push(["most frequent", `${top.name} ${percent(share(top))}`, then]);
    figures.push(["two labels or more", percent(several / data.texts), `${mean.toFixed(2)} labels a text`]);
    figures.push(["no label", percent((sizes[0] ?? 0) / data.texts), count(sizes[0] ?? 0, "text")]);
  }
  $("figures").replaceChildren(...figures.map(([name, value, more]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, make("strong", {}, value), make("small", {}, more)))));
}

// one bar that all texts share out: those with labels of one group only, of several, of none
function drawStrip() {
  const named = (found) => found.labels.every((label) => data.groups[label.group] === label.name);
  const found = data.groups.length > 1 && data.texts ? data.levels.find(named) : undefined;
  $("strip").hidden = !found;
  if (!found) return;
  const parts = data.groups
    .map((name) => found.labels.find((label) => label.name === name))
    .filter((label) => label?.alone)
    .map((label) => [`${label.name}`, label.alone, hue(label)]);
  const several = found.sizes.slice(2).reduce((a, b) => a + b, 0);
  if (several) parts.push(["mixed", several, "var(--mixed)"]);
  if (found.sizes[0]) parts.push(["no label", found.sizes[0], "var(--none)"]);
  $("strip").replaceChildren(
    make("div", { class: "stack", "aria-hidden": "true" },
      parts.map(([, n, colour]) => make("i", { "--part": n, "--hue": colour }))),
    make("ul", {}, parts.map(([name, n, colour]) =>
      make("li", { "--hue": colour }, make("b", {}, name), ` ${percent(n / data.texts)}`))));
}

function drawShares() {
  const { labels } = level();
  const top = largest(labels.map((label) => label.high * (label.count ? 1 : 0)), 1e-9);
  const step = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25].find((s) => top / s <= 6) ?? 0.25;
  const at = (value) => `${(100 * value) / top}%`;
  const ticks = [];
  for (let k = 0; k * step <= top; k += 1) ticks.push(k * step);
  const axis = make("div", { class: "axis", "aria-hidden": "true" },
    ticks.map((tick) => make("span", { "--at": at(tick) }, percent(tick, step < 0.01 ? 1 : 0))));
  const rows = labels.map((label, place) => {
    const part = share(label);
    const interval = `95% interval ${percent(label.low, 1)} to ${percent(label.high, 1)}`;
    const row = make(data.examples.length && label.count ? "button" : "div", {
      class: "share",
      "--hue": hue(label),
      "--to": at(part),
      "--low": at(label.low),
      "--high": at(label.high),
      title: [label.name, label.definition, interval].filter(Boolean).join("\n"),
    },
      make("span", { class: "name" }, label.name),
      make("span", { class: "track" }, label.count ? [make("i", { class: "fill" }), make("i", { class: "whisker" })] : null),
      make("span", { class: "percent" }, label.count ? percent(part, 1) : "0%"),
      make("span", { class: "count" }, whole.format(label.count), make("span", { class: "unseen" }, ` texts; ${interval}`)));
    if (row.tagName === "BUTTON") {
      row.type = "button";
      row.addEventListener("click", () => showExamples([place]));
    }
    return make("li", {}, row);
  });
  $("shares-chart").replaceChildren(axis, make("ol", { class: "shares" }, rows));
  const touch = data.examples.length ? " Choose one to read its strongest examples." : "";
  $("shares-lead").textContent =
    `Share of the texts with each label; a text may have several. The thin line is the 95% interval.${touch}`;
  onOpening($("shares-table"), () =>
    table(["label", "texts", "share", "from", "to", "definition"], labels.map((label) => [
      label.name, whole.format(label.count), percent(share(label), 2), percent(label.low, 2), percent(label.high, 2),
      label.definition ?? "",
    ])));
}
