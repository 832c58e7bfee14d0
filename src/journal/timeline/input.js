// Mouse, touch and keys.

const finder = document.getElementById("search");
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const LEAST = 10; // nanoseconds in view, at least
let motion = 0;

function clampView(from, to) {
  const whole = finish - begin;
  const margin = whole * 0.02;
  let span = Math.max(LEAST, Math.min(to - from, whole + 2 * margin));
  const middle = (from + to) / 2;
  from = Math.max(begin - margin, Math.min(middle - span / 2, finish + margin - span));
  return [from, from + span];
}

function setView(from, to) {
  motion++;
  [view.from, view.to] = clampView(from, to);
  redraw();
}

/** Goes to a view, in a few frames. */
function glideTo(from, to, scroll = view.scroll) {
  [from, to] = clampView(from, to);
  const mine = ++motion;
  if (reduced.matches || state.still) {
    [view.from, view.to] = [from, to];
    return scrollTo(scroll);
  }
  const [from0, to0, scroll0, began] = [view.from, view.to, view.scroll, performance.now()];
  const step = () => {
    if (motion !== mine) return;
    const t = Math.min(1, (performance.now() - began) / 160);
    const eased = 1 - (1 - t) ** 3;
    // Widths are interpolated as ratios, so that zooming feels even.
    const span = (to0 - from0) * ((to - from) / (to0 - from0)) ** eased;
    const center = (from0 + to0) / 2 + ((from + to) / 2 - (from0 + to0) / 2) * eased;
    [view.from, view.to] = t === 1 ? [from, to] : [center - span / 2, center + span / 2];
    scrollTo(scroll0 + (scroll - scroll0) * eased);
    if (t < 1) requestAnimationFrame(step);
  };
  step();
}

function zoom(factor, x = (view.gutter + view.width) / 2, glide = false) {
  const at = T(Math.max(view.gutter, x));
  const [from, to] = [at - (at - view.from) * factor, at + (view.to - at) * factor];
  // Where zooming ends, it does not pan either.
  if (factor < 1 && to - from < LEAST) return;
  if (glide) glideTo(from, to);
  else setView(from, to);
}

function pan(part) {
  const by = (view.to - view.from) * part;
  glideTo(view.from + by, view.to + by);
}

function fit() {
  const margin = (finish - begin) * 0.02;
  glideTo(begin - margin, finish + margin, 0);
}

// What is under the mouse.

function hitAt(x, y) {
  if (x < view.gutter || y < HEAD) return null;
  const near = hitMark(x, y);
  if (near) return near;
  const time = T(x);
  const slack = ((view.to - view.from) / (view.width - view.gutter)) * 3;
  for (const row of rows) {
    const top = Y(row.y);
    if (row.hidden || row.kind === "curve" || row.kind === "marks" || y < top - 1 || y > top + row.height + 1) continue;
    let best = null;
    let distance = slack;
    for (let i = lowerBound(row.reach, time - slack), seen = 0; i < row.items.length && row.start[i] <= time + slack && seen < 500; i++, seen++) {
      const off = Math.max(row.start[i] - time, time - row.end[i], 0);
      if (off < distance || (off === 0 && best === null)) [best, distance] = [row.items[i], off];
      if (off === 0) break;
    }
    if (best === null) continue;
    if (row.kind === "turn") return { call: -1, operation: -1, turn: best };
    return row.kind === "operation" ? { call: operations[best].call, operation: best } : { call: best, operation: -1 };
  }
  return null;
}

function hitMark(x, y) {
  const slack = ((view.to - view.from) / (view.width - view.gutter)) * 7;
  let best = null;
  let distance = 8;
  for (let i = lowerBound(markTimes, T(x) - slack); i < marks.length && marks[i].at <= T(x) + slack; i++) {
    const row = rows[marks[i].row];
    if (row.hidden) continue;
    const off = Math.hypot(X(marks[i].at) - x, Y(row.y + row.height / 2) - y);
    if (off < distance) [best, distance] = [marks[i], off];
  }
  return best && { call: best.call, operation: -1 };
}

function hover(x, y) {
  state.hover = hitAt(x, y);
  canvas.style.cursor = state.hover ? "pointer" : "";
  showTip(state.hover, x, y);
  redraw();
}

// Selection and search.

function select(place) {
  state.selected = place;
  showDetails();
  redraw();
}

/** Selects a call, and brings it into view. */
function goTo(place) {
  if (place < 0) return;
  select(place);
  const row = liveRow[place] >= 0 ? liveRow[place] : pendingRow[place];
  const y = row >= 0 ? rows[row].y : bands[bandOf[call.lane[place]]].top;
  const room = view.height - HEAD;
  const scroll = y < view.scroll || y + ROW > view.scroll + room ? y - room / 3 : view.scroll;
  const at = startOf(place);
  const span = view.to - view.from;
  const isIn = at > view.from + span * 0.03 && at < view.to - span * 0.03;
  if (view.only && !isIn) {
    // Rows come and go with what is in view: first there, then to the row.
    glideTo(at - span / 2, at + span / 2);
    setTimeout(() => state.selected === place && glideTo(view.from, view.to, rows[Math.max(row, 0)].y - room / 3), 220);
  } else if (isIn) glideTo(view.from, view.to, scroll);
  else glideTo(at - span / 2, at + span / 2, scroll);
}

function zoomToSelected() {
  const place = state.selected;
  if (place < 0) return;
  const first = causeTime(place);
  const from = first === first ? first : startOf(place);
  const span = Math.max(over(place) - from, LEAST);
  glideTo(from - span * 0.3, over(place) + span * 0.3);
}

function find(query) {
  showMatches(query, search(query));
}

function showMatches(query, found) {
  state.query = query;
  state.found = found;
  for (const entry of document.querySelectorAll("#legend button")) entry.setAttribute("aria-pressed", entry.dataset.state === query);
  state.order = [];
  state.at = -1;
  if (state.found) {
    for (let i = 0; i < count; i++) if (state.found[i]) state.order.push(i);
    state.order.sort((a, b) => startOf(a) - startOf(b));
  }
  showFound();
  redraw();
}

function showFound() {
  const many = state.order.length;
  const text = !state.found ? "" : !many ? "no match" : state.at < 0 ? plural(many, "match").replace("matchs", "matches") : `${(state.at + 1).toLocaleString("en")} of ${many.toLocaleString("en")}`;
  document.getElementById("found").textContent = text;
  for (const id of ["previous", "next"]) document.getElementById(id).hidden = !many;
}

function nextFound(step) {
  const many = state.order.length;
  if (!many) return;
  state.at = state.at < 0 ? (step > 0 ? 0 : many - 1) : (state.at + step + many) % many;
  showFound();
  goTo(state.order[state.at]);
}

/** The call dialed before or after the selected one, in its lane. */
function neighbor(step) {
  const place = state.selected;
  if (place < 0) return count ? goTo(0) : undefined;
  const row = rows[liveRow[place] >= 0 ? liveRow[place] : pendingRow[place]];
  if (!row) return;
  const at = row.items.indexOf(place) + step;
  if (at >= 0 && at < row.items.length) goTo(row.items[at]);
}

/** Leaves out what has nothing in view, or takes it in again. */
function toggleOnly() {
  view.only = !view.only;
  document.getElementById("only").setAttribute("aria-pressed", view.only);
  redraw();
}

/** The next axis: time, idle time folded, order. What is in view stays there. */
function changeAxis(kind = AXES[(AXES.indexOf(axis) + 1) % AXES.length]) {
  const [from, to] = [timeAt(view.from), timeAt(view.to)];
  setAxis(kind);
  document.getElementById("axis").textContent = { time: "Time", folded: "Idle folded", order: "Order" }[kind];
  overview.bars = null;
  state.hover = null;
  setView(placeAt(from), placeAt(to));
}

/** Something legible: all if there is room, or else how it began. */
function openView() {
  fit();
  if (contentHeight <= 2 * view.height || instants.length < 120) return;
  toggleOnly();
  setView(placeAt(instants[0]), placeAt(instants[100]));
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readColors();
  redraw();
}

function toggleHelp() {
  const help = document.getElementById("help");
  if (help.open) help.close();
  else help.showModal();
}

const KEYS = {
  ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2),
  ArrowUp: () => glideTo(view.from, view.to, view.scroll - 90), ArrowDown: () => glideTo(view.from, view.to, view.scroll + 90),
  PageUp: () => glideTo(view.from, view.to, view.scroll - view.height * 0.8),
  PageDown: () => glideTo(view.from, view.to, view.scroll + view.height * 0.8),
  Home: () => glideTo(begin, begin + view.to - view.from), End: () => glideTo(finish - view.to + view.from, finish),
  "+": () => zoom(0.6, undefined, true), "=": () => zoom(0.6, undefined, true),
  "-": () => zoom(1 / 0.6, undefined, true), "0": fit, f: fit,
  "/": () => finder.focus(), n: () => nextFound(1), N: () => nextFound(-1),
  ",": () => neighbor(-1), ".": () => neighbor(1),
  c: () => goTo(state.selected < 0 ? -1 : causeOf(state.selected)),
  e: () => goTo(state.selected < 0 ? -1 : (effects.of(state.selected)[0] ?? -1)),
  z: zoomToSelected, o: () => changeAxis(), s: toggleTable, r: () => goTo(state.selected < 0 ? -1 : (causesOf(state.selected).at(-1) ?? -1)), t: toggleTheme, v: toggleOnly, "?": toggleHelp, Escape: () => select(-1),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  if (event.target === finder) {
    if (event.key === "Enter") nextFound(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      find((finder.value = ""));
      canvas.focus();
    }
    return;
  }
  if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
  const action = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});

let drag = null;
const pointers = new Map();
const inCanvas = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};

canvas.addEventListener("pointerdown", (event) => {
  const [x, y] = inCanvas(event);
  pointers.set(event.pointerId, [x, y]);
  if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
  drag = { x, y, from: view.from, to: view.to, scroll: view.scroll, moved: false, inMap: y < MAP && x >= view.gutter };
  if (drag.inMap) centerFromMap(x);
});

canvas.addEventListener("pointermove", (event) => {
  const [x, y] = inCanvas(event);
  if (pointers.size === 2 && pointers.has(event.pointerId)) return pinch(event.pointerId, x, y);
  if (!drag) return hover(x, y);
  if (drag.inMap) return centerFromMap(x);
  if (Math.hypot(x - drag.x, y - drag.y) > 3) drag.moved = true;
  if (!drag.moved) return;
  canvas.classList.add("dragging");
  showTip(null);
  const by = ((drag.x - x) / (view.width - view.gutter)) * (drag.to - drag.from);
  setView(drag.from + by, drag.to + by);
  scrollTo(drag.scroll + drag.y - y);
});

function release(event) {
  pointers.delete(event.pointerId);
  if (drag && !drag.moved && !drag.inMap && event.type === "pointerup") {
    const hit = hitAt(...inCanvas(event));
    if (hit && hit.turn >= 0) showTurn(hit.turn);
    else select(hit ? hit.call : -1);
  }
  drag = null;
  canvas.classList.remove("dragging");
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => {
  state.hover = null;
  showTip(null);
  redraw();
});
canvas.addEventListener("dblclick", (event) => {
  const hit = hitAt(...inCanvas(event));
  if (hit && hit.call >= 0) zoomToSelected();
});

function centerFromMap(x) {
  const at = begin + ((x - view.gutter) / (view.width - view.gutter)) * (finish - begin);
  const half = (view.to - view.from) / 2;
  setView(at - half, at + half);
}

function pinch(id, x, y) {
  const [other] = [...pointers].filter(([one]) => one !== id).map(([, at]) => at);
  const [x0, y0] = pointers.get(id);
  const before = Math.hypot(x0 - other[0], y0 - other[1]);
  const after = Math.hypot(x - other[0], y - other[1]);
  pointers.set(id, [x, y]);
  drag = null;
  if (before > 10 && after > 10) zoom(before / after, (x + other[0]) / 2);
}

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? view.height : 1;
  const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
  const [x, y] = inCanvas(event);
  // Where there is nothing to scroll, the wheel zooms.
  const scrolls = contentHeight > view.height - HEAD;
  if (event.ctrlKey || event.metaKey || (!scrolls && !event.shiftKey && !dx)) {
    zoom(Math.exp(Math.max(-120, Math.min(120, dy)) * 0.004), x);
  } else {
    const sideways = event.shiftKey ? dx || dy : dx;
    const by = (sideways / (view.width - view.gutter)) * (view.to - view.from);
    if (by) setView(view.from + by, view.to + by);
    if (!event.shiftKey && dy) scrollTo(view.scroll + dy);
  }
  hover(x, y);
}, { passive: false });

const onClick = (id, action) => (document.getElementById(id).onclick = action);
onClick("in", () => zoom(0.5, undefined, true));
onClick("out", () => zoom(2, undefined, true));
onClick("fit", fit);
onClick("only", toggleOnly);
onClick("theme", toggleTheme);
onClick("axis", () => changeAxis());
onClick("table", toggleTable);
onClick("help-button", toggleHelp);
onClick("next", () => nextFound(1));
onClick("previous", () => nextFound(-1));
finder.addEventListener("input", () => find(finder.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  redraw();
});

// Begin.

document.getElementById("summary").textContent =
  `${plural(count, "call")} to ${plural(lanes.filter((lane) => lane.name >= 0).length, "recipient")}, ` +
  `${plural(operations.length, "operation")}${turns.length ? `, ${plural(turns.length, "turn")}` : ""}, ` +
  `in ${duration(count ? real.finish - real.begin : 0)}${history_.date < 0 ? "" : `, from ${dateOf(real.begin)}`}`;
if (history_.dropped) {
  const notice = document.getElementById("notice");
  notice.textContent = `The journal has dropped its ${plural(history_.dropped, "oldest step")}: what happened before is missing here, also the beginning of some calls.`.replace("its 1 oldest", "its oldest");
  notice.hidden = false;
}
document.getElementById("empty").hidden = count > 0 || operations.length > 0;
readColors();
setAxis("time");
new ResizeObserver(resize).observe(canvas.parentElement);
resize();
state.still = true;
const flags = new URLSearchParams(location.hash.slice(1));
changeAxis(AXES.includes(flags.get("axis")) ? flags.get("axis") : idleShare() > 0.3 ? "folded" : "time");
draw();
if (["only", "first", "from", "call", "search"].some((flag) => flags.has(flag))) fit();
else openView();
if (flags.has("light")) setTheme("light");
if (flags.has("dark")) setTheme("dark");
if (flags.has("search")) find((finder.value = flags.get("search")));
if (flags.has("only")) toggleOnly();
if (flags.has("first") && flags.has("last")) {
  const [first, last] = ["first", "last"].map((flag) => ids.indexOf(`#${flags.get(flag)}`));
  if (first >= 0 && last >= 0) {
    const room = (over(last) - call.first[first]) * 0.02;
    setView(call.first[first] - room, over(last) + room);
  }
}
if (flags.has("from") && flags.has("to")) setView(placeAt(real.begin + Number(flags.get("from"))), placeAt(real.begin + Number(flags.get("to"))));
if (flags.has("call")) {
  const place = ids.indexOf(`#${flags.get("call")}`);
  if (place >= 0) goTo(place);
  if (place >= 0 && !flags.has("first") && !flags.has("from")) zoomToSelected();
}
if (flags.has("table")) toggleTable();
if (flags.has("help")) toggleHelp();
draw();
state.still = false;
