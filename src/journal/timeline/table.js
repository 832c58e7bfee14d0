"use strict";
// The table: how many calls, how long they waited and their handlers ran, by recipient, by type, by the code
// that created them, or by operation. A click on a row shows its calls alone; one on a worst handler, that call.

const table = { by: "recipient", sort: "handlerWorst", down: true, rows: [], all: undefined };
const COLUMNS = [
  ["name", ""], ["calls", "calls"], ["waitMean", "wait: mean"], ["waitP99", "99 %"], ["waitWorst", "worst"],
  ["handlerMean", "handler: mean"], ["handlerP99", "99 %"], ["handlerWorst", "worst"],
];
const NO_CALLS = { mean: NaN, p99: NaN, worst: NaN };

/** Mean, 99th percentile and longest of some times. */
function summary(times) {
  if (!times.length) return NO_CALLS;
  const sorted = Float64Array.from(times).sort();
  const mean = sorted.reduce((sum, time) => sum + time, 0) / sorted.length;
  return { mean, p99: sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * 0.99) - 1)], worst: sorted.at(-1) };
}

/** What a call is counted under, and the name of that. */
const GROUPS = {
  recipient: { keyOf: (i) => call.lane[i], nameOf: (lane) => lanes[lane].title },
  type: { keyOf: (i) => typeOf(call.lane[i]), nameOf: (type) => type },
  code: { keyOf: (i) => call.createdAt[i], nameOf: (site) => (site < 0 ? "not known" : strings[site]) },
};
const ALL = { keyOf: () => 0, nameOf: () => "all" };

/** The rows of a table and, if there are many, one of all. */
function tableRows(by) {
  const rowsBy = by === "operation" ? operationRows : callRows;
  const rows = rowsBy(by === "operation" ? { keyOf: (o) => operations[o].name, nameOf: (name) => name } : GROUPS[by]);
  table.all = rows.length > 1 ? rowsBy(ALL)[0] : undefined;
  return rows;
}

/** What is counted under one name. */
class Group {
  places = [];
  many = 0;
  wait = [];
  took = [];
  worst = -1;
  slowest = -1;

  add(place, wait, took) {
    this.many++;
    if (place >= 0) this.places.push(place);
    if (wait >= 0) this.wait.push(wait);
    if (!(took >= 0)) return;
    this.took.push(took);
    if (took > this.worst) [this.worst, this.slowest] = [took, place];
  }

  row(name) {
    const [wait, took] = [summary(this.wait), summary(this.took)];
    return { name, places: this.places, slowest: this.slowest, calls: this.many, waitMean: wait.mean, waitP99: wait.p99,
      waitWorst: wait.worst, handlerMean: took.mean, handlerP99: took.p99, handlerWorst: took.worst };
  }
}

function grouped(many, { keyOf, nameOf }, add) {
  const groups = new Map();
  for (let i = 0; i < many; i++) {
    const key = keyOf(i);
    if (!groups.has(key)) groups.set(key, new Group());
    add(groups.get(key), i);
  }
  return [...groups].map(([key, group]) => group.row(nameOf(key)));
}

const waited = (i) => real.dialed[i] - real.scheduled[i];

function callRows(by) {
  return grouped(count, by, (group, i) => group.add(i, waited(i), real.ended[i] - real.dialed[i]));
}

/** Of operations, the time is from start to end, and what waits is their result. */
function operationRows(by) {
  return grouped(operations.length, by, (group, o) => {
    const [{ call: of }, { started, ended }] = [operations[o], real.operations[o]];
    group.add(of, of >= 0 ? waited(of) : NaN, started >= 0 && ended >= 0 ? ended - started : NaN);
  });
}

const figures = document.getElementById("figures");

function toggleTable() {
  figures.hidden = !figures.hidden;
  document.getElementById("table").setAttribute("aria-pressed", !figures.hidden);
  if (!figures.hidden) showTable(table.by);
  resize();
}

function openTable(by) {
  if (figures.hidden) toggleTable();
  showTable(by);
}

function showTable(by) {
  if (by !== table.by || !table.rows.length) table.rows = tableRows(by);
  table.by = by;
  const ranks = (value) => (typeof value === "number" && !known(value) ? -1 : value);
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  table.rows.sort((a, b) => compare(ranks(a[table.sort]), ranks(b[table.sort])) * (table.down ? -1 : 1));
  const choose = element("p");
  for (const one of [...Object.keys(GROUPS), "operation"]) {
    const button = element("button", `by ${one}`, { onclick: () => showTable(one) });
    button.setAttribute("aria-pressed", one === by);
    choose.append(button, " ");
  }
  const made = element("table");
  const head = element("tr");
  for (const [column, title] of COLUMNS) {
    const text = column === "name" ? by : column === "calls" && by === "operation" ? "operations" : title.replace("handler", by === "operation" ? "took" : "handler");
    const cell = element("th");
    cell.append(element("button", text + (column === table.sort ? (table.down ? " ▾" : " ▴") : ""), { onclick: () => sortTable(column) }));
    head.append(cell);
  }
  made.append(head);
  if (table.all) made.append(tableLine(table.all));
  for (const row of table.rows.slice(0, 500)) made.append(tableLine(row));
  figures.replaceChildren(choose, made);
  if (table.rows.length > 500) figures.append(element("p", `and ${plural(table.rows.length - 500, "more row")}: sort by another column to see others`));
}

function tableLine(row) {
  const line = element("tr", undefined, { tabIndex: 0, title: "Show these calls alone", onclick: () => showOnly(row.places, row.name) });
  line.onkeydown = (event) => event.key === "Enter" && line.onclick();
  for (const [column] of COLUMNS) {
    const value = row[column];
    const text = column === "name" ? value : column === "calls" ? value.toLocaleString("en") : known(value) ? duration(value) : "–";
    const leads = column === "handlerWorst" && row.slowest >= 0;
    const cell = element("td", leads ? undefined : text);
    if (leads) cell.append(linkTo(row.slowest, text));
    line.append(cell);
  }
  return line;
}

function sortTable(column) {
  table.down = table.sort === column ? !table.down : column !== "name";
  table.sort = column;
  showTable(table.by);
}

/** Shows some calls, as if they had been searched for. */
function showOnly(places, text) {
  const found = new Uint8Array(count);
  for (const place of places) found[place] = 1;
  finder.value = text;
  showMatches(text, found);
}

/** Shows the calls of a turn alone. */
function showTurn(t) {
  const places = ids.map((_, i) => i).filter((i) => turnOf(i) === t);
  showOnly(places, turnStory(t).title);
}

// The legend: a click shows what came to that.
for (const entry of document.querySelectorAll("#legend button")) {
  entry.onclick = () => {
    const pressed = entry.getAttribute("aria-pressed") === "true";
    find((finder.value = pressed ? "" : entry.dataset.state));
  };
}
