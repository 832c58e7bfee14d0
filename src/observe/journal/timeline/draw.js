// Drawing. Only what is in view is looked at, and what is narrower than a pixel or two is drawn
// together: so a frame costs about as much at 100,000 calls as at 1,000.

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const AXIS = 22;
const MAP = 30;
const HEAD = AXIS + MAP;
const SMALL = 1.5;
const MARK = { canceled: "×", refused: "⊘", panicked: "✱", abandoned: "!", late: "×" };
const FONT = '11px system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif';

const view = { from: begin, to: finish, scroll: 0, width: 0, height: 0, gutter: 180, only: false };
const state = { hover: null, selected: -1, query: "", found: null, order: [], at: -1 };
let colors = {};
let frame = 0;
let frameTime = 0;

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--${name}`).trim();
  colors = { lanes: get("lanes").split(/\s+/) };
  for (const name of ["back", "panel", "text", "dim", "line", "band", "accent", "found", "canceled", "refused",
    "panicked", "abandoned", "late", "answered", "failed", "running"]) colors[name] = get(name);
}

/** Takes the size that there is. Draws at once, as setting the size clears the canvas. */
function resize() {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  view.width = width;
  view.height = height;
  view.gutter = Math.min(190, Math.round(width * 0.3));
  overview.bars = null;
  scrollTo(view.scroll);
  draw();
}

const X = (time) => view.gutter + ((time - view.from) / (view.to - view.from)) * (view.width - view.gutter);
const T = (x) => view.from + ((x - view.gutter) / (view.width - view.gutter)) * (view.to - view.from);
const Y = (y) => y + HEAD - view.scroll;
const laneColor = (lane) => colors.lanes[lane % colors.lanes.length];

function scrollTo(scroll) {
  view.scroll = Math.max(0, Math.min(scroll, contentHeight - (view.height - HEAD)));
  redraw();
}

function redraw() {
  if (!frame) frame = requestAnimationFrame(() => draw());
}

function draw() {
  cancelAnimationFrame(frame);
  frame = 0;
  const before = performance.now();
  arrange(view.only, view.from, view.to);
  view.scroll = Math.max(0, Math.min(view.scroll, contentHeight - (view.height - HEAD)));
  pen.globalAlpha = 1;
  pen.setLineDash([]);
  pen.fillStyle = colors.back;
  pen.fillRect(0, 0, view.width, view.height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, view.width, view.height - HEAD);
  pen.clip();
  drawBands();
  const ticks = timeTicks();
  drawGrid(ticks);
  pen.save();
  pen.beginPath();
  pen.rect(view.gutter, HEAD, view.width - view.gutter, view.height - HEAD);
  pen.clip();
  for (const row of rows) {
    const y = Y(row.y);
    if (row.hidden || row.kind === "marks" || y + row.height < HEAD || y > view.height) continue;
    if (row.kind === "curve") drawCurve(row, y);
    else drawRow(row, y);
  }
  drawMarks();
  drawFocus();
  pen.restore();
  drawTitles();
  pen.restore();
  drawOverview();
  drawAxis(ticks);
  frameTime = performance.now() - before;
}

function drawBands() {
  let place = 0;
  bands.forEach((band) => {
    if (band.hidden || place++ % 2) return;
    pen.fillStyle = colors.band;
    pen.fillRect(0, Y(band.top) - GAP / 2, view.width, band.bottom - band.top + GAP);
  });
}

function drawTitles() {
  pen.fillStyle = colors.back;
  pen.globalAlpha = 0.9;
  pen.fillRect(0, HEAD, view.gutter - 1, view.height - HEAD);
  pen.globalAlpha = 1;
  drawBandsIn(view.gutter - 1);
  for (const band of bands) {
    const y = Y(band.top);
    if (band.hidden || y > view.height || Y(band.bottom) < HEAD) continue;
    const tall = band.bottom - band.top >= 2 * ROW - 4;
    if (band.lane >= 0) {
      pen.fillStyle = laneColor(band.lane);
      pen.fillRect(6, y, 4, Math.max(ROW - 4, band.bottom - band.top - 4));
    }
    pen.fillStyle = colors.text;
    const note = tall ? "" : ` · ${band.note.replace(/ .*/, "")}`;
    clippedText(band.title + note, 16, y + ROW / 2 - 2, view.gutter - 22);
    if (tall) {
      pen.fillStyle = colors.dim;
      clippedText(band.note, 16, y + ROW * 1.5 - 3, view.gutter - 22);
    }
  }
  pen.fillStyle = colors.line;
  pen.fillRect(view.gutter - 1, HEAD, 1, view.height - HEAD);
}

function drawBandsIn(width) {
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, width, view.height);
  pen.clip();
  drawBands();
  pen.restore();
}

const widths = new Map();
function textWidth(text) {
  let width = widths.get(text);
  if (width === undefined) {
    if (widths.size > 5000) widths.clear();
    widths.set(text, (width = pen.measureText(text).width));
  }
  return width;
}

function clippedText(text, x, y, room) {
  if (textWidth(text) > room) {
    let [from, to] = [0, text.length];
    while (from < to) {
      const middle = (from + to + 1) >> 1;
      if (textWidth(`${text.slice(0, middle)}…`) <= room) from = middle;
      else to = middle - 1;
    }
    text = from ? `${text.slice(0, from)}…` : "";
  }
  pen.fillText(text, x, y);
}

/** Instants for the axis, at a round distance. */
function timeTicks() {
  const least = ((view.to - view.from) * 90) / Math.max(90, view.width - view.gutter);
  const size = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((n) => n * size).find((step) => step >= least);
  const ticks = [];
  for (let at = Math.ceil((view.from - begin) / step) * step; at <= view.to - begin; at += step) ticks.push(at);
  return { ticks, step };
}

function drawGrid({ ticks }) {
  pen.fillStyle = colors.line;
  for (const tick of ticks) pen.fillRect(Math.round(X(tick + begin)), HEAD, 1, view.height - HEAD);
}

function drawAxis({ ticks, step }) {
  pen.fillStyle = colors.panel;
  pen.fillRect(0, MAP, view.width, AXIS);
  pen.fillStyle = colors.line;
  pen.fillRect(0, HEAD - 1, view.width, 1);
  pen.fillStyle = colors.dim;
  const last = Math.max(step, ticks.at(-1) ?? 0);
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find(([, size]) => last >= size) ?? ["ns", 1];
  const digits = Math.max(0, Math.ceil(Math.log10(size / step) - 1e-9));
  for (const tick of ticks) {
    const x = X(tick + begin);
    if (x < view.gutter - 1) continue;
    const text = `${tick ? (tick / size).toFixed(digits) : 0} ${unit}`;
    if (x + textWidth(text) + 3 < view.width) pen.fillText(text, x + 3, MAP + AXIS / 2);
  }
  pen.fillText(`${duration(view.to - view.from)} in view`, 8, MAP + AXIS / 2);
}

// Spans.

const isFound = (place) => !state.found || state.found[place] === 1;

function drawRow(row, y) {
  const { start, end, reach, items } = row;
  const color = row.lane >= 0 ? laneColor(row.lane) : colors.running;
  let i = lowerBound(reach, view.from);
  while (i < items.length && start[i] <= view.to) {
    const [x0, x1] = [X(start[i]), X(end[i])];
    if (x1 - x0 < SMALL) {
      // All that begin within this sliver and are as small: one stroke, as strong as they are many.
      const next = Math.max(i + 1, lowerBound(start, T(x0 + SMALL), i));
      const found = anyFound(row, i, next);
      pen.globalAlpha = (row.kind === "pending" ? 0.45 : 0.95) * (found ? 1 : 0.13);
      pen.fillStyle = state.found && found ? colors.found : row.kind === "operation" ? operationColor(items[i]) : color;
      pen.fillRect(x0, y, Math.max(SMALL, Math.min(X(end[next - 1]), x0 + 2 * SMALL) - x0), row.height);
      i = next;
      continue;
    }
    if (x1 >= view.gutter) {
      if (row.kind === "live") drawLive(items[i], x0, x1, y, row.height, color);
      else if (row.kind === "pending") drawPending(items[i], x0, x1, y, row.height, color);
      else drawOperation(items[i], x0, x1, y, row.height);
    }
    i++;
  }
  pen.globalAlpha = 1;
}

function anyFound(row, from, to) {
  if (!state.found) return true;
  const known = row.kind === "operation" ? (o) => operations[o].call : (i) => i;
  for (let i = from; i < to; i++) {
    const place = known(row.items[i]);
    if (place < 0 || state.found[place] === 1) return true;
  }
  return false;
}

/** The part of a span that is in view; of one that is not, nothing at the edge. */
function clip(x0, x1) {
  const within = (x) => Math.max(view.gutter - 6, Math.min(x, view.width + 6));
  return [within(x0), within(x1)];
}

function box(x0, x1, y, height, radius) {
  pen.beginPath();
  pen.roundRect(x0, y, Math.max(x1 - x0, SMALL), height, Math.max(0, Math.min(radius, (x1 - x0) / 2)));
}

function drawLive(place, x0, x1, y, height, color) {
  pen.globalAlpha = isFound(place) ? 1 : 0.13;
  const [left, right] = clip(x0, x1);
  pen.fillStyle = color;
  box(left, right - 0.5, y, height, 3);
  pen.fill();
  outlineIfFound(place);
  if (call.end[place] === 2) {
    pen.strokeStyle = colors.panicked;
    pen.lineWidth = 2;
    pen.stroke();
  }
  label(ids[place], left, right, y + height / 2, colors.back);
}

function drawPending(place, x0, x1, y, height, color) {
  pen.globalAlpha = isFound(place) ? 1 : 0.13;
  const scheduled = call.scheduled[place];
  const xs = scheduled === scheduled ? X(scheduled) : x1;
  if (xs - x0 > 1) {
    const [left, right] = clip(x0, xs);
    pen.strokeStyle = color;
    pen.lineWidth = 1.5;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(left, y + height / 2);
    pen.lineTo(right, y + height / 2);
    pen.stroke();
    pen.setLineDash([]);
    if (xs >= x1) labelOn(ids[place], left, right, y + height / 2);
  }
  if (xs < x1 - 0.5) {
    const [left, right] = clip(xs, x1);
    box(left + 0.5, right - 0.5, y + 0.5, height - 1, 3);
    pen.fillStyle = color;
    const alpha = pen.globalAlpha;
    pen.globalAlpha = 0.15 * alpha;
    pen.fill();
    pen.globalAlpha = alpha;
    pen.strokeStyle = color;
    pen.lineWidth = 1;
    pen.stroke();
    outlineIfFound(place);
    label(ids[place], left, right, y + height / 2, colors.text);
  }
}

function outlineIfFound(place) {
  if (state.found && state.found[place] === 1) {
    pen.strokeStyle = colors.found;
    pen.lineWidth = 2;
    pen.stroke();
  }
}

function operationColor(o) {
  return { answered: colors.answered, canceled: colors.canceled, failed: colors.failed,
    declined: colors.late }[operations[o].end] ?? colors.running;
}

function drawOperation(o, x0, x1, y, height) {
  const operation = operations[o];
  const found = operation.call < 0 || isFound(operation.call);
  pen.globalAlpha = found ? 1 : 0.13;
  const [left, right] = clip(x0, x1);
  pen.strokeStyle = pen.fillStyle = operationColor(o);
  box(left + 0.5, right - 0.5, y + 0.5, height - 1, 6);
  pen.globalAlpha *= 0.28;
  pen.fill();
  pen.globalAlpha = found ? 1 : 0.13;
  pen.lineWidth = 1;
  pen.stroke();
  if (operation.canceling >= 0) {
    // Hatched from the cancel on.
    const from = Math.max(left, X(operation.canceling));
    pen.save();
    pen.clip();
    pen.beginPath();
    for (let x = from - height; x < right; x += 5) {
      pen.moveTo(Math.max(x, from), y + height - Math.max(0, from - x));
      pen.lineTo(x + height, y);
    }
    pen.globalAlpha *= 0.6;
    pen.stroke();
    pen.fillRect(from - 1, y, 2, height);
    pen.restore();
  }
  const id = operation.id;
  label(textWidth(`${operation.name} ${id}`) + 10 < right - left ? `${operation.name} ${id}` : operation.name,
    left + 3, right, y + height / 2, colors.text);
}

/** Text within a span, if there is room. */
function label(text, left, right, y, color) {
  left = Math.max(left, view.gutter - 1);
  if (right - left < 14 || textWidth(text) + 8 > right - left) return;
  pen.fillStyle = color;
  pen.fillText(text, left + 4, y);
}

/** Text on a line, with the line taken away behind it. */
function labelOn(text, left, right, y) {
  if (textWidth(text) + 24 > right - left) return;
  pen.fillStyle = colors.back;
  pen.fillRect(left + 7, y - 6, textWidth(text) + 6, 12);
  label(text, left + 6, right, y, colors.text);
}

function drawCurve(row, y) {
  const { at, many, most, height } = row;
  const color = laneColor(row.lane);
  const base = y + height;
  pen.beginPath();
  pen.moveTo(view.gutter, base);
  let i = lowerBound(at, view.from);
  let level = i ? many[i - 1] : 0;
  const h = (level) => base - (level / most) * (height - 2);
  pen.lineTo(view.gutter, h(level));
  for (let x = view.gutter; x <= view.width && i < at.length; x++) {
    const next = lowerBound(at, T(x + 1), i);
    if (next === i) continue;
    // The highest of what happens within this pixel, then the last.
    let peak = level;
    const stride = Math.max(1, (next - i) >> 8);
    for (let j = i; j < next; j += stride) peak = Math.max(peak, many[j]);
    pen.lineTo(x, h(level));
    pen.lineTo(x, h(peak));
    level = many[next - 1];
    pen.lineTo(x + 1, h(level));
    i = next;
  }
  pen.lineTo(view.width, h(level));
  pen.lineTo(view.width, base);
  pen.globalAlpha = state.found ? 0.1 : 0.22;
  pen.fillStyle = color;
  pen.fill();
  pen.globalAlpha = state.found ? 0.3 : 1;
  pen.strokeStyle = color;
  pen.lineWidth = 1;
  pen.stroke();
  pen.globalAlpha = 1;
  labelShaded(`pending: up to ${most.toLocaleString("en")}`, view.gutter + 6, y + 8);
}

function labelShaded(text, x, y) {
  pen.globalAlpha = 0.75;
  pen.fillStyle = colors.back;
  pen.fillRect(x - 3, y - 7, textWidth(text) + 6, 14);
  pen.globalAlpha = 1;
  pen.fillStyle = colors.dim;
  pen.fillText(text, x, y);
}

const markTimes = Float64Array.from(marks, (mark) => mark.at);

/** Marks: where they are many, those that are rare come first, then as many as there is room for. */
function drawMarks() {
  pen.font = 'bold 15px system-ui, "Segoe UI", "Noto Sans Symbols2", sans-serif';
  pen.textAlign = "center";
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  const slack = (view.to - view.from) * 0.02;
  const from = lowerBound(markTimes, view.from - slack);
  const to = lowerBound(markTimes, view.to + slack);
  const taken = new Set();
  for (const kinds of [["panicked", "abandoned", "refused"], ["canceled", "late"]]) {
    for (const found of state.found ? [true, false] : [true]) {
      for (let i = from; i < to; i++) {
        const { at, row, kind, call: place } = marks[i];
        if (!kinds.includes(kind) || isFound(place) !== found || rows[row].hidden) continue;
        drawMark(X(at), Y(rows[row].y + rows[row].height / 2), kind, found, taken);
      }
    }
  }
  pen.globalAlpha = 1;
  pen.textAlign = "left";
  pen.font = FONT;
}

function drawMark(x, y, kind, found, taken) {
  if (y < HEAD - 8 || y > view.height + 8) return;
  const slot = Math.round(y) * 16384 + Math.floor(x / 5);
  if (taken.has(slot - 1) || taken.has(slot) || taken.has(slot + 1)) return;
  taken.add(slot);
  pen.globalAlpha = found ? 1 : 0.13;
  pen.strokeStyle = colors.back;
  pen.strokeText(MARK[kind], x, y);
  pen.fillStyle = colors[kind];
  pen.fillText(MARK[kind], x, y);
}

// The call in focus: its whole life, its cause, and its effects.

/** Where a call stands while it is live or, if it never was, while it waited. */
function middleOf(place) {
  const row = liveRow[place] >= 0 ? liveRow[place] : pendingRow[place];
  if (row >= 0) return Y(rows[row].y) + rows[row].height / 2;
  const band = bands[call.lane[place]];
  return Y(band.bottom) - ROW / 2;
}

function startOf(place) {
  const dialed = call.dialed[place];
  return dialed === dialed ? dialed : over(place);
}

let arrows = 0;

function drawFocus() {
  arrows = 0;
  const hovered = state.hover && state.hover.call >= 0 ? state.hover.call : -1;
  if (state.selected >= 0 && state.selected !== hovered) drawLife(state.selected);
  if (hovered >= 0) drawLife(hovered);
}

function drawLife(place) {
  const y = middleOf(place);
  const [created, scheduled] = [call.created[place], call.scheduled[place]];
  const began = created === created ? created : scheduled === scheduled ? scheduled : startOf(place);
  const [x0, x1] = [X(began), X(startOf(place))];
  pen.strokeStyle = colors.accent;
  pen.lineWidth = 2;
  const [left, right] = clip(x0, x1);
  const row = rows[pendingRow[place]];
  if (row) {
    frameSpan(left, right, Y(row.y) + row.height / 2);
  } else {
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(right, y);
    pen.stroke();
  }
  if (liveRow[place] >= 0) frameSpan(...clip(x1, X(over(place))), y);
  let at = place;
  for (let depth = 0; depth < 12; depth++) {
    const cause = causeOf(at);
    if (cause < 0) break;
    arrow(X(causeTime(at)), middleOf(cause), X(startOf(at)), middleOf(at), depth ? 0.45 : 1);
    at = cause;
  }
  const caused = effects.of(place);
  for (let i = 0; i < Math.min(caused.length, 200); i++) {
    const effect = caused[i];
    arrow(X(causeTime(effect)), y, X(startOf(effect)), middleOf(effect), 0.8);
  }
}

function frameSpan(left, right, y) {
  box(left - 1, Math.max(right, left + 2) + 1, y - ROW / 2 + 1, ROW - 2, 3);
  pen.stroke();
}

function arrow(x0, y0, x1, y1, alpha) {
  arrows++;
  pen.globalAlpha = alpha;
  pen.strokeStyle = pen.fillStyle = colors.accent;
  pen.lineWidth = 1.5;
  const bend = 10 + Math.min(60, Math.abs(x1 - x0) / 2 + Math.min(Math.abs(y1 - y0), 200) / 12);
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 5, y1);
  pen.stroke();
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x1 - 7, y1 - 4);
  pen.lineTo(x1 - 7, y1 + 4);
  pen.fill();
  pen.beginPath();
  pen.arc(x0, y0, 2.5, 0, 7);
  pen.fill();
  pen.globalAlpha = 1;
}

// The overview: how much happens when, and what of it is in view.

const overview = { bars: null };

function drawOverview() {
  pen.fillStyle = colors.panel;
  pen.fillRect(0, 0, view.width, MAP);
  const room = Math.max(1, Math.floor(view.width - view.gutter));
  overview.bars ??= countSteps(room);
  pen.fillStyle = colors.dim;
  pen.globalAlpha = 0.7;
  overview.bars.forEach((bar, x) => {
    if (bar) pen.fillRect(view.gutter + x, MAP - 3 - bar * (MAP - 7), 1, bar * (MAP - 7) + 1);
  });
  pen.globalAlpha = 1;
  pen.fillStyle = colors.dim;
  pen.fillText("dials over time", 8, MAP / 2);
  const whole = finish - begin;
  const x0 = view.gutter + ((view.from - begin) / whole) * room;
  const x1 = view.gutter + ((view.to - begin) / whole) * room;
  pen.fillStyle = colors.accent;
  pen.globalAlpha = 0.14;
  const [left, right] = [Math.max(x0, view.gutter), Math.min(x1, view.width)];
  pen.fillRect(left, 1, Math.max(2, right - left), MAP - 2);
  pen.globalAlpha = 1;
  pen.strokeStyle = colors.accent;
  pen.lineWidth = 1;
  pen.strokeRect(left + 0.5, 1.5, Math.max(2, right - left - 1), MAP - 3);
}

function countSteps(room) {
  const bars = new Float64Array(room);
  for (const at of call.dialed) if (at === at) bars[Math.min(room - 1, Math.floor(((at - begin) / (finish - begin)) * room))]++;
  const most = bars.reduce((most, bar) => Math.max(most, bar), 1);
  return bars.map((bar) => (bar ? Math.max(0.12, Math.sqrt(bar / most)) : 0));
}
