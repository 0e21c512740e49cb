// Labels as TOML, read and written. Reads what label files are made of: keys, strings, numbers, arrays, tables, arrays of tables.
const ESCAPES = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\u001b", '"': '"', "\\": "\\" };

class Reading {
  constructor(text) {
    Object.assign(this, { text: text.replace(/^\ufeff/, "").replace(/\r\n/g, "\n"), at: 0 });
  }

  fail(message) {
    throw new Error(`line ${this.text.slice(0, this.at).split("\n").length}: ${message}`);
  }

  match(pattern) { // a sticky pattern at this place
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  blanks() { this.match(/[ \t]*/y); }
  lines() { this.match(/(?:[ \t\n]|#[^\n]*)*/y); }
  end() {
    if (!this.match(/[ \t]*(?:#[^\n]*)?(?:\n|$)/y)) this.fail("something stands where the line should end");
  }

  document() {
    const root = new Map();
    let table = root;
    for (this.lines(); this.at < this.text.length; this.lines()) {
      const head = this.match(/\[\[?/y);
      if (head) {
        const several = head[0] === "[[";
        const path = this.keys();
        if (!this.match(several ? /\]\]/y : /\]/y)) this.fail("the head of a table is not closed");
        table = several ? this.another(root, path) : this.inside(root, path, true);
      } else this.pair(table);
      this.end();
    }
    return root;
  }

  pair(table) {
    const path = this.keys();
    if (!this.match(/=[ \t]*/y)) this.fail("a key needs = and a value");
    const home = this.inside(table, path.slice(0, -1), false);
    if (home.has(path.at(-1))) this.fail(`${path.at(-1)} is there twice`);
    home.set(path.at(-1), this.value());
  }

  inside(table, path, isHead) {
    for (const [k, key] of path.entries()) {
      let next = table.get(key);
      if (Array.isArray(next)) next = next.at(-1);
      if (isHead && k === path.length - 1 && next instanceof Map) this.fail(`${key} is there twice`);
      if (next === undefined) table.set(key, (next = new Map()));
      if (!(next instanceof Map)) this.fail(`${key} is there twice`);
      table = next;
    }
    return table;
  }

  another(root, path) {
    const home = this.inside(root, path.slice(0, -1), false);
    const list = home.get(path.at(-1)) ?? [];
    if (!Array.isArray(list)) this.fail(`${path.at(-1)} is there twice`);
    home.set(path.at(-1), list);
    list.push(new Map());
    return list.at(-1);
  }

  keys() {
    const path = [];
    do {
      this.blanks();
      const bare = this.match(/[A-Za-z0-9_-]+/y);
      path.push(bare ? bare[0] : /["']/.test(this.text[this.at] ?? "") ? this.string() : this.fail("a name is expected; names with blanks stand in quotes"));
      this.blanks();
    } while (this.match(/\./y));
    return path;
  }

  value() {
    const next = this.text[this.at];
    if (next === '"' || next === "'") return this.string();
    if (next === "[") return this.array();
    if (next === "{") return this.inline();
    const word = this.match(/[A-Za-z0-9_+.:-]+/y)?.[0] ?? this.fail("a value is expected");
    if (word === "true" || word === "false") return word === "true";
    const number = Number(word.replace(/_/g, ""));
    return Number.isNaN(number) ? this.fail(`${word} is no value; texts stand in quotes`) : number;
  }

  array() {
    const found = [];
    this.at += 1;
    for (this.lines(); !this.match(/\]/y); this.lines()) {
      found.push(this.value());
      this.lines();
      if (!this.match(/,/y) && this.text[this.at] !== "]") this.fail("the list is not closed");
    }
    return found;
  }

  inline() {
    const found = new Map();
    this.at += 1;
    for (this.lines(); !this.match(/\}/y); this.lines()) {
      this.pair(found);
      this.lines();
      if (!this.match(/,/y) && this.text[this.at] !== "}") this.fail("the table is not closed");
    }
    return found;
  }

  string() {
    const long = this.match(/'''\n?([^]*?)'''('{0,2})/y);
    if (long) return long[1] + long[2];
    const literal = this.match(/'([^'\n]*)'/y);
    if (literal) return literal[1];
    const multi = this.match(/"""\n?((?:[^"\\]|\\[^]|"(?!""))*)"""("{0,2})/y);
    const basic = multi ?? this.match(/"((?:[^"\\\n]|\\[^\n])*)"/y);
    if (!basic) this.fail("a text is not closed");
    return basic[1].replace(/\\[ \t]*\n\s*/g, "").replace(/\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^]))/g, (_, four, eight, one) => {
      const point = four ?? eight;
      if (point) return parseInt(point, 16) <= 0x10ffff ? String.fromCodePoint(parseInt(point, 16)) : this.fail(`\\U${point} is no character`);
      return ESCAPES[one] ?? this.fail(`\\${one} means nothing in a text; write \\\\ for a backslash`);
    }) + (multi?.[2] ?? "");
  }
}

const isText = (value) => typeof value === "string";
const OF_A_LABEL = ["definition", "definitions", "examples", "threshold"];

// Is this entry about the whole set? As Python has it (definitions.py): a label of such a name stands in a table.
function isOfTheSet(key, value) {
  if (key === "mappings" || key === "coarse") return value instanceof Map && !OF_A_LABEL.some((part) => value.has(part));
  return (key === "name" && isText(value)) || (key === "exclusive" && typeof value === "boolean");
}

function texts(value, name, what) {
  const list = value === undefined ? [] : Array.isArray(value) ? value : [value];
  if (!list.every(isText)) throw new Error(`${name}: ${what} must be texts in quotes`);
  return list;
}

function oneLabel(name, value) {
  if (!(value instanceof Map)) return { name, definitions: texts(value, name, "a definition"), examples: [], threshold: null };
  const unknown = [...value.keys()].find((key) => !OF_A_LABEL.includes(key));
  if (unknown !== undefined) throw new Error(`${name}: ${unknown} is not known; a label may have ${OF_A_LABEL.join(", ")}`);
  const threshold = value.get("threshold") ?? null;
  if (threshold !== null && !(typeof threshold === "number" && threshold >= 0 && threshold < 1)) throw new Error(`${name}: its threshold must be a number from 0 to below 1`);
  return {
    name,
    definitions: [...texts(value.get("definition"), name, "a definition"), ...texts(value.get("definitions"), name, "definitions")],
    examples: texts(value.get("examples"), name, "examples"),
    threshold,
  };
}

function named(label, k) {
  const name = label.get("name");
  label.delete("name");
  return oneLabel(isText(name) ? name : `label ${k + 1}`, label);
}

// TOML -> { labels: [{ name, definitions, examples, threshold }], unused: [what is said of the set, and is not used here] }.
// Throws an Error whose message says the line or the label.
export function readLabels(text) {
  const root = new Reading(text).document();
  const listed = root.get("labels");
  const isList = Array.isArray(listed) && listed.length > 0 && listed.every((one) => one instanceof Map);
  const quotes = root.get("exclusive");
  if (isText(quotes) && /^\s*(true|false)\s*$/i.test(quotes)) {
    throw new Error(`exclusive = "${quotes}" is a text; write exclusive = ${quotes.trim().toLowerCase()}, without quotes`);
  }
  const ofTheSet = [...root].filter(([key, value]) => isOfTheSet(key, value));
  const labels = isList
    ? listed.map(named)
    : [...root].filter(([key, value]) => !isOfTheSet(key, value)).map(([name, value]) => oneLabel(name, value));
  if (!labels.length) throw new Error("there is no label in it; write one a line: awe = \"Wonder mixed with respect\"");
  return { labels, unused: ofTheSet.filter(([key, value]) => key === "mappings" || value === true).map(([key]) => key) };
}

const quoted = (text) => JSON.stringify(text.toWellFormed()).replace(/\u007f/g, "\\u007f");

export function writeLabels(labels) {
  return labels.map(({ name, definitions, examples, threshold }) => [
    `[${/^[A-Za-z0-9_-]+$/.test(name) ? name : quoted(name)}]`,
    definitions.length === 1 ? `definition = ${quoted(definitions[0])}` : `definitions = [${definitions.map(quoted).join(", ")}]`,
    ...(examples.length ? [`examples = [${examples.map(quoted).join(", ")}]`] : []),
    ...(threshold === null ? [] : [`threshold = ${threshold}`]),
  ].join("\n")).join("\n\n") + "\n";
}
