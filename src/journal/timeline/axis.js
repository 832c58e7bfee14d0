"use strict";
// The axis: time as it passed; with idle time folded; or by order, a step for each instant. Where things are
// drawn are places on the axis; durations that are shown are always of time.

const AXES = ["time", "folded", "order"];
/** Idle time from so many median distances on is folded. */
const FOLD = 4;

const real = {
  created: call.created, scheduled: call.scheduled, dialed: call.dialed, ended: call.ended, first: call.first,
  operations: operations.map(({ started, canceling, ended }) => ({ started, canceling, ended })),
  late: late.map(([, at]) => at), begin, finish, now: history_.now,
};

/** All instants at which something happened, in order. */
const instants = (() => {
  let many = late.length + 3 * operations.length + 2;
  const columns = [call.created, call.scheduled, call.dialed, call.ended];
  const all = new Float64Array(many + 4 * count);
  let at = 0;
  const add = (time) => {
    if (time >= 0) all[at++] = time;
  };
  for (const column of columns) column.forEach(add);
  for (const { started, canceling, ended } of operations) [started, canceling, ended].forEach(add);
  for (const [, time] of late) add(time);
  add(begin);
  add(finish);
  const sorted = all.subarray(0, at).sort();
  let kept = 0;
  for (let i = 0; i < at; i++) if (!kept || sorted[i] !== sorted[kept - 1]) sorted[kept++] = sorted[i];
  return sorted.slice(0, kept);
})();

/** The places of the instants on the axis. */
let places = instants;
let axis = "time";

function placesOn(kind) {
  if (kind === "time") return instants;
  const to = new Float64Array(instants.length);
  const gaps = Float64Array.from(instants.subarray(1), (at, i) => at - instants[i]).sort();
  const usual = Math.max(1, gaps[gaps.length >> 1] ?? 1);
  const folded = (gap) => (gap <= FOLD * usual ? gap : FOLD * usual * (1 + Math.log2(gap / (FOLD * usual)) / 4));
  to[0] = begin;
  for (let i = 1; i < to.length; i++) {
    to[i] = to[i - 1] + (kind === "order" ? 1000 : folded(instants[i] - instants[i - 1]));
  }
  return to;
}

function between(from, to, value) {
  if (from === to) return value;
  const last = from.length - 1;
  if (value <= from[0]) return to[0] + value - from[0];
  if (value >= from[last]) return to[last] + value - from[last];
  const i = lowerBound(from, value);
  if (from[i] === value) return to[i];
  return to[i - 1] + ((value - from[i - 1]) / (from[i] - from[i - 1])) * (to[i] - to[i - 1]);
}

/** The time of a place on the axis. */
const timeAt = (place) => between(places, instants, place);
const placeAt = (time) => between(instants, places, time);

/** How much of the time nothing happens: from it the page decides how it opens. */
function idleShare() {
  const on = placesOn("folded");
  return 1 - (on[on.length - 1] - on[0]) / Math.max(1, real.finish - real.begin);
}

function setAxis(kind) {
  axis = kind;
  places = placesOn(kind);
  for (const step of ["created", "scheduled", "dialed", "ended", "first"]) {
    call[step] = kind === "time" ? real[step] : real[step].map((time) => (known(time) ? placeAt(time) : NaN));
  }
  real.operations.forEach((times, o) => {
    for (const step in times) operations[o][step] = times[step] < 0 ? times[step] : placeAt(times[step]);
  });
  const next = new Map();
  late.forEach(([of], i) => {
    const nth = next.get(of) ?? 0;
    lateOf.get(of)[nth].at = placeAt(real.late[i]);
    next.set(of, nth + 1);
  });
  [begin, finish] = [placeAt(real.begin), placeAt(real.finish)];
  history_.now = Math.max(finish, placeAt(real.now));
  placed = turns.map(({ polled, began, ended }) => ({
    polled: polled < 0 ? -1 : placeAt(polled), began: placeAt(began), ended: ended < 0 ? history_.now : placeAt(ended),
  }));
  layOut();
  markTimes = Float64Array.from(marks, (mark) => mark.at);
}
