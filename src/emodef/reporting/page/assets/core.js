// What all charts share: the data, the state, making elements, writing numbers. Texts only ever become text nodes.
let data = JSON.parse(document.getElementById("data")?.textContent ?? "null"); // null where it comes later
const state = { level: 0 };
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const whole = new Intl.NumberFormat("en");
const count = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
const percent = (share, digits) => {
  const shown = (100 * share).toFixed(digits ?? (share > 0 && share < 0.0995 ? 1 : 0));
  return share > 0 && Number(shown) === 0 ? `<${shown.replace(/\d$/, "1")}%` : `${shown}%`;
};
const times = (lift) => `${lift.toFixed(lift >= 10 ? 0 : lift >= 0.95 || lift === 0 ? 1 : 2)}×`;
// the largest of these and `least`; as arguments of one call they overflow the stack where there are very many
const largest = (values, least) => values.reduce((most, value) => Math.max(most, value), least);

const level = () => data.levels[state.level];
const share = (label) => (data.texts ? label.count / data.texts : 0);
const hue = (label) => (label.group === undefined ? "var(--accent)" : `var(--g${label.group})`);

// the places, in the file's own labels, of a label of the present level
const fine = (place) => level().labels[place].children ?? [place];

function utc(instant) {
  const date = new Date(0);
  const [, year, month, day, hour, minute] = instant.match(/^(\d+)-(\d+)-(\d+)T(\d+):(\d+)$/).map(Number);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute);
  return date;
}
const FORMATS = {
  minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
  week: { day: "numeric", month: "short", year: "numeric" },
  month: { month: "long", year: "numeric" },
  year: { year: "numeric" },
  moment: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" },
  date: { day: "numeric", month: "short", year: "numeric" },
};
function written(instant, unit) {
  const text = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...FORMATS[unit] }).format(utc(instant));
  return unit === "week" ? `week of ${text}` : text;
}

// a row of buttons of which one is pressed
function options(box, choices, chosen, choose) {
  box.replaceChildren(...choices.map(([value, name]) =>
    make("button", {
      type: "button",
      "aria-pressed": String(value === chosen),
      onclick: () => {
        for (const other of box.children) other.setAttribute("aria-pressed", "false");
        box.children[choices.findIndex(([v]) => v === value)].setAttribute("aria-pressed", "true");
        choose(value);
      },
    }, name)));
  box.hidden = choices.length < 2;
}

function table(columns, rows) {
  const head = make("tr", {}, columns.map((title) => make("th", { scope: "col" }, title)));
  const body = rows.map(([first, ...rest]) =>
    make("tr", {}, make("th", { scope: "row" }, first), rest.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, body));
}

// tables are long and seldom read: made when they are opened
function onOpening(box, build) {
  const details = box.closest("details");
  const show = () => { if (details.open) box.replaceChildren(build()); };
  details.ontoggle = show;
  show();
}
