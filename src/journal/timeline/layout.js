// Where things stand: bands of rows of spans, one below the other. The spans of a row are sorted by start;
// `reach` is the latest end so far, so that the first one in view is found by halving.

const ROW = 18;
const GAP = 10;
const CURVE = 30;
/** More pending calls at a time than this are drawn as a curve. */
const MOST_PENDING = 6;
const MOST_OPERATIONS = 48;
const MOST_NESTED = 24;

/** Recipients of one type, from so many on, share a band: short lives are packed into few rows. */
const MANY_OF_A_TYPE = 24;

const rows = [];
const bands = [];
const liveRow = new Int32Array(count).fill(-1);
const pendingRow = new Int32Array(count).fill(-1);
const operationRow = new Int32Array(operations.length).fill(-1);
const marks = [];
/** The band in which a lane is shown. */
const bandOf = new Int32Array(lanes.length);
/** When turns began and ended, as places on the axis. */
let placed = [];
/** Operations beyond those that are drawn one by one. */
let beyond = [];
let contentHeight = 0;

/** The first place of a sorted array whose value is at least `value`. */
function lowerBound(sorted, value, from = 0, to = sorted.length) {
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

function addRow(row) {
  rows.push({ y: 0, hidden: false, ...row });
  return rows.length - 1;
}

function makeRow(kind, lane, items, startOf, endOf) {
  const start = Float64Array.from(items, startOf);
  const end = Float64Array.from(items, endOf);
  const reach = new Float64Array(items.length);
  let latest = -Infinity;
  for (let i = 0; i < items.length; i++) reach[i] = latest = Math.max(latest, end[i]);
  return addRow({ kind, lane, height: ROW - 4, items: Int32Array.from(items), start, end, reach });
}

/** Puts spans, sorted by start, into the first row that is free; more than `most` go to the last. */
function pack(items, startOf, endOf, most) {
  const packed = [];
  const ends = [];
  for (const item of items) {
    let row = ends.findIndex((end) => end <= startOf(item));
    if (row < 0) row = Math.min(ends.length, most - 1);
    (packed[row] ??= []).push(item);
    ends[row] = Math.max(ends[row] ?? -Infinity, endOf(item));
  }
  return packed;
}

/** How many of the spans overlap, at most. */
function mostAtATime(starts, ends) {
  let most = 0;
  for (let s = 0, e = 0; s < starts.length; s++) {
    while (ends[e] <= starts[s]) e++;
    most = Math.max(most, s + 1 - e);
  }
  return most;
}

/** A row of turns for each queue: from the poll before, if there was one, to the end. */
function layOutTurns(queue) {
  const own = turns.map((_, t) => t).filter((t) => turns[t].queue === queue);
  const startOf = (t) => (placed[t].polled < 0 ? placed[t].began : placed[t].polled);
  own.sort((a, b) => startOf(a) - startOf(b));
  makeRow("turn", -1, own, startOf, (t) => placed[t].ended);
}

function layOut() {
  rows.length = bands.length = marks.length = 0;
  beyond = [];
  for (const places of [liveRow, pendingRow, operationRow]) places.fill(-1);
  const byLane = lanes.map(() => []);
  for (let i = 0; i < count; i++) byLane[call.lane[i]].push(i);
  const addBand = (lane, title, note, layOutRows) => {
    const from = rows.length;
    const drawn = layOutRows();
    bands.push({ lane, title, note: note + (drawn ?? ""), from, to: rows.length, top: 0, bottom: 0, hidden: false });
  };
  for (const queue of new Set(turns.map((turn) => turn.queue))) {
    const many = turns.filter((turn) => turn.queue === queue).length;
    addBand(-1, queues.size > 1 ? `turns · queue ${queue}` : "turns", plural(many, "turn"), () => layOutTurns(queue));
  }
  for (const { lane, members } of groupedLanes()) {
    const calls = members.length > 1 ? members.flatMap((one) => byLane[one]).sort((a, b) => a - b) : byLane[lane];
    const title = members.length > 1 ? `${typeOf(lane)} × ${members.length.toLocaleString("en")}` : lanes[lane].title;
    for (const one of members) bandOf[one] = bands.length;
    addBand(lane, title, plural(calls.length, "call"), () => layOutLane(lane, calls));
  }
  if (operations.length) {
    addBand(-1, "operations", plural(operations.length, "operation"), layOutOperations);
  }
  marks.sort((a, b) => a.at - b.at);
}

/** A recipient's type without its path; of function calls, that. */
function typeOf(lane) {
  const type = lanes[lane].type < 0 ? "functions" : strings[lanes[lane].type];
  const name = /^[A-Za-z_]/.test(type) ? type.replace(/<.*/, "").replace(/^.*::/, "") : type;
  return queues.size > 1 ? `${name} · queue ${lanes[lane].queue}` : name;
}

/** Lanes of a queue by type; those of a type that has many are one. */
function groupedLanes() {
  const groups = new Map();
  lanes.forEach(({ queue, type }, lane) => {
    const key = `${queue} ${type}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(lane);
  });
  const grouped = [];
  for (const members of groups.values()) {
    if (members.length >= MANY_OF_A_TYPE) grouped.push({ lane: members[0], members });
    else for (const lane of members) grouped.push({ lane, members: [lane] });
  }
  return grouped;
}

/** Gives each row its height; those with nothing between two instants can be left out. */
function arrange(only, from, to) {
  let y = 6;
  for (const band of bands) {
    band.top = y;
    band.hidden = only;
    for (let i = band.from; i < band.to; i++) {
      const row = rows[i];
      row.y = y;
      row.hidden = only && !isBusy(row, from, to);
      if (row.hidden) continue;
      band.hidden = false;
      y += row.height + 4;
    }
    if (band.hidden) continue;
    y = band.bottom = Math.max(y, band.top + ROW);
    y += GAP;
  }
  contentHeight = y;
}

function isBusy(row, from, to) {
  const { kind, reach, start, at, many } = row;
  if (kind === "marks") return at[lowerBound(at, from)] <= to;
  if (kind !== "curve") return start[lowerBound(reach, from)] <= to;
  const i = lowerBound(at, from);
  return at[i] <= to || many[i - 1] > 0;
}

function layOutLane(lane, calls) {
  // Live calls: nested ones of function calls below those that they are nested in.
  const dialed = calls.filter((i) => call.dialed[i] === call.dialed[i]);
  const nested = (a, b) => (call.dialedBy[b] === a ? -1 : call.dialedBy[a] === b ? 1 : 0);
  dialed.sort((a, b) => call.dialed[a] - call.dialed[b] || nested(a, b) || over(a) - over(b) || a - b);
  const dialedAt = (i) => call.dialed[i];
  for (const items of pack(dialed, dialedAt, over, MOST_NESTED)) {
    const row = makeRow("live", lane, items, dialedAt, over);
    for (const i of items) {
      liveRow[i] = row;
      if (call.end[i] === 2) marks.push({ at: over(i), row, kind: "panicked", call: i });
    }
  }
  // What came before: created, pending.
  const began = (i) => (call.created[i] === call.created[i] ? call.created[i] : call.scheduled[i]);
  const until = (i) => (call.dialed[i] === call.dialed[i] ? call.dialed[i] : over(i));
  const waiting = calls.filter((i) => began(i) === began(i));
  waiting.sort((a, b) => began(a) - began(b) || a - b);
  const starts = Float64Array.from(waiting, began);
  const ends = Float64Array.from(waiting, until).sort();
  const bad = calls.filter((i) => call.end[i] >= 3);
  if (mostAtATime(starts, ends) <= MOST_PENDING) {
    for (const items of pack(waiting, began, until, MOST_PENDING)) {
      const row = makeRow("pending", lane, items, began, until);
      for (const i of items) pendingRow[i] = row;
    }
  } else {
    addCurve(lane, waiting, until);
  }
  const homeless = bad.filter((i) => pendingRow[i] < 0);
  if (homeless.length) {
    const at = Float64Array.from(homeless, over).sort();
    addRow({ kind: "marks", lane, height: ROW - 4, at });
  }
  for (const i of bad) {
    const row = pendingRow[i] < 0 ? rows.length - 1 : pendingRow[i];
    marks.push({ at: over(i), row, kind: ENDS[call.end[i]], call: i });
  }
  for (const i of calls) {
    for (const { at } of lateOf.get(i) ?? []) {
      const row = liveRow[i] >= 0 ? liveRow[i] : pendingRow[i] >= 0 ? pendingRow[i] : rows.length - 1;
      marks.push({ at, row, kind: "late", call: i });
    }
  }
}

/** A row that shows how many calls are pending. */
function addCurve(lane, waiting, until) {
  const pending = waiting.filter((i) => call.scheduled[i] === call.scheduled[i]);
  addLevels(lane, pending, (i) => call.scheduled[i], until, "pending");
}

/** A row that shows how many of some spans there are at a time. */
function addLevels(lane, items, startOf, endOf, what) {
  const up = Float64Array.from(items, startOf).sort();
  const down = Float64Array.from(items, endOf).sort();
  const at = new Float64Array(up.length + down.length);
  const many = new Int32Array(at.length);
  let most = 0;
  for (let u = 0, d = 0, level = 0; u + d < at.length; ) {
    const place = u + d;
    if (u < up.length && up[u] <= down[d]) {
      at[place] = up[u++];
      level++;
    } else {
      at[place] = down[d++];
      level--;
    }
    many[place] = level;
    most = Math.max(most, level);
  }
  addRow({ kind: "curve", height: CURVE - 4, lane, at, many, most, what });
}

/** Returns how many are drawn one by one, if that is not all. */
function layOutOperations() {
  const endOf = (o) => (operations[o].ended < 0 ? Math.max(history_.now, finish) : operations[o].ended);
  const startOf = (o) => (operations[o].started < 0 ? begin : operations[o].started);
  const depths = operations.map(() => -1);
  const roots = [];
  const trees = new Map();
  const descend = (o, depth, tree) => {
    if (depths[o] >= 0) return;
    depths[o] = depth;
    (tree[depth] ??= []).push(o);
    for (const below of lower[o]) descend(below, depth + 1, tree);
  };
  const plant = (o) => {
    const tree = [];
    descend(o, 0, tree);
    trees.set(o, tree);
    roots.push(o);
  };
  operations.forEach((operation, o) => operation.upper < 0 && plant(o));
  operations.forEach((_, o) => depths[o] < 0 && plant(o)); // whose top is not known, or is itself
  roots.sort((a, b) => startOf(a) - startOf(b));
  const free = [];
  const packed = [];
  for (const root of roots) {
    const tree = trees.get(root);
    // (A lower layer may be known to end later than the one above it.)
    const end = Math.max(...tree.map((level) => level.reduce((latest, o) => Math.max(latest, endOf(o)), 0)));
    let row = 0;
    const fits = (at) => tree.every((_, depth) => (free[at + depth] ?? -Infinity) <= startOf(root));
    while (row < MOST_OPERATIONS && !fits(row)) row++;
    if (row === MOST_OPERATIONS) {
      for (const level of tree) beyond.push(...level);
      continue;
    }
    tree.forEach((level, depth) => {
      free[row + depth] = Math.max(free[row + depth] ?? -Infinity, end);
      const into = (packed[row + depth] ??= []);
      for (const o of level) into.push(o);
    });
  }
  for (const row of packed) {
    row.sort((a, b) => startOf(a) - startOf(b));
    const index = makeRow("operation", -1, row, startOf, endOf);
    for (const o of row) operationRow[o] = index;
  }
  if (!beyond.length) return "";
  const names = new Map();
  for (const o of beyond) names.set(operations[o].name, (names.get(operations[o].name) ?? 0) + 1);
  const most = [...names].sort((a, b) => b[1] - a[1]).map(([name, many]) => `${many.toLocaleString("en")} ${name}`);
  const kinds = most.length > 4 ? [...most.slice(0, 4), `${most.length - 4} other kinds`] : most;
  addLevels(-1, beyond, startOf, endOf, `${plural(beyond.length, "more operation")} (${kinds.join(", ")})`);
  return `, ${(operations.length - beyond.length).toLocaleString("en")} drawn`;
}
