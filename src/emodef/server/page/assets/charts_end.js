// What the page takes of the report's own script, which stands above in the same module.
function showReport(content) {
  data = content;
  state.level = 0;
  Object.assign(timeline, { series: data.time?.opens ?? 0, view: "lines", chosen: new Map(), at: null });
  Object.assign(together, { mode: "share" });
  Object.assign(filter, { labels: [], words: "", shown: PAGE });
  $("filter-words").value = "";
  drawWhole();
}

export { $, count, draw, followWidth, listenToFilter, make, options, percent, showReport, table, whole };
