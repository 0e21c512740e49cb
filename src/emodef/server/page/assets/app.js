// Starts the page: tabs, colours, and what stands in each tab.
import { $, make } from "./charts.js";
import { messageOf } from "./api.js";
import { startFile } from "./file.js";
import { readLevels, startLook } from "./look.js";
import { startOwn } from "./own.js";

const TABS = ["text", "own", "file"];
const THEMES = { auto: "as the system has them", light: "light", dark: "dark" };
const opened = {}; // tab -> what is done when it is opened
let open = null;

function show(tab, { focus = false } = {}) {
  open = tab;
  for (const name of TABS) {
    const button = $(`tab-${name}`);
    button.setAttribute("aria-selected", String(name === tab));
    button.tabIndex = name === tab ? 0 : -1;
    $(`panel-${name}`).hidden = name !== tab;
  }
  if (focus) $(`tab-${tab}`).focus();
  opened[tab]?.();
}

function startTabs() {
  const named = () => TABS.find((name) => location.hash === `#${name}`);
  for (const [k, name] of TABS.entries()) {
    $(`tab-${name}`).addEventListener("click", () => {
      history.replaceState(null, "", `#${name}`);
      show(name);
    });
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const to = { ArrowRight: (k + 1) % TABS.length, ArrowLeft: (k + TABS.length - 1) % TABS.length, Home: 0, End: TABS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      history.replaceState(null, "", `#${TABS[to]}`);
      show(TABS[to], { focus: true });
    });
  }
  addEventListener("hashchange", () => { if (named() && named() !== open) show(named()); });
  show(named() ?? TABS[0]);
}

function startTheme() {
  const names = Object.keys(THEMES);
  const root = document.documentElement;
  const tell = (theme) => {
    $("theme-name").textContent = `Colours: ${THEMES[theme]}. Change them`;
    $("theme").title = `Colours: ${THEMES[theme]}`;
  };
  tell(root.dataset.theme ?? "auto");
  $("theme").addEventListener("click", () => {
    const next = names[(names.indexOf(root.dataset.theme ?? "auto") + 1) % names.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem("emodef.theme", next); } catch { /* for this visit only */ }
    tell(next);
  });
}

startTheme();
startTabs();
try {
  const able = await readLevels();
  opened.text = startLook(() => open === "text").opened;
  const own = startOwn(() => open === "own", able);
  opened.own = own.opened;
  opened.file = startFile(own.labels, () => show("file")).opened;
  document.body.classList.add("ready");
} catch (error) {
  $("content").prepend(make("p", { class: "problem", role: "alert" }, messageOf(error)));
}
