// Drawing marks, and the call in focus.

let markTimes = new Float64Array(0);

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
  const band = bands[bandOf[call.lane[place]]];
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
