// Before anything is drawn: the colours chosen last time. The system's own unless one was chosen.
{
  let chosen = null;
  try { chosen = localStorage.getItem("emodef.theme"); } catch { /* storage is off: the system's colours */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
