// Shares over time: chosen labels as lines in one chart, or every label in a small chart of its own.
const THIN = 5; // texts under which a step has no share worth drawing
const LINES = 8; // colours that can be told apart
const timeline = { series: data?.time?.opens ?? 0, view: "lines", chosen: new Map(), at: null };

function openingChoice(labels) {
  const present = labels.map((_, place) => place).filter((place) => labels[place].count);
  // one label that towers over all others, such as "neutral", would flatten them: it starts switched off
  const tower = present.length > 3 && labels[present[0]].count > 2.5 * labels[present[1]].count;
  return present.slice(tower ? 1 : 0, tower ? 6 : 5);
}

function chosenLabels() {
  const { labels } = level();
  if (!timeline.chosen.has(state.level)) {
    const slots = new Array(LINES).fill(null);
    openingChoice(labels).forEach((place, slot) => { slots[slot] = place; });
    timeline.chosen.set(state.level, slots);
  }
  return timeline.chosen.get(state.level); // slot, which is a colour -> label, or null
}

function drawTimeline() {
  $("timeline").hidden = !data.time;
  if (!data.time) return;
  const { series } = data.time;
  options($("timeline-units"), series.map(({ unit }, k) => [k, unit]), timeline.series, (k) => {
    timeline.series = k;
    timeline.at = null;
    drawTimeline();
  });
  options($("timeline-views"), [["lines", "One chart"], ["each", "One each"]], timeline.view, (view) => {
    timeline.view = view;
    drawTimeline();
  });
  const now = series[timeline.series];
  const far = now.outside ? ` ${count(now.outside, "text")} far from the rest ${now.outside === 1 ? "is" : "are"} not shown.` : "";
  $("timeline-lead").textContent =
    `Share of each ${now.unit}’s texts with the label, times in UTC. A ${now.unit} of fewer than five texts is left open.${far}`;
  drawChips();
  drawTimes();
  onOpening($("timeline-table"), () => {
    const { labels } = level();
    return table(["from", "texts", ...labels.map((label) => label.name)], now.starts.map((start, bin) => [
      written(start, now.unit), whole.format(now.texts[bin]),
      ...now.levels[state.level].map((counts) => (now.texts[bin] ? percent(counts[bin] / now.texts[bin], 1) : "–")),
    ]));
  });
}

function drawChips() {
  const { labels } = level();
  const slots = chosenLabels();
  const box = $("timeline-labels");
  box.hidden = timeline.view !== "lines";
  box.replaceChildren(...labels.flatMap((label, place) => {
    if (!label.count) return [];
    const slot = slots.indexOf(place);
    const full = slot < 0 && !slots.includes(null);
    return [make("button", {
      type: "button",
      class: "chip",
      "aria-pressed": String(slot >= 0),
      "aria-disabled": full && "true",
      title: full ? `${LINES} lines at most: switch one off first` : null,
      "--hue": slot >= 0 && `var(--s${slot})`,
      onclick: () => {
        if (full) return;
        slots[slot >= 0 ? slot : slots.indexOf(null)] = slot >= 0 ? null : place;
        drawChips();
        drawTimes();
        box.children[[...box.children].findIndex((chip) => chip.textContent === label.name)]?.focus();
      },
    }, label.name)];
  }));
}

const drawTimes = () => (timeline.view === "lines" ? drawLines() : drawEach());
const shares = (now, place) =>
  now.levels[state.level][place].map((n, bin) => (now.texts[bin] >= THIN ? n / now.texts[bin] : null));

function path(values, x, y) {
  let pen = "M";
  const parts = values.map((value, bin) => {
    const part = value === null ? "" : `${pen}${x(bin).toFixed(1)},${y(value).toFixed(1)}`;
    pen = value === null ? "M" : "L";
    return part;
  });
  return parts.join("");
}
// steps without neighbours, which a line does not show
const single = (values) => values.map((value, bin) => [value, bin])
  .filter(([value, bin]) => value !== null && (values[bin - 1] ?? null) === null && (values[bin + 1] ?? null) === null);

function stepOf(top) {
  return [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25].find((step) => top / step <= 5) ?? 0.25;
}

const TICKS = {
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  week: { day: "numeric", month: "short" },
  month: { month: "short", year: "numeric" },
  year: { year: "numeric" },
};
const tick = (instant, unit) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...TICKS[unit] }).format(utc(instant));

function drawLines() {
  const { labels } = level();
  const now = data.time.series[timeline.series];
  const slots = chosenLabels();
  const lines = slots.flatMap((place, slot) => (place === null ? [] : [{ place, slot, values: shares(now, place) }]));
  const box = $("timeline-chart");
  const width = Math.max(280, box.clientWidth);
  const wide = width > 620;
  const [left, right, upper, lower, foot] = [44, wide ? 128 : 10, 14, 300, 372];
  const bins = now.starts.length;
  const x = (bin) => left + ((width - left - right) * bin) / Math.max(1, bins - 1);
  const found = largest(lines.flatMap(({ values }) => values.filter((value) => value !== null)), 0.005);
  const step = stepOf(found);
  const top = Math.ceil((found * 1.02) / step) * step;
  const y = (value) => lower - ((lower - upper) * value) / top;
  const most = largest(now.texts, 1);
  const volume = (n) => (34 * n) / most;

  const grid = [];
  for (let k = 0; k * step <= top + 1e-9; k += 1) {
    grid.push(draw("line", { class: k ? "rule" : "base", x1: left, x2: width - right, y1: y(k * step), y2: y(k * step) }));
    grid.push(draw("text", { class: "tick", x: left - 8, y: y(k * step) + 4, "text-anchor": "end" }, percent(k * step, step < 0.01 ? 1 : 0)));
  }
  const every = Math.ceil(bins / Math.max(2, Math.floor((width - left - right) / (now.unit === "hour" ? 110 : 84))));
  for (let bin = 0; bin < bins; bin += every) {
    const anchor = bin === 0 ? "start" : x(bin) > width - right - 24 ? "end" : "middle";
    grid.push(draw("text", { class: "tick", x: x(bin) - (bin === 0 ? 4 : 0), y: foot + 18, "text-anchor": anchor }, tick(now.starts[bin], now.unit)));
  }
  const bar = Math.max(1, ((width - left - right) / bins) * 0.7);
  const volumes = now.texts.map((n, bin) => n
    ? draw("rect", { class: "volume", x: x(bin) - bar / 2, width: bar, y: foot - volume(n), height: Math.max(0.75, volume(n)) }) : null);
  const note = draw("text", { class: "tick", x: left - 8, y: foot - 26, "text-anchor": "end" }, "texts");

  const ends = lines.map(({ place, slot, values }) => {
    const last = values.findLastIndex((value) => value !== null);
    return { place, slot, at: last < 0 ? null : y(values[last]), last };
  }).filter(({ at }) => at !== null).sort((a, b) => a.at - b.at);
  ends.forEach((end, k) => { end.shown = Math.max(end.at, k ? ends[k - 1].shown + 15 : upper); });
  const over = ends.length ? ends.at(-1).shown - lower : 0;
  if (over > 0) ends.forEach((end) => { end.shown = Math.max(upper, end.shown - over); });

  const pointer = draw("g", { class: "pointer" });
  const svg = draw("svg", { width, height: foot + 26, viewBox: `0 0 ${width} ${foot + 26}`, "aria-hidden": "true" },
    grid, volumes, note,
    lines.map(({ slot, values }) => draw("g", { class: "line", "--hue": `var(--s${slot})` },
      draw("path", { d: path(values, x, y) }),
      single(values).map(([value, bin]) => draw("circle", { cx: x(bin), cy: y(value), r: 2.5 })))),
    wide ? ends.flatMap(({ place, slot, shown }) => [
      draw("circle", { class: "dot", "--hue": `var(--s${slot})`, cx: width - right + 12, cy: shown, r: 4 }),
      draw("text", { class: "end", x: width - right + 21, y: shown + 4 }, labels[place].name),
    ]) : null,
    pointer);
  const tip = make("div", { class: "tip", role: "status", hidden: true });
  const frame = make("div", {
    class: "lines", tabindex: 0, role: "group",
    "aria-label": `Line chart of ${lines.map(({ place }) => labels[place].name).join(", ") || "no label"}. Step through it with the left and right arrow keys.`,
  }, svg, tip);

  const look = (bin) => {
    timeline.at = bin;
    pointer.replaceChildren();
    tip.hidden = bin === null;
    if (bin === null) return;
    const here = lines.filter(({ values }) => values[bin] !== null).sort((a, b) => b.values[bin] - a.values[bin]);
    pointer.append(
      draw("line", { x1: x(bin), x2: x(bin), y1: upper, y2: foot }),
      ...here.map(({ slot, values }) => draw("circle", { "--hue": `var(--s${slot})`, cx: x(bin), cy: y(values[bin]), r: 4 })));
    tip.replaceChildren(
      make("strong", {}, written(now.starts[bin], now.unit)),
      make("small", {}, count(now.texts[bin], "text")),
      make("ul", {}, here.map(({ place, slot, values }) =>
        make("li", { "--hue": `var(--s${slot})` }, make("span", {}, labels[place].name), make("b", {}, percent(values[bin], 1))))));
    const right = x(bin) > width / 2;
    tip.style.left = right ? "auto" : `${x(bin) + 14}px`;
    tip.style.right = right ? `${width - x(bin) + 14}px` : "auto";
  };
  svg.addEventListener("pointermove", (event) => {
    const across = (event.clientX - svg.getBoundingClientRect().left - left) / (width - left - right);
    look(Math.max(0, Math.min(bins - 1, Math.round(across * (bins - 1)))));
  });
  frame.addEventListener("pointerleave", () => look(null));
  frame.addEventListener("blur", () => look(null));
  frame.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -bins, End: bins }[event.key];
    if (event.key === "Escape") look(null);
    if (!move) return;
    event.preventDefault();
    const from = timeline.at ?? (move > 0 ? -1 : bins);
    look(Math.max(0, Math.min(bins - 1, from + move)));
  });
  box.replaceChildren(frame);
}

function drawEach() {
  const { labels } = level();
  const now = data.time.series[timeline.series];
  const [width, height] = [200, 56];
  const bins = now.starts.length;
  const x = (bin) => (width * bin) / Math.max(1, bins - 1);
  const small = labels.flatMap((label, place) => {
    if (!label.count) return [];
    const values = shares(now, place);
    const shown = values.filter((value) => value !== null);
    const top = largest(shown, 1e-6);
    const y = (value) => height - 2 - (height - 6) * (value / top);
    const peak = values.indexOf(top);
    const said = !shown.length ? "no step of five texts" : peak < 0 ? "none in a step of five texts" : `peak ${percent(top, 1)}, ${tick(now.starts[peak], now.unit)}`;
    return [make("figure", { "--hue": hue(label) },
      make("figcaption", {}, make("b", {}, label.name), make("span", {}, percent(share(label), 1))),
      draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${label.name}: ${said}` },
        draw("line", { class: "base", x1: 0, x2: width, y1: height - 2, y2: height - 2 }),
        draw("path", { d: path(values, x, y) })),
      make("small", {}, said))];
  });
  $("timeline-chart").replaceChildren(make("div", { class: "each" }, small));
}
