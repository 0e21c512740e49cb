// The third tab: a file goes to the server as a job; how far it is, what is in it, the result.
import { $, count, followWidth, listenToFilter, make, showReport, whole as number } from "./charts.js";
import { Refusal, ask, headers, messageOf, needsKey, read, refusal } from "./api.js";
import { Threshold } from "./feels.js";
import { levels } from "./look.js";
import { beginning, firstRows, guess, suffix } from "./rows.js";

const STORE = "emodef.job";
const OFTEN = 350; // ms between two looks at a job
const FORMATS = ["csv", "tsv", "tab", "jsonl", "ndjson", "txt"];
const OWN = " own"; // no level has this name
const SHOWN = 6; // rows before, and
const RESULT = 25; // after
const LONGEST = 160; // characters of a cell

const remember = (id) => {
  try {
    if (id) sessionStorage.setItem(STORE, id);
    else sessionStorage.removeItem(STORE);
  } catch { /* after a reload the job is not found again */ }
};
const bytes = (n) => (n < 1e6 ? `${number.format(Math.max(1, Math.round(n / 1e3)))} kB` : `${number.format(Math.round(n / 1e5) / 10)} MB`);
const cut = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
const job = (id, rest = "") => `/v1/jobs/${encodeURIComponent(id)}${rest}`;

// ownLabels(): those of the second tab, as the server takes them; openTab(): shows this one
export function startFile(ownLabels, openTab) {
  const view = { file: null, chosen: null, found: null, own: 0, id: null, upload: null, stop: null, name: "" };
  const parts = { choose: $("file-choose"), settings: $("file-settings"), job: $("file-job"), result: $("file-result") };
  const only = (shown) => Object.entries(parts).forEach(([name, box]) => { box.hidden = name !== shown; });
  const say = (text) => { $("file-said").textContent = text; };

  function problem(message) {
    $("file-problem").hidden = !message;
    $("file-problem").textContent = message ?? "";
  }
  // what nobody comes back to is removed, else it counts among the jobs a server keeps. Not on leaving the page: a reload comes back
  function forget() {
    if (view.id) fetch(job(view.id), { method: "DELETE", headers: headers(), keepalive: true }).catch(() => { /* the server removes it in time */ });
    view.id = null;
    remember(null);
  }
  // a job that has ended badly; one that could not be asked after goes on, and a reload finds it
  const forgetEnded = (error) => { if (["failed", "cancelled", "not_found"].includes(error.code)) forget(); };

  function again() {
    view.stop?.abort();
    view.upload?.abort();
    forget();
    Object.assign(view, { file: null, chosen: null, upload: null });
    parts.settings.inert = false;
    problem(null);
    only("choose");
    $("file-browse").focus();
  }

  async function choose(file) {
    problem(null);
    if (!FORMATS.includes(suffix(file.name))) return problem(`${file.name}: give a file that ends in .csv, .tsv, .jsonl or .txt.`);
    if (!file.size) return problem(`${file.name} is empty.`);
    let found = null;
    view.chosen = file;
    parts.settings.inert = true; // an earlier file's: nothing is to be begun with it meanwhile
    try {
      found = await firstRows(file);
    } catch { /* told below */ }
    if (view.chosen !== file) return; // another one was chosen since, or none is wanted any more
    parts.settings.inert = false;
    if (!found) return problem(`${file.name} cannot be read here; is it a file?`);
    Object.assign(view, { file, found });
    drawSettings(file, found);
    only("settings");
    parts.settings.querySelector("h2").focus();
  }

  function picker(name, columns, chosen, none) {
    return make("select", { name }, none ? make("option", { value: "" }, none) : null,
      columns.map((column) => make("option", { value: column, selected: column === chosen }, cut(column))));
  }

  function drawSettings(file, found) {
    const best = guess(found);
    const own = Object.keys(ownLabels()).length;
    view.own = own;
    const line = (name, ...controls) => make("div", { class: "row" }, make("label", {}, make("span", {}, name), controls));
    const box = make("div", { class: "threshold" });
    const { columns } = found;
    const rows = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "First rows of the file" });
    const draw = () => rows.replaceChildren(preview(found, parts.settings.elements.column?.value ?? null, SHOWN));
    parts.settings.replaceChildren(
      make("h2", { tabindex: -1 }, file.name), make("p", { class: "facts" }, make("span", {}, bytes(file.size))),
      make("div", { class: "rows-of" },
        columns.length ? [line("Column of texts", picker("column", columns, best.text)), line("Column of times", picker("time_column", columns, best.time, best.time ? null : "none"))] : null,
        levels.length > 1 || own ? line("Labels", make("select", { name: "level" },
          levels.map(({ level, name, labels }) => make("option", { value: level ?? "" }, `${level ? name : "all"} ${labels.length}`)),
          own ? make("option", { value: OWN }, `your own ${own}`) : null)) : null,
        levels[0].exclusive ? null : make("div", { class: "row" }, make("span", {}, "Threshold"), box)),
      rows,
      make("div", { class: "actions" }, make("button", { class: "button" }, "Find emotions"), make("button", { type: "button", class: "button plain", onclick: again }, "Another file")));
    view.threshold = new Threshold(box, { own: "Each its own", change: () => { /* read when it starts */ } });
    parts.settings.elements.column?.addEventListener("change", draw);
    draw();
  }

  function opened() { // there may be other labels of one's own than when the file was chosen
    if (parts.settings.hidden || Object.keys(ownLabels()).length === view.own) return;
    const kept = [...parts.settings.querySelectorAll("select")].map(({ name, value }) => [name, value]);
    const threshold = view.threshold.value;
    drawSettings(view.file, view.found);
    for (const [name, value] of kept) {
      const select = parts.settings.elements[name];
      if (select && [...select.options].some((option) => option.value === value)) select.value = value;
    }
    if (threshold !== null) {
      view.threshold.range.value = threshold;
      view.threshold.set(threshold);
    }
    parts.settings.elements.column?.dispatchEvent(new Event("change")); // the preview marks it
  }

  function preview({ columns, rows }, chosen, most) {
    const head = columns.length ? make("thead", {}, make("tr", {}, columns.map((column) => make("th", { scope: "col", class: column === chosen && "chosen" }, cut(column))))) : null;
    return make("table", { class: "cells" }, head, make("tbody", {}, rows.slice(0, most).map((row) =>
      make("tr", {}, row.map((cell, k) => make("td", { dir: "auto", class: (!columns.length || columns[k] === chosen) && "chosen" }, cut(cell)))))));
  }

  // fetch tells nothing of how much is sent, so this is the older way
  function upload(body) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      view.upload = request;
      request.open("POST", "/v1/jobs");
      Object.entries(headers()).forEach(([name, value]) => request.setRequestHeader(name, value));
      request.upload.onprogress = ({ loaded, total }) => drawJob({ state: "sending", share: loaded / total, detail: `${bytes(loaded)} of ${bytes(total)}` });
      request.onload = async () => {
        if (request.status === 202) resolve(JSON.parse(request.responseText));
        else reject(await refusal(new Response(request.responseText, { status: request.status })));
      };
      request.onerror = () => reject(new Refusal(0, { code: "gone", message: "The server does not answer: the file was not sent. Try again." }));
      request.onabort = () => reject(new DOMException("stopped", "AbortError"));
      request.send(body);
    });
  }

  async function start() {
    view.stop = new AbortController(); // for Cancel, which may come before anything is sent
    const { signal } = view.stop;
    const { elements } = parts.settings;
    const body = new FormData();
    const level = elements.level?.value;
    if (level === OWN) body.append("labels", JSON.stringify(ownLabels()));
    else if (level) body.append("level", level);
    for (const name of ["column", "time_column"]) if (elements[name]?.value) body.append(name, elements[name].value);
    if (view.threshold.value !== null) body.append("threshold", String(view.threshold.value));
    if (view.found.format) body.append("format", view.found.format);
    body.append("file", view.file);
    forget();
    problem(null);
    drawJob({ state: "sending", share: 0, detail: "" });
    only("job");
    $("file-stop").focus();
    try {
      // waits where there is no answer now, and asks for a key where one is needed
      const { upload_bytes: most } = await read("/v1/limits", { signal });
      // a browser that is refused while it sends reads no answer
      if (view.file.size > most) throw new Refusal(413, { code: "too_large", message: `${view.file.name} has ${number.format(view.file.size)} bytes, and this server takes ${number.format(most)} at most. “emodef predict --file” takes files of any size.` });
      signal.throwIfAborted();
      say("The file is sent.");
      const made = await upload(body);
      view.id = made.id;
      remember(made.id);
      await follow(signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      forgetEnded(error);
      only("settings");
      problem(messageOf(error));
    }
  }

  async function follow(signal) {
    const began = performance.now();
    let first = null;
    for (;;) {
      const now = await read(job(view.id), { signal });
      first ??= now.rows_done;
      view.name = now.file ?? view.file?.name ?? "result";
      if (now.state === "finished") return finished(now, signal);
      if (now.state === "failed" || now.state === "cancelled") throw new Refusal(200, { code: now.state, message: now.error ?? "The job was stopped." });
      const seconds = (performance.now() - began) / 1000;
      const rate = (now.rows_done - first) / seconds;
      const share = now.rows ? now.rows_done / now.rows : now.bytes ? now.bytes_done / now.bytes : null;
      const left = now.rows && rate > 0 ? (now.rows - now.rows_done) / rate : null;
      drawJob({
        state: now.state, share,
        detail: now.state === "queued" ? "other files come first" : [count(now.rows_done, "row"), left > 2 && `about ${left > 90 ? `${Math.round(left / 60)} minutes` : `${Math.round(left)} seconds`} left`].filter(Boolean).join(", "),
      });
      await new Promise((resolve) => { setTimeout(resolve, OFTEN); });
      signal.throwIfAborted();
    }
  }

  const STATES = { sending: "Sending the file", queued: "Waiting for its turn", running: "Reading the texts" };
  function drawJob({ state, share, detail }) {
    if (!$("file-stop")) {
      parts.job.replaceChildren(
        make("h2", { id: "job-name" }), make("div", { id: "job-bar", class: "progress", role: "progressbar", "aria-labelledby": "job-name", "aria-valuemin": 0, "aria-valuemax": 100 }, make("i", {})),
        make("p", { class: "facts", id: "job-detail" }), make("button", { type: "button", class: "button plain", id: "file-stop", onclick: again }, "Cancel"));
    }
    $("job-name").textContent = STATES[state] ?? state;
    $("job-detail").textContent = detail;
    $("job-bar").classList.toggle("unknown", share === null);
    if (share === null) $("job-bar").removeAttribute("aria-valuenow");
    else $("job-bar").setAttribute("aria-valuenow", String(Math.round(100 * share)));
    $("job-bar").style.setProperty("--to", Math.min(1, share ?? 0).toFixed(4));
  }

  async function finished(now, signal) {
    const content = await read(job(view.id, "/summary"), { signal });
    const result = await ask(job(view.id, "/result"), { signal });
    const said = result.headers.get("content-disposition") ?? "";
    const named = /filename\*=UTF-8''([^;]+)/i.exec(said)?.[1];
    const name = named ? decodeURIComponent(named) : view.name;
    const rows = await beginning(result, suffix(name));
    problem(null);
    only("result");
    $("file-name").textContent = view.name;
    const problems = now.problems > 0 && make("a", { href: job(view.id, "/problems"), download: `${name}.problems.jsonl`, onclick: download }, `${count(now.problems, "row")} without a prediction`);
    $("facts").replaceChildren(...[count(now.rows ?? content.texts, "row"), problems].filter(Boolean).map((fact) => make("span", {}, fact)));
    $("file-download").href = job(view.id, "/result");
    $("file-download").download = name;
    $("file-charts").hidden = Boolean(content.error);
    if (!content.error) showReport(content);
    const notes = content.error ? [`There are no charts of it: ${content.error}`] : content.notes ?? [];
    $("file-notes").hidden = !notes.length;
    $("file-notes").replaceChildren(...notes.map((note) => make("li", {}, note)));
    $("file-rows").replaceChildren(preview(rows, "predicted", RESULT));
    say(`Done: ${content.error ? count(now.rows, "row") : count(content.texts, "text")}.`);
    $("file-name").focus({ preventScroll: true });
  }

  async function download(event) { // a link sends no key
    if (!needsKey()) return;
    const { href, download: name } = event.currentTarget;
    event.preventDefault();
    problem(null);
    try {
      const address = URL.createObjectURL(await (await ask(href)).blob());
      make("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      problem(messageOf(error));
    }
  }

  async function resume() {
    let id = null;
    try { id = sessionStorage.getItem(STORE); } catch { /* nothing to go on with */ }
    if (!id) return;
    view.id = id;
    view.stop = new AbortController();
    try {
      drawJob({ state: "running", share: null, detail: "" });
      only("job");
      await follow(view.stop.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      forgetEnded(error);
      only("choose");
      if (error.status !== 404) problem(messageOf(error));
    }
  }

  // a file may be dropped anywhere on the page, which opens this tab; else the browser would leave the page for the file
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  const over = (is) => $("file-drop").classList.toggle("over", is);
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      over(true);
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    over(false);
    openTab();
    const [file] = event.dataTransfer.files;
    if (!file) return;
    if (!parts.choose.hidden || !parts.settings.hidden) choose(file);
    else problem(parts.job.hidden ? `${file.name} is not read yet: choose “Another file” first, which removes this result.` : `${file.name} is not read: another file is under way. Cancel it first.`);
  });
  $("file-browse").addEventListener("click", () => $("file-input").click());
  $("file-input").addEventListener("change", () => {
    const [file] = $("file-input").files;
    $("file-input").value = "";
    if (file) choose(file);
  });
  parts.settings.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("file-again").addEventListener("click", again);
  $("file-download").addEventListener("click", download);
  listenToFilter();
  followWidth($("report"));
  resume();
  return { opened };
}
