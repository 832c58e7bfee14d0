// Drawing. Only what is in view is looked at, and what is narrower than a pixel or two is drawn
// together: so a frame costs about as much at 100,000 calls as at 1,000.

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const AXIS = 22;
const MAP = 30;
/** Calls with names, which mark what begins there. */
const nameAt = new Map(history_.names);
const named = history_.names.map(([place, name]) => ({ place, name: strings[name] }));
const NAMES = named.length ? 18 : 0;
const HEAD = AXIS + MAP + NAMES;
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
    const at = titleY(band);
    clippedText(band.title + note, 16, at + ROW / 2 - 2, view.gutter - 22);
    if (tall) {
      pen.fillStyle = colors.dim;
      clippedText(band.note, 16, at + ROW * 1.5 - 3, view.gutter - 22);
    }
  }
  pen.fillStyle = colors.line;
  pen.fillRect(view.gutter - 1, HEAD, 1, view.height - HEAD);
}

/** Where the title of a band stands: of one whose top is scrolled off, in view as long as there is room. */
function titleY({ top, bottom }) {
  return Math.max(Y(top), Math.min(HEAD + 2, Y(bottom) - 2 * ROW));
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

/** Text that takes no more than `room`; of a recipient's name, the number stays. */
function clippedText(text, x, y, room) {
  if (textWidth(text) > room) {
    const [tail] = text.match(/\(\d+\).*$/) ?? [""];
    let [from, to] = [0, text.length - tail.length];
    while (from < to) {
      const middle = (from + to + 1) >> 1;
      if (textWidth(`${text.slice(0, middle)}…${tail}`) <= room) from = middle;
      else to = middle - 1;
    }
    text = `${text.slice(0, from)}…${tail}`;
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
  pen.fillRect(0, MAP, view.width, AXIS + NAMES);
  pen.fillStyle = colors.line;
  pen.fillRect(0, HEAD - 1, view.width, 1);
  pen.fillStyle = colors.dim;
  const last = Math.max(step, ticks.at(-1) ?? 0);
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find(([, size]) => last >= size) ?? ["ns", 1];
  const digits = Math.max(0, Math.ceil(Math.log10(size / step) - 1e-9));
  let shown = null;
  for (const tick of ticks) {
    const x = X(tick + begin);
    if (x < view.gutter - 1) continue;
    const time = timeAt(tick + begin) - real.begin;
    let text = axis !== "time" || last >= 6e10 ? duration(time) : `${tick ? (tick / size).toFixed(digits) : 0} ${unit}`;
    // Of several within what a label tells apart, the others are counted from the first.
    if (shown && text === shown.text) text = `+${duration(time - shown.time)}`;
    else shown = { text, time };
    if (x + textWidth(text) + 3 < view.width) pen.fillText(text, x + 3, MAP + AXIS / 2);
  }
  pen.fillText(`${duration(timeAt(view.to) - timeAt(view.from))} in view`, 8, MAP + AXIS / 2);
  drawNames();
}

/** The name at the left edge. */
let atEdge = "";

/** What begins where: as many names as there is room for. */
function drawNames() {
  atEdge = "";
  let free = view.gutter;
  const y = MAP + AXIS + NAMES / 2 - 1;
  let current = namedBefore(T(view.gutter - 1));
  for (const { place, name } of named) {
    const x = X(firstOf(place));
    if (x < view.gutter - 1 || x > view.width) continue;
    if (current && x - view.gutter > 60) drawCurrent(current, x - view.gutter - 12);
    current = null;
    pen.fillStyle = colors.accent;
    if (x < free) {
      pen.fillRect(x, HEAD - 4, 1.5, 4);
      continue;
    }
    pen.fillRect(x, MAP + AXIS, 1.5, NAMES);
    pen.globalAlpha = 0.35;
    pen.fillRect(x, HEAD, 1, view.height - HEAD);
    pen.globalAlpha = 1;
    clippedText(name, x + 4, y, Math.max(60, view.width - x - 8));
    free = x + textWidth(name) + 12;
  }
  if (current) drawCurrent(current, view.width - view.gutter - 8);
}

/** Of what began before that which is in view, the last one, at the left edge. */
function drawCurrent({ name }, room) {
  atEdge = name;
  pen.fillStyle = colors.dim;
  clippedText(`← ${name}`, view.gutter + 4, MAP + AXIS + NAMES / 2 - 1, room);
}

/** The named call that was first seen last of those before an instant; nothing if there is none. */
function namedBefore(at) {
  let last = null;
  for (const one of named) if (firstOf(one.place) < at && (!last || firstOf(one.place) >= firstOf(last.place))) last = one;
  return last;
}

/** When a call is first seen. */
function firstOf(place) {
  return [call.created[place], call.scheduled[place], call.dialed[place]].find(known) ?? over(place);
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
