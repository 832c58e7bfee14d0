// With `#selftest`, the page tries itself: what comes out is written into the page, for a browser
// without a head to find. Used by tests only.

if (flags.has("speed")) {
  state.still = true;
  document.body.append(element("pre", speedOfPage(), { id: "speed-of-page" }));
}

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
      tryAxes();
      tryTable();
      tryTurns();
      tryAnswers({ check, key, mouse });
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

  function tryAxes() {
    const was = axis;
    const stories = [0, count >> 1, count - 1].filter((i) => i >= 0 && i < count).map((i) => storyOf(i).map(lineText).join());
    for (const kind of AXES) {
      changeAxis(kind);
      fit();
      draw();
      check(`the axis by ${kind} is drawn`, inks() > 3 && finish > begin, inks());
      const now = [0, count >> 1, count - 1].filter((i) => i >= 0 && i < count).map((i) => storyOf(i).map(lineText).join());
      check(`durations are of time on the axis by ${kind}`, now.join() === stories.join());
      const middle = instants[instants.length >> 1];
      check(`places and times agree on the axis by ${kind}`, Math.abs(timeAt(placeAt(middle)) - middle) < 1);
    }
    changeAxis(was);
    fit();
  }

  function tryTable() {
    key("s");
    check("S opens the table", !figures.hidden);
    for (const by of ["recipient", "type", "code", "operation"]) {
      showTable(by);
      const sum = table.rows.reduce((sum, row) => sum + row.calls, 0);
      check(`the table by ${by} counts all`, sum === (by === "operation" ? operations.length : count), sum);
      check(`and says so, by ${by}`, table.rows.length > 1 ? table.all.calls === sum : !table.all);
    }
    showTable("recipient");
    sortTable("calls");
    check("a column sorts", table.rows.every((row, i) => !i || table.rows[i - 1].calls >= row.calls));
    sortTable("handlerWorst");
    const slowest = figures.querySelector("td a");
    if (slowest) slowest.click();
    const took = (i) => real.ended[i] - real.dialed[i];
    check("the worst handler links to its call", !slowest || took(state.selected) === Math.max(...table.rows.map((row) => known(row.handlerWorst) ? row.handlerWorst : 0)));
    select(-1);
    const first = figures.querySelectorAll("tr[tabindex]")[table.all ? 1 : 0];
    if (first) first.click();
    check("a click on a row shows its calls", !first || state.order.length === table.rows[0].calls, state.order.length);
    key("s");
    check("S closes it", figures.hidden);
    for (const entry of document.querySelectorAll("#legend button")) {
      entry.click();
      const is = STATES[entry.dataset.state];
      check(`the legend finds ${entry.dataset.state}`, state.order.every(is) && state.order.length === ids.filter((_, i) => is(i)).length, state.order.length);
      entry.click();
      check("and clears", state.found === null);
    }
    let deepest = -1;
    for (let i = 0, depth = 0; i < Math.min(count, 5000); i++) {
      const causes = causesOf(i).length;
      if (causes > depth) [deepest, depth] = [i, causes];
    }
    if (deepest >= 0) {
      select(deepest);
      const root = causesOf(deepest).at(-1);
      check("the details name the root", document.getElementById("root").textContent.includes(ids[root]), causesOf(deepest).length);
      key("r");
      check("R goes to it", state.selected === root && causeOf(root) < 0);
    }
    const refused = ids.findIndex((_, i) => call.live[i] >= 0);
    if (refused >= 0) {
      select(refused);
      const link = [...details.querySelectorAll("a")].find((one) => one.textContent === nameOf(call.live[refused]));
      check("a refusal links to the live call", link);
      check("and says where it was reached", details.textContent.includes("reached in"));
      const links = [...details.querySelectorAll(":scope > .step a")].map((one) => one.textContent);
      check("no line repeats a link", new Set(links).size === links.length || call.createdBy[refused] === call.live[refused], links);
      if (link) link.click();
      check("and goes there", state.selected === call.live[refused]);
    }
    const drawn = operationRow.reduce((sum, row) => sum + (row >= 0), 0);
    check("each operation is drawn or in the curve", drawn + beyond.length === operations.length, `${drawn} and ${beyond.length}`);
    key("Escape");
    fit();
  }

  function tryTurns() {
    check("times from a minute on are shown by hours", duration(828e11) === "23:00:00" && duration(6e10) === "0:01:00" && duration(599e8) === "59.9 s", duration(828e11));
    for (const [place, origin] of originOf) {
      if (causeOf(place) !== -1) continue;
      check("a call says what it comes from", storyOf(place).some(({ text }) => text.includes(`by ${strings[origin]}`)), strings[origin]);
      break;
    }
    if (!turns.length) return;
    const many = bands.filter(({ title }) => title.startsWith("turns"));
    check("turns are on top", many.length > 0 && bands[0] === many[0]);
    const counted = new Map();
    // (Those that begin or end in the same instant as another one are not distinguished.)
    const apart = (t, other) => !turns[other] || turns[other].queue !== turns[t].queue || turns[other].ended < turns[t].began || turns[other].began > turns[t].ended;
    const sure = new Set(turns.map((_, t) => t).filter((t) => turns[t].ended >= 0 && apart(t, t - 1) && apart(t, t + 1)));
    for (let i = 0; i < count; i++) {
      const t = known(call.dialed[i]) ? turnOf(i) : -1;
      if (t >= 0) counted.set(t, (counted.get(t) ?? 0) + 1);
    }
    // Of a turn whose first steps were dropped, not all calls are known.
    const wrong = [...sure].filter((t) => !history_.dropped && (counted.get(t) ?? 0) !== turns[t].dialed);
    check("each call is in the turn that counted it", !wrong.length, `${wrong.length} of ${turns.length}`);
    const t = [...counted.keys()].sort((a, b) => counted.get(b) - counted.get(a))[0] ?? 0;
    const row = rows.find(({ kind, items }) => kind === "turn" && items.includes(t));
    setView(placed[t].began, placed[t].ended);
    scrollTo(0);
    draw();
    const [from, to] = [Math.max(view.gutter, X(placed[t].began)), Math.min(view.width, X(placed[t].ended))];
    const [x, y] = [(from + to) / 2, Y(row.y) + row.height / 2];
    mouse("pointermove", x, y);
    check("pointing at a turn shows it", !tip.hidden && tip.textContent.includes(`turn ${turns[t].number}`), tip.textContent);
    mouse("pointerdown", x, y);
    mouse("pointerup", x, y);
    check("a click on a turn shows its calls", state.order.length >= (counted.get(t) ?? 0) && state.order.every((i) => turnOf(i) === t), state.order.length);
    find((finder.value = ""));
    mouse("pointerleave", 0, 0);
    fit();
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
    check("from its beginning", document.getElementById("help").scrollTop === 0);
    check("and leads to the questions", document.getElementById("help").textContent.includes("docs/study.md"));
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
