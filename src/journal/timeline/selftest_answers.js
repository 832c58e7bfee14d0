// What the page tries of itself (see selftest.js): what keys and clicks answer, also if they find nothing.

function tryAnswers({ check, key, mouse }) {
  const answered = (...texts) => !message.hidden && texts.every((text) => message.textContent.includes(text));
  select(-1);
  for (const name of ["c", "r", "e", "z"]) {
    key(name);
    check(`${name} without a selection is answered`, answered("No call is selected"), message.textContent);
  }
  key("n");
  check("so is N without a search", answered("Nothing is searched for"), message.textContent);
  const root = ids.findIndex((_, i) => causeOf(i) < 0);
  for (const name of root >= 0 ? ["r", "c"] : []) {
    select(root);
    key(name);
    check(`${name} at a call without a cause is answered`, answered(ids[root], "no call is its cause") && state.selected === root, message.textContent);
  }
  const last = ids.findIndex((_, i) => !effects.of(i).length);
  if (last >= 0) {
    select(last);
    key("e");
    check("E at a call without effects is answered", answered(ids[last], "scheduled no other call"), message.textContent);
  }
  key("Escape");
  check("the next key takes the answer away", message.hidden);
  tryBack({ check, key });
  trySearchKeys({ check, key });
  tryMore({ check });
  tryScrollKeys({ check, key });
  tryUndrawn({ check, mouse });
  tryAxisButtons({ check, key });
  if (named.length) tryNames({ check });
  key("Escape");
  fit();
}

function tryBack({ check, key }) {
  if (count < 3) return;
  visited.length = 0;
  const [from, to] = [view.from, view.to];
  select(0);
  goTo(1);
  select(2);
  zoomToSelected();
  key("b");
  check("B goes back", state.selected === 1, visited.length);
  key("ArrowLeft", { altKey: true });
  const near = (a, b) => Math.abs(a - b) < (to - from) / 1e6 + 1;
  check("so does Alt+Left, to what was in view", state.selected === 0 && near(view.from, from) && near(view.to, to));
  key("b");
  check("the first selection has none before it", state.selected === 0 && !message.hidden);
}

function trySearchKeys({ check, key }) {
  const type = (text) => {
    finder.focus();
    find((finder.value = text));
    finder.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  };
  type(ids[0]);
  check("Enter goes from the search to the chart", document.activeElement === canvas && state.selected === 0);
  key("Enter");
  check("and there to the next match", state.at === 0 && state.order.length === 1);
  type("no such thing anywhere");
  check("a search that finds nothing keeps the focus", document.activeElement === finder && !message.hidden, message.textContent);
  find((finder.value = ""));
  canvas.focus();
}

/** A list that is cut shows the rest on demand. */
function tryMore({ check }) {
  const long = ids.findIndex((_, i) => i < 5000 && causesOf(i).length > 12);
  if (long < 0) return;
  select(long);
  const list = [...details.querySelectorAll("h3")].find((title) => title.textContent.includes("nearest first")).nextSibling;
  const shown = () => list.querySelectorAll(".step").length;
  const before = shown();
  while (list.querySelector(".more")) list.querySelector(".more").click();
  check("“more” shows all causes", before === 12 && shown() === causesOf(long).length, shown());
  select(-1);
}

function tryScrollKeys({ check, key }) {
  const most = Math.max(0, contentHeight - (view.height - HEAD));
  key("Home");
  check("Home scrolls to the first lane", view.scroll === 0);
  key("PageDown");
  check("PageDown scrolls", view.scroll === Math.min(most, view.height * 0.8), view.scroll);
  key("End");
  check("End scrolls to the last lane", Math.abs(view.scroll - most) < 1, `${view.scroll} of ${most}`);
  key("PageUp");
  check("PageUp scrolls back", view.scroll <= Math.max(0, most - view.height * 0.8) + 1);
  key("Home");
}

function tryUndrawn({ check, mouse }) {
  const waits = ids.findIndex((_, i) => known(call.scheduled[i]) && pendingRow[i] < 0);
  if (waits >= 0) {
    select(waits);
    check("a call that is not drawn says so", details.textContent.includes("the curve counts it"), ids[waits]);
    select(-1);
  }
  const band = bands.find(({ title }) => title === "operations");
  if (!beyond.length) return check("all operations are drawn", !band || !band.note.includes("drawn"));
  check("the lane says how many operations are drawn", band.note.endsWith(`${(operations.length - beyond.length).toLocaleString("en")} drawn`), band.note);
  const of = beyond.find((o) => operations[o].call >= 0);
  if (of !== undefined) {
    select(operations[of].call);
    check("an operation that is not drawn says so", details.textContent.includes("operation is not drawn"));
    select(-1);
  }
  fit();
  const row = rows.find(({ kind, lane }) => kind === "curve" && lane < 0);
  scrollTo(row.y);
  draw();
  const [x, y] = [(view.gutter + view.width) / 2, Y(row.y) + row.height / 2];
  mouse("pointermove", x, y);
  check("the title of its lane stays in view", titleY(band) >= Math.min(HEAD, Y(band.bottom) - 2 * ROW) && (view.scroll <= band.top || titleY(band) > Y(band.top)));
  check("pointing at the curve counts it", !tip.hidden && tip.textContent.includes("more operation"), tip.textContent);
  mouse("pointerdown", x, y);
  mouse("pointerup", x, y);
  check("a click on it opens the table by operation", !figures.hidden && table.by === "operation");
  toggleTable();
  mouse("pointerleave", 0, 0);
}

function tryAxisButtons({ check, key }) {
  const was = axis;
  const pressed = () => AXES.filter((kind) => document.getElementById(`axis-${kind}`).getAttribute("aria-pressed") === "true").join();
  for (const kind of AXES) {
    document.getElementById(`axis-${kind}`).click();
    check(`a button sets the axis to ${kind}`, axis === kind && pressed() === kind);
  }
  key("o");
  check("O sets the next", axis === AXES[0] && pressed() === axis);
  changeAxis(was);
}

function tryNames({ check }) {
  const { place, name } = named[0];
  select(place);
  check("a call names its story", document.getElementById("around").textContent === `story: ${name}`);
  select(-1);
  const after = firstOf(place);
  setView(after + (finish - after) / 1000, after + (finish - after) / 900);
  draw();
  const before = namedBefore(T(view.gutter - 1));
  check("what began out of view is named at the edge", before && atEdge === before.name, atEdge);
  const byTime = named.toSorted((a, b) => firstOf(a.place) - firstOf(b.place));
  const next = byTime.findIndex((one, i) => i && firstOf(one.place) > firstOf(byTime[i - 1].place));
  if (next > 0) {
    const [last, gap] = [byTime[next - 1], firstOf(byTime[next].place) - firstOf(byTime[next - 1].place)];
    setView(firstOf(last.place) + gap / 4, firstOf(byTime[next].place) + gap / 2);
    draw();
    check("so it is if the next one is in view", atEdge === last.name, atEdge);
  }
  fit();
  draw();
  check("and not if nothing did", atEdge === "");
}
