// A table of coloured squares, a row and a column for each label: read with the pointer or the arrow keys, and what is read stands above.
// Colours run so that black and white both stand out 4.5 to 1 just above this value, and only there; values step over it.
const DEEP = 0.7;

// caption: for those who do not see it; rest: what stands above while nothing is pointed at; order: what rows and columns are of.
// row, column: their names; parted(i): the class of row and column i, if any; told(a, b): what a square says when pointed at;
// open(a, b): what a click on it does. square(a, b, i, j): its { kind, classes, value, text }; it is coloured where kind is more or less.
function heatMap({ caption, rest, order, row, column, parted = () => null, square, told, open }) {
  const cell = (a, b, i, j) => {
    const { kind, classes, value, text } = square(a, b, i, j);
    const shade = Math.round(20 * value) / 20;
    return make("td", {
      class: [kind, (kind === "more" || kind === "less") && shade > DEEP && "deep", ...classes].filter(Boolean).join(" "),
      tabindex: i === 0 && j === 0 ? 0 : -1,
      "--value": shade.toFixed(2),
      "data-row": i,
      "data-column": j,
    }, make("span", {}, text));
  };
  const grid = make("table", { class: `heat ${order.length > 14 ? "small" : order.length < 9 ? "few" : ""}`, "--labels": order.length, role: "grid" },
    make("caption", { class: "unseen" }, caption),
    make("thead", {}, make("tr", {}, make("td", {}), order.map((b, j) =>
      make("th", { scope: "col", class: parted(j) }, make("span", {}, column(b)))))),
    make("tbody", {}, order.map((a, i) => make("tr", { class: parted(i) },
      make("th", { scope: "row" }, row(a)), order.map((b, j) => cell(a, b, i, j))))));
  const readout = make("p", { class: "readout", "aria-live": "polite" }, rest);
  const squares = grid.tBodies[0].rows;
  const place = (node) => node.closest?.("td[data-row]");
  const ends = ({ dataset }) => [order[dataset.row], order[dataset.column]];
  let lit = [];
  const look = (at) => {
    lit.forEach((node) => node.classList.remove("lit"));
    lit = at ? [squares[at.dataset.row].cells[0], grid.tHead.rows[0].cells[Number(at.dataset.column) + 1]] : [];
    lit.forEach((node) => node.classList.add("lit"));
    readout.textContent = at ? told(...ends(at)) : rest;
  };
  grid.addEventListener("pointerover", (event) => look(place(event.target)));
  grid.addEventListener("pointerleave", () => look(null));
  grid.addEventListener("focusin", (event) => look(place(event.target)));
  grid.addEventListener("click", (event) => place(event.target) && open(...ends(place(event.target))));
  grid.addEventListener("keydown", (event) => {
    const from = place(event.target);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!from || !step) return;
    event.preventDefault();
    const to = squares[Number(from.dataset.row) + step[0]]?.cells[Number(from.dataset.column) + 1 + step[1]];
    if (!to?.dataset.row) return;
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
  return { grid, readout };
}
