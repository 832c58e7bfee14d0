// Mouse, touch and keys.

function hitAt(x, y) {
  if (x < view.gutter || y < HEAD) return null;
  const near = hitMark(x, y);
  if (near) return near;
  const time = T(x);
  const slack = ((view.to - view.from) / (view.width - view.gutter)) * 3;
  for (const row of rows) {
    const top = Y(row.y);
    if (row.hidden || row.kind === "marks" || y < top - 1 || y > top + row.height + 1) continue;
    if (row.kind === "curve") return { call: -1, operation: -1, curve: row };
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
  const leads = state.hover && (!state.hover.curve || state.hover.curve.lane < 0);
  canvas.style.cursor = leads ? "pointer" : "";
  showTip(state.hover, x, y);
  redraw();
}

const KEYS = {
  ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2),
  ArrowUp: () => glideTo(view.from, view.to, view.scroll - 90), ArrowDown: () => glideTo(view.from, view.to, view.scroll + 90),
  PageUp: () => glideTo(view.from, view.to, view.scroll - view.height * 0.8),
  PageDown: () => glideTo(view.from, view.to, view.scroll + view.height * 0.8),
  Home: () => glideTo(view.from, view.to, 0), End: () => glideTo(view.from, view.to, contentHeight),
  "Shift+Home": () => glideTo(begin, begin + view.to - view.from), "Shift+End": () => glideTo(finish - view.to + view.from, finish),
  "+": () => zoom(0.6, undefined, true), "=": () => zoom(0.6, undefined, true),
  "-": () => zoom(1 / 0.6, undefined, true), "0": fit, f: fit,
  "/": () => finder.focus(), Enter: () => nextFound(1), "Shift+Enter": () => nextFound(-1), n: () => nextFound(1), N: () => nextFound(-1),
  ",": () => neighbor(-1), ".": () => neighbor(1),
  c: () => withSelected(goToCause), r: () => withSelected(goToRoot), e: () => withSelected(goToEffect), z: () => withSelected(zoomToSelected),
  b: goBack, "Alt+ArrowLeft": goBack, o: () => changeAxis(), s: toggleTable, t: toggleTheme, v: toggleOnly, "?": toggleHelp, Escape: () => select(-1),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || document.getElementById("help").open) return;
  if (event.target === finder) {
    if (event.key === "Enter") {
      nextFound(event.shiftKey ? -1 : 1);
      if (state.order.length) canvas.focus(); // so that the next key is not a letter of the query
    } else if (event.key === "Escape") {
      find((finder.value = ""));
      canvas.focus();
    }
    return;
  }
  if (event.key === "Enter" && event.target !== canvas) return; // is for what has the focus
  const held = event.altKey ? "Alt+" : event.shiftKey ? "Shift+" : "";
  const action = KEYS[held + event.key] ?? (event.altKey ? undefined : (KEYS[event.key] ?? KEYS[event.key.toLowerCase()]));
  if (!action) return;
  event.preventDefault();
  report("");
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
    else if (hit && hit.curve && hit.curve.lane < 0) openTable("operation");
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
for (const kind of AXES) onClick(`axis-${kind}`, () => changeAxis(kind));
onClick("table", toggleTable);
onClick("help-button", toggleHelp);
onClick("next", () => nextFound(1));
onClick("previous", () => nextFound(-1));
finder.addEventListener("input", () => find(finder.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  redraw();
});
