// Asking the server. What cannot be answered now is asked again; the banner says so, and goes when the server answers.
import { $, make } from "./charts.js";

export class Refusal extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { name: "Refusal", status, code: error.code, field: error.field ?? null });
  }
}

// what to tell the reader of an error; what no reader can mend goes to the console too
export function messageOf(error) {
  if (error instanceof Refusal) return /^(labels|own)[.[]/.test(error.field ?? "") ? `${error.field}: ${error.message}` : error.message; // which label
  console.warn(error);
  return "This page could not read the server’s answer; load it again.";
}

const LONGEST_WAIT = 8000; // ms between two tries
const PASSING = ["busy", "stopping", "not_ready"]; // codes of what is over soon; what else is refused is refused again
const KEY = "emodef.key";
const isKey = (given) => /^[\x20-\x7e]+$/.test(given); // fetch takes no other characters, and fails as if the server were gone
let key = null;
try { key = sessionStorage.getItem(KEY); } catch { /* storage is off: asked for again after a reload */ }
if (!isKey(key ?? "")) key = null;
export const headers = () => (key ? { authorization: `Bearer ${key}` } : {});
export const needsKey = () => key !== null;

const troubles = new Set(); // what is being asked again
function trouble(token, message) {
  if (message) troubles.add(token);
  else troubles.delete(token);
  $("banner").hidden = !troubles.size;
  if (message && $("banner").textContent !== message) $("banner").replaceChildren(make("span", { class: "pulse", "aria-hidden": "true" }), message);
}

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(signal.reason);
  }, { once: true });
});

export async function refusal(response) {
  let error = null;
  try { ({ error } = await response.json()); } catch { /* not ours: a proxy's page, say */ }
  return new Refusal(response.status, error?.message ? error : { code: "http", message: `The server answered ${response.status} ${response.statusText}`.trim() });
}

// Ask until there is an answer: a Response with a good status. Throws Refusal, or the signal's reason.
export async function ask(path, { signal, ...options } = {}) {
  const token = {};
  try {
    for (let tries = 0; ; tries += 1) {
      let response;
      try {
        response = await fetch(path, { ...options, signal, headers: { ...options.headers, ...headers() } });
      } catch {
        signal?.throwIfAborted();
        trouble(token, "The server does not answer. Trying again until it does.");
        await pause(Math.min(LONGEST_WAIT, 500 * 2 ** tries), signal);
        continue;
      }
      if (response.ok) return response;
      const refused = await refusal(response);
      signal?.throwIfAborted();
      if (response.status === 401) {
        await askForKey(refused);
        continue;
      }
      const passing = refused.code === "http" ? refused.status === 503 : PASSING.includes(refused.code); // "http": a proxy's
      if (!passing) throw refused;
      trouble(token, "The server is busy. Trying again in a moment.");
      const wait = 1000 * Number(response.headers.get("retry-after") ?? 1);
      await pause(Math.min(LONGEST_WAIT, Number.isFinite(wait) && wait > 0 ? wait : 1000), signal);
    }
  } finally {
    trouble(token, null);
  }
}

export const read = async (path, options) => (await ask(path, options)).json();
export const send = (path, body, options) =>
  read(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, ...options });

let asking = null;
function askForKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = $("key-dialog");
    if (key) $("key-hint").textContent = reason.message;
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => { if (asking && !dialog.open) dialog.showModal(); }; // a second Esc closes it all the same
    $("key-form").onsubmit = (event) => {
      const given = $("key").value.trim();
      $("key").value = "";
      if (!isKey(given)) {
        event.preventDefault();
        $("key-hint").textContent = "This key holds a character that cannot be sent, perhaps a long dash or one that is not seen. Copy it again.";
        $("key").focus();
        return;
      }
      key = given;
      try { sessionStorage.setItem(KEY, key); } catch { /* asked for again after a reload */ }
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

// One question at a time, always the newest: what comes while one is under way waits, and only the last of it is asked, once.
// ask(input, signal) -> answer; tell(answer, input) is called with the answer to what was pushed last, never an older one.
export class Newest {
  constructor({ wait, ask: question, tell, fail }) {
    Object.assign(this, { wait, question, tell, fail, wanted: null, running: false, timer: null, stop: null });
  }

  push(input) {
    const wanted = { input, due: false };
    this.wanted = wanted;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      wanted.due = true;
      this.run();
    }, this.wait);
  }

  drop() { // nothing is wanted any more
    this.wanted = null;
    clearTimeout(this.timer);
    this.stop?.abort();
  }

  async run() {
    if (this.running) return; // it looks again when it is done
    this.running = true;
    try {
      while (this.wanted?.due) { // else its wait is not over, or it was asked already
        const asked = this.wanted;
        asked.due = false;
        this.stop = new AbortController();
        try {
          const answer = await this.question(asked.input, this.stop.signal);
          if (this.wanted === asked) this.tell(answer, asked.input);
        } catch (error) {
          if (this.wanted === asked) this.fail(error, asked.input);
        }
      }
    } finally {
      this.running = false;
    }
  }
}
