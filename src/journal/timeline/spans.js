// Drawing what calls and operations went through.

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
      if (row.kind === "turn") [pen.globalAlpha, pen.fillStyle] = [state.found ? 0.3 : 0.6, colors.dim]; // is not searched
      else pen.fillStyle = state.found && found ? colors.found : row.kind === "operation" ? operationColor(items[i]) : color;
      pen.fillRect(x0, y, Math.max(SMALL, Math.min(X(end[next - 1]), x0 + 2 * SMALL) - x0), row.height);
      i = next;
      continue;
    }
    if (x1 >= view.gutter) {
      if (row.kind === "turn") drawTurn(items[i], x1, y, row.height);
      else if (row.kind === "live") drawLive(items[i], x0, x1, y, row.height, color);
      else if (row.kind === "pending") drawPending(items[i], x0, x1, y, row.height, color);
      else drawOperation(items[i], x0, x1, y, row.height);
    }
    i++;
  }
  pen.globalAlpha = 1;
}

function anyFound(row, from, to) {
  if (!state.found) return true;
  if (row.kind === "turn") return true;
  const known = row.kind === "operation" ? (o) => operations[o].call : (i) => i;
  for (let i = from; i < to; i++) {
    const place = known(row.items[i]);
    if (place < 0 || state.found[place] === 1) return true;
  }
  return false;
}

/** A turn and, dotted, the poll before it. */
function drawTurn(t, x1, y, height) {
  const x0 = X(placed[t].began);
  pen.globalAlpha = state.found ? 0.5 : 1;
  if (placed[t].polled >= 0) {
    const [left, right] = clip(X(placed[t].polled), x0);
    if (right - left > SMALL) {
      pen.strokeStyle = colors.dim;
      pen.lineWidth = 1;
      pen.setLineDash([1, 4]);
      pen.beginPath();
      pen.moveTo(left, y + height / 2);
      pen.lineTo(right, y + height / 2);
      pen.stroke();
      pen.setLineDash([]);
      labelOn(`polls ${duration(turns[t].began - turns[t].polled)}`, left, right, y + height / 2);
    }
  }
  const [left, right] = clip(x0, x1);
  if (right <= view.gutter || left >= view.width) return;
  pen.fillStyle = pen.strokeStyle = colors.dim;
  box(left, right - 0.5, y, height, 2);
  const alpha = pen.globalAlpha;
  pen.globalAlpha = 0.28 * alpha;
  pen.fill();
  pen.globalAlpha = alpha;
  const { number, dialed } = turns[t];
  const texts = [`turn ${number}: ${plural(dialed, "call")}, ${turnTime(t)}`, `turn ${number}: ${dialed}`, `${number}`];
  const text = texts.find((text) => textWidth(text) + 8 <= right - Math.max(left, view.gutter));
  if (text) label(text, left, right, y + height / 2, colors.text);
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
  const color = row.lane >= 0 ? laneColor(row.lane) : colors.running;
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
  labelShaded(`${row.what}: up to ${most.toLocaleString("en")} at a time (whole run)`, view.gutter + 6, y + 8);
}

function labelShaded(text, x, y) {
  pen.globalAlpha = 0.75;
  pen.fillStyle = colors.back;
  pen.fillRect(x - 3, y - 7, textWidth(text) + 6, 14);
  pen.globalAlpha = 1;
  pen.fillStyle = colors.dim;
  pen.fillText(text, x, y);
}
