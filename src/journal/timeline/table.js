"use strict";
// The table: how many calls, how long they waited and their handlers ran, by recipient, by type or by operation.
// A click on a row shows its calls alone.

const table = { by: "recipient", sort: "handlerWorst", down: true, rows: [] };
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

function tableRows(by) {
  return by === "operation" ? operationRows() : callRows(by);
}

function callRows(by) {
  const groups = new Map();
  for (let i = 0; i < count; i++) {
    const lane = call.lane[i];
    const key = by === "type" ? typeOf(lane) : lane;
    if (!groups.has(key)) groups.set(key, { name: by === "type" ? key : lanes[lane].title, calls: [], wait: [], handler: [] });
    const group = groups.get(key);
    group.calls.push(i);
    const [scheduled, dialed, ended] = [real.scheduled[i], real.dialed[i], real.ended[i]];
    if (dialed >= scheduled) group.wait.push(dialed - scheduled);
    if (ended >= dialed) group.handler.push(ended - dialed);
  }
  return [...groups.values()].map(({ name, calls, wait, handler }) => tableRow(name, calls, calls.length, summary(wait), summary(handler)));
}

/** Of operations, the time is from start to end, and what waits is their result. */
function operationRows() {
  const groups = new Map();
  operations.forEach(({ name, call: of }, o) => {
    if (!groups.has(name)) groups.set(name, { calls: [], many: 0, wait: [], took: [] });
    const group = groups.get(name);
    group.many++;
    if (of >= 0) group.calls.push(of);
    if (of >= 0 && real.dialed[of] >= real.scheduled[of]) group.wait.push(real.dialed[of] - real.scheduled[of]);
    const { started, ended } = real.operations[o];
    if (started >= 0 && ended >= started) group.took.push(ended - started);
  });
  return [...groups].map(([name, { calls, many, wait, took }]) => tableRow(name, calls, many, summary(wait), summary(took)));
}

function tableRow(name, places, calls, wait, handler) {
  return { name, places, calls, waitMean: wait.mean, waitP99: wait.p99, waitWorst: wait.worst,
    handlerMean: handler.mean, handlerP99: handler.p99, handlerWorst: handler.worst };
}

const figures = document.getElementById("figures");

function toggleTable() {
  figures.hidden = !figures.hidden;
  document.getElementById("table").setAttribute("aria-pressed", !figures.hidden);
  if (!figures.hidden) showTable(table.by);
  resize();
}

function showTable(by) {
  if (by !== table.by || !table.rows.length) table.rows = tableRows(by);
  table.by = by;
  const ranks = (value) => (typeof value === "number" && !known(value) ? -1 : value);
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  table.rows.sort((a, b) => compare(ranks(a[table.sort]), ranks(b[table.sort])) * (table.down ? -1 : 1));
  const choose = element("p");
  for (const one of ["recipient", "type", "operation"]) {
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
    line.append(element("td", text));
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
