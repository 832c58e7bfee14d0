// What is in view: where it goes, and how it gets there.

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
  for (const one of AXES) document.getElementById(`axis-${one}`).setAttribute("aria-pressed", one === kind);
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
