"use strict";
// What the page knows: the history, as columns of numbers with one place for each call.

const history_ = JSON.parse(document.getElementById("history").textContent);
const strings = history_.strings;
const lanes = history_.lanes;
const operations = readOperations(history_.operations);
const late = history_.late; // call, time, by, reason
const ids = history_.calls.id;
/** Calls of which it is not known whether they have ended: the journal did not see all. */
const lostEnds = new Set(history_.lost);
/** What scheduled a call on behalf of the reactor, of those that it did: the place of a string. */
const originOf = new Map(history_.origins);
/** Turns, by when they ended; in the order of the columns. Times are real ones. */
const turns = history_.turns.queue.map((_, i) => Object.fromEntries(Object.entries(history_.turns).map(([name, column]) => [name, column[i]])));
const count = ids.length;
const ENDS = ["", "finished", "panicked", "canceled", "refused", "abandoned"];

/** Operations as objects: there are fewer of them than calls, mostly. */
function readOperations(columns) {
  const text = (place, otherwise) => (place < 0 ? otherwise : strings[place]);
  return columns.call.map((_, i) => {
    const operation = {};
    for (const name in columns) operation[name] = columns[name][i];
    operation.id = text(operation.id);
    operation.name = text(operation.name);
    operation.text = text(operation.text, "still running");
    operation.end = ["", "answered", "canceled", "failed", "declined"][operation.end];
    return operation;
  });
}

/** Times in nanoseconds since the journal began; NaN if the step is not known. */
const call = (() => {
  const columns = history_.calls;
  const whole = (name) => Int32Array.from(columns[name]);
  const times = { created: null, scheduled: null, dialed: null, ended: null };
  const first = new Float64Array(count);
  let before = 0;
  for (let i = 0; i < count; i++) first[i] = before += columns.first[i];
  for (const step in times) {
    const column = columns[step];
    const time = (times[step] = new Float64Array(count));
    for (let i = 0; i < count; i++) time[i] = column[i] < 0 ? NaN : first[i] + column[i];
  }
  const by = { createdBy: 0, scheduledBy: 0, dialedBy: 0, endedBy: 0 };
  for (const step in by) by[step] = whole(step);
  return {
    ...times, ...by, first, lane: whole("lane"), end: whole("end"), reason: whole("reason"),
    createdAt: whole("createdAt"), scheduledAt: whole("scheduledAt"), live: whole("live"),
  };
})();
history_.calls = history_.operations = null; // the columns above are what is left of it

const operationOf = new Map(operations.map((operation, place) => [operation.call, place]).filter(([of]) => of >= 0));
const lateOf = new Map();
for (const [place, at, by, reason] of late) {
  if (!lateOf.has(place)) lateOf.set(place, []);
  lateOf.get(place).push({ at, by, reason });
}
const lower = operations.map(() => []);
operations.forEach((operation, place) => {
  if (operation.upper >= 0) lower[operation.upper].push(place);
});

const queues = new Set(lanes.map((lane) => lane.queue));
for (const lane of lanes) {
  const name = (lane.name < 0 ? "functions" : strings[lane.name]) + (lane.label < 0 ? "" : ` ${strings[lane.label]}`);
  lane.title = queues.size > 1 ? `${name} · queue ${lane.queue}` : name;
}

/** A point in time as a date, in the time zone of the reader; nothing if the history knows none. */
function dateOf(nanos) {
  if (history_.date < 0) return "";
  const date = new Date(history_.date + nanos / 1e6);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** First and last instant that is known. */
let [begin, finish] = (() => {
  let [least, most] = [Infinity, -Infinity];
  const see = (time) => {
    if (time < least) least = time;
    if (time > most) most = time;
  };
  for (const times of [call.created, call.scheduled, call.dialed, call.ended]) times.forEach(see);
  for (const { started, ended } of operations) [started, ended].filter((time) => time >= 0).forEach(see);
  if (!(least <= most)) return [0, 1];
  return [least, Math.max(most, least + 1)];
})();

/** When a call is over, or else now. */
function over(place) {
  const ended = call.ended[place];
  return ended === ended ? ended : Math.max(history_.now, finish);
}

/** The live call that scheduled it: -1 if it came from outside any, -2 if that is not known. */
function causeOf(place) {
  return call.scheduled[place] === call.scheduled[place] ? call.scheduledBy[place] : call.createdBy[place];
}

function causeTime(place) {
  const scheduled = call.scheduled[place];
  return scheduled === scheduled ? scheduled : call.created[place];
}

/** The causes of a call up to the first, the nearest first. */
function causesOf(place) {
  const causes = [];
  for (let at = causeOf(place); at >= 0 && at !== place && causes.length <= count; at = causeOf(at)) causes.push(at);
  return causes;
}

/** Effects, as lists in two arrays: those of `place` stand from `from[place]` on. */
const effects = (() => {
  const from = new Int32Array(count + 1);
  for (let i = 0; i < count; i++) if (causeOf(i) >= 0) from[causeOf(i) + 1]++;
  for (let i = 0; i < count; i++) from[i + 1] += from[i];
  const list = new Int32Array(from[count]);
  const next = from.slice();
  for (let i = 0; i < count; i++) if (causeOf(i) >= 0) list[next[causeOf(i)]++] = i;
  return { of: (place) => list.subarray(from[place], from[place + 1]) };
})();

function duration(nanos) {
  const absolute = Math.abs(nanos);
  if (absolute >= 6e10) {
    const seconds = Math.floor(absolute / 1e9);
    const two = (number) => String(number).padStart(2, "0");
    return `${nanos < 0 ? "-" : ""}${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  }
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (absolute >= size) return `${trim((nanos / size).toPrecision(3))} ${unit}`;
  }
  return `${trim(nanos.toFixed(0))} ns`;
}

const known = (time) => time === time;

function trim(number) {
  return number.includes("e") ? String(Number(number)) : number.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function plural(number, one) {
  return `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
}

// Search.

/** What a call came to, by a word that is searched for, and by the legend. */
const STATES = {
  created: (i) => !call.end[i] && !known(call.scheduled[i]),
  pending: (i) => !call.end[i] && known(call.scheduled[i]) && !known(call.dialed[i]),
  live: (i) => !call.end[i] && known(call.dialed[i]),
  ...Object.fromEntries(ENDS.slice(1).map((end, place) => [end, (i) => call.end[i] === place + 1])),
  late: (i) => lateOf.has(i),
  operation: (i) => operationOf.has(i),
};

const lowered = strings.map((text) => text.toLowerCase());

/** The calls that have all words of a query, as one byte a call; none for an empty query. */
function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const found = new Uint8Array(count).fill(1);
  for (const word of words) {
    const hit = Uint8Array.from(lowered, (text) => (text.includes(word) ? 1 : 0));
    const inString = (place) => place >= 0 && hit[place] === 1;
    const lane = lanes.map(({ name, title }) => inString(name) || title.toLowerCase().includes(word));
    const end = ENDS.map((text) => text !== "" && text.startsWith(word));
    const inOperation = new Set();
    for (const { call: of, name, text } of operations) {
      if (`${name} ${text}`.toLowerCase().includes(word)) inOperation.add(of);
    }
    const inLate = new Set(late.filter((one) => inString(one[3])).map((one) => one[0]));
    const isId = word.startsWith("#");
    for (let i = 0; i < count; i++) {
      if (!found[i]) continue;
      found[i] = isId
        ? Number(ids[i] === word)
        : STATES[word] ? Number(STATES[word](i)) : Number(
            lane[call.lane[i]] || end[call.end[i]] || inString(call.reason[i]) ||
              inString(call.createdAt[i]) || inString(call.scheduledAt[i]) ||
              inOperation.has(i) || inLate.has(i) || inString(originOf.get(i) ?? -1),
          );
    }
  }
  return found;
}
