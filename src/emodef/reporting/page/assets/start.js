// The report: its head, its charts, what is to be said at the end.
function drawFooter() {
  const { about } = data;
  $("footer").replaceChildren(
    about.notes.length ? make("ul", { class: "notes" }, about.notes.map((note) => make("li", {}, note))) : "",
    make("p", {}, "A label is a model’s guess at how a text reads, not a measurement of what its writer felt. " +
      "Intervals say how far shares would move in another random sample of such texts, not how often the model is wrong."),
    make("p", {}, `Made with emodef ${about.version}. This page is one file: nothing in it is loaded from or sent anywhere.`));
}

drawHead();
listenToFilter();
drawWhole();
drawFooter();
if (!data.texts) $("main").append(make("p", { class: "note" }, "There are no texts in this file."));
followWidth(document.body);
