// The first rows of a file, read here, to choose columns by and to look at.
const MOST = 1 << 16; // bytes looked at
const TEXT_NAMES = ["text", "sentence", "comment", "comments", "body", "message", "content", "review", "tweet", "title"];
const TIME_NAMES = ["time", "timestamp", "datetime", "date", "created_at", "created_utc", "created", "posted_at", "published_at", "published"];
export const suffix = (name) => /\.([A-Za-z0-9]+)$/.exec(name)?.[1].toLowerCase() ?? "";

// As the server has it (separator_of in tables.py), which must find the column named here: the mark that header and first row hold as
// often, else one that both hold, else the one that is most often in the header, of equals the first.
function separator(text) {
  const [header = "", row = ""] = text.split(/\r?\n/).filter(Boolean).slice(0, 2).map((line) => line.replace(/"[^"]*(?:"|$)/g, ""));
  const times = (line, mark) => line.split(mark).length - 1;
  const rank = (mark) => {
    const [names, cells] = [times(header, mark), times(row, mark)];
    return names + (names && cells ? 1e6 : 0) + (names && names === cells ? 1e7 : 0);
  };
  return [",", ";", "\t"].reduce((best, mark) => (rank(mark) > rank(best) ? mark : best));
}

function linesOf(text, whole) {
  const lines = text.split(/\r?\n/);
  if (!whole && lines.length > 1) lines.pop(); // cut in the middle
  return lines;
}

// as the server has it, too: here quotes are part of the text
const tabbed = (text, whole) => linesOf(text, whole).filter(Boolean).map((line) => line.split("\t"));

function delimited(text, mark, whole) {
  const rows = [[]];
  let at = 0;
  let closed = true;
  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      closed = false;
      for (at += 1; at < text.length; at += 1) {
        if (text[at] !== '"') cell += text[at];
        else if (text[at + 1] === '"') {
          cell += '"';
          at += 1;
        } else {
          closed = true;
          at += 1;
          break;
        }
      }
    }
    while (at < text.length && text[at] !== mark && text[at] !== "\n" && text[at] !== "\r") cell += text[at++];
    rows.at(-1).push(cell);
    if (text[at] === mark) {
      at += 1;
      if (at >= text.length) rows.at(-1).push("");
      continue;
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at += 1;
    at += 1;
    if (at < text.length) rows.push([]);
  }
  if (!whole && (rows.length > 1 || !closed)) rows.pop();
  return rows.filter((row) => row.some(Boolean));
}

function objects(text, whole) {
  return linesOf(text, whole).filter((line) => line.trim()).flatMap((line) => {
    try {
      const found = JSON.parse(line);
      return [found !== null && typeof found === "object" && !Array.isArray(found) ? new Map(Object.entries(found)) : new Map([["text", found]])];
    } catch {
      return [];
    }
  });
}

const written = (value) => (value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));

// text: the beginning of a file; whole: or all of it. -> { columns, rows }: rows are lists of texts
export function parse(text, format, whole) {
  const start = text.replace(/^\ufeff/, "");
  if (format === "jsonl" || format === "ndjson") {
    const found = objects(start, whole);
    const columns = [...new Set(found.flatMap((one) => [...one.keys()]))];
    return { columns, rows: found.map((one) => columns.map((name) => written(one.get(name)))) };
  }
  if (format === "txt") return { columns: [], rows: start.split(/\r?\n/).filter((line) => line.trim()).map((line) => [line]) };
  const [header = [], ...rows] = format === "tsv" || format === "tab" ? tabbed(start, whole) : delimited(start, separator(start), whole);
  return { columns: header.map((name) => name.trim()), rows };
}

// Where names of a table with tabs stand in quotes its cells do too: the server refuses to read it as it stands, and is asked to read it so.
const inQuotes = (text) => /^(?:.*\t)?"[^\t]*"(?:\t|\r|\n|$)/.test(text.replace(/^[\ufeff\r\n]+/, "").split("\n", 1)[0]);

// format: what the server is to read it as, where that is not what its name says
export async function firstRows(file) {
  const text = await file.slice(0, MOST).text();
  const named = suffix(file.name);
  const format = (named === "tsv" || named === "tab") && inQuotes(text) ? "csv" : null;
  return { format, ...parse(text, format ?? named, file.size <= MOST) };
}

// of an answer: its beginning only, the rest is not fetched
export async function beginning(response, format) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0; size < MOST;) {
    const { done, value } = await reader.read();
    if (done) return parse(text + decoder.decode(), format, true);
    size += value.length;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return parse(text, format, false);
}

export function guess({ columns, rows }) {
  const named = (names) => names.map((name) => columns.find((column) => column.toLowerCase() === name)).find((column) => column !== undefined);
  const lengths = columns.map((_, k) => rows.reduce((sum, row) => sum + (row[k] ?? "").length, 0));
  return { text: named(TEXT_NAMES) ?? columns[lengths.indexOf(Math.max(...lengths))] ?? "", time: named(TIME_NAMES) ?? "" };
}
