// Selection and search.

const finder = document.getElementById("search");
const message = document.getElementById("message");
/** Earlier selections, the last one at the end, each with what was in view. */
const visited = [];
const MOST_VISITED = 100;

/** Answers a key that found nothing, until something else is done. */
function report(text) {
  message.textContent = text;
  message.hidden = !text;
}

function select(place) {
  report("");
  if (state.selected >= 0 && state.selected !== place) {
    visited.push({ place: state.selected, from: timeAt(view.from), to: timeAt(view.to), scroll: view.scroll });
    if (visited.length > MOST_VISITED) visited.shift();
  }
  state.selected = place;
  showDetails();
  redraw();
}

/** Goes back to the selection before this one, and to what was in view. */
function goBack() {
  const last = visited.pop();
  if (!last) return report("There is no earlier selection.");
  state.selected = -1; // so that back and back again do not alternate
  select(last.place);
  glideTo(placeAt(last.from), placeAt(last.to), last.scroll);
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

/** Does something with the selected call; without one, reports that. */
function withSelected(act) {
  if (state.selected >= 0) act(state.selected);
  else report("No call is selected: click one, or search (/).");
}

/** Goes to the nearest cause of a call. */
function goToCause(place) {
  const cause = causeOf(place);
  if (cause >= 0) goTo(cause);
  else report(`${nameOf(place)} ${beginningOf(place)}: no call is its cause.`);
}

/** Goes to the call that began a chain of causes. */
function goToRoot(place) {
  const root = causesOf(place).at(-1);
  if (root !== undefined) goTo(root);
  else goToCause(place);
}

function goToEffect(place) {
  const [effect] = effects.of(place);
  if (effect !== undefined) goTo(effect);
  else report(`${nameOf(place)} scheduled no other call.`);
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
  report("");
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
  if (!many) return report(state.found ? `No call has “${state.query}”.` : "Nothing is searched for: press / to search.");
  state.at = state.at < 0 ? (step > 0 ? 0 : many - 1) : (state.at + step + many) % many;
  showFound();
  goTo(state.order[state.at]);
}

/** The call dialed before or after the selected one, in its lane. */
function neighbor(step) {
  const place = state.selected;
  if (place < 0) return count ? goTo(0) : report("There are no calls.");
  const row = rows[liveRow[place] >= 0 ? liveRow[place] : pendingRow[place]];
  const at = row ? row.items.indexOf(place) + step : -1;
  if (row && at >= 0 && at < row.items.length) goTo(row.items[at]);
  else report(row ? `${nameOf(place)} is the ${step > 0 ? "last" : "first"} call of its row.` : `${nameOf(place)} is in no row.`);
}
