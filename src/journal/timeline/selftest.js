// With `#selftest`, the page tries itself: what comes out is written into the page, for a browser
// without a head to find. Used by tests only.

if (flags.has("selftest")) {
  const results = [];
  const check = (what, holds, note = "") => results.push({ what, holds: Boolean(holds), note: String(note) });
  addEventListener("error", (event) => check("no error", false, event.message));
  const key = (name, extra = {}) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, ...extra }));
  const mouse = (type, x, y, extra = {}) => {
    const { left, top } = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new (type === "wheel" ? WheelEvent : PointerEvent)(type, { clientX: left + x, clientY: top + y, bubbles: true, cancelable: true, ...extra }));
  };
  const span = () => view.to - view.from;
  const inks = () => {
    const ratio = window.devicePixelRatio || 1;
    const copy = element("canvas", undefined, { width: canvas.width, height: canvas.height });
    const other = copy.getContext("2d", { willReadFrequently: true });
    other.drawImage(canvas, 0, 0);
    const { data } = other.getImageData(view.gutter * ratio, HEAD * ratio, (view.width - view.gutter) * ratio, 400);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 16) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  };
  try {
    state.still = true;
    fit();
    draw();
    check("everything is in view", view.from <= begin && view.to >= finish);
    check("no string of the history ran", window.evil === undefined);
    if (count === 0 && operations.length === 0) {
      check("the page says that there is nothing", !document.getElementById("empty").hidden);
    } else {
      check("something is drawn", inks() > 3, inks());
      tryZoomAndPan();
      tryCalls();
    }
    tryRest();
    const time = measure();
    check("frames are quick", time < 60, `${time.toFixed(1)} ms at the median`);
  } catch (error) {
    check("no exception", false, error.stack);
  }
  const failed = results.filter((result) => !result.holds);
  const report = element("pre", results.map(({ what, holds, note }) => `${holds ? "ok" : "FAILED"}: ${what}${note && ` (${note})`}`).join("\n"), { id: "selftest" });
  report.dataset.result = failed.length ? "failed" : "passed";
  report.dataset.calls = count;
  document.body.append(report);

  function tryZoomAndPan() {
    const [x, y] = [view.gutter + (view.width - view.gutter) / 3, HEAD + 30];
    const [before, at] = [span(), T(x)];
    mouse("wheel", x, y, { deltaY: -100, ctrlKey: true });
    check("the wheel zooms", span() < before);
    check("it zooms about the mouse", Math.abs(T(x) - at) < span() / 100);
    key("+");
    const close = span();
    key("-");
    check("keys zoom", close < before && span() > close);
    key("+");
    const from = view.from;
    key("ArrowRight");
    check("keys pan", view.from > from);
    const now = view.from;
    mouse("pointerdown", x, y);
    mouse("pointermove", x + 40, y);
    mouse("pointerup", x + 40, y);
    check("dragging pans", view.from < now && state.selected === -1);
    key("f");
    check("F shows everything", view.from <= begin && view.to >= finish);
    for (let i = 0; i < 200; i++) zoom(0.5, x);
    check("zooming in has an end", span() >= LEAST && Number.isFinite(T(x)), span());
    draw();
    key("0");
  }

  function tryCalls() {
    find(ids[0]);
    check("a call is found by its id", state.order.length === 1 && state.order[0] === 0, ids[0]);
    nextFound(1);
    check("going to a match selects it", state.selected === 0 && !details.hidden);
    check("its details name it", details.textContent.includes(ids[0]));
    find("no such thing anywhere");
    check("what is not there is not found", state.order.length === 0);
    const lane = lanes[call.lane[0]];
    find(lane.title.split(" ")[0]);
    check("calls are found by their recipient", state.order.length > 0, state.order.length);
    draw();
    find("");
    const caused = ids.findIndex((_, i) => causeOf(i) >= 0 && liveRow[i] >= 0);
    const place = caused >= 0 ? caused : ids.findIndex((_, i) => liveRow[i] >= 0);
    if (place < 0) return;
    select(place);
    key("z");
    goTo(place);
    draw();
    const x = Math.min(Math.max(X((call.dialed[place] + over(place)) / 2), view.gutter + 1), view.width - 1);
    mouse("pointermove", x, middleOf(place));
    draw();
    check("pointing at a call shows it", !tip.hidden && tip.textContent.includes(ids[place]), tip.textContent);
    check("arrows are drawn where there are causes", caused < 0 || arrows > 0, arrows);
    mouse("pointerleave", 0, 0);
    check("the tooltip goes", tip.hidden);
    if (caused >= 0) {
      key("c");
      check("C goes to the cause", state.selected === causeOf(place));
    }
    for (let i = 0; i < Math.min(count, 2000); i++) storyOf(i).forEach(lineText);
    for (let o = 0; o < Math.min(operations.length, 500); o++) {
      showTip({ operation: o, call: operations[o].call }, 10, 10);
      if (operations[o].call >= 0) select(operations[o].call);
    }
    showTip(null);
    key("Escape");
    check("Escape lets the selection go", state.selected === -1 && details.hidden);
    key("f");
  }

  function tryRest() {
    const before = colors.back;
    key("t");
    draw();
    check("T changes the theme", colors.back !== before && colors.back !== "", `${before} ${colors.back}`);
    key("t");
    check("and back", colors.back === before);
    if (count) {
      const height = contentHeight;
      key("v");
      setView(begin, begin + (finish - begin) / 50);
      draw();
      check("V leaves out what is not in view", contentHeight <= height, `${contentHeight} of ${height}`);
      key("v");
      fit();
      draw();
      check("and takes it in again", contentHeight === height);
    }
    key("?");
    check("? opens the help", document.getElementById("help").open);
    document.getElementById("help").close();
  }

  /** Milliseconds for a frame, at many zooms. */
  function measure() {
    const times = [];
    const [from, to] = [view.from, view.to];
    for (let i = 0; i < 24; i++) {
      const width = (finish - begin) / 1.7 ** i;
      setView(begin + (finish - begin) / 3, begin + (finish - begin) / 3 + width);
      draw();
      times.push(frameTime);
    }
    setView(from, to);
    draw();
    return times.sort((a, b) => a - b)[12];
  }
}
