// What is shown of a call: in the tooltip, and beside the timeline. Text only ever becomes text.

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  Object.assign(made, attributes);
  return made;
}

function nameOf(place) {
  if (place < 0) return place === -2 ? "a call that is not in the journal any more" : "outside any call";
  const lane = lanes[call.lane[place]];
  if (lane.name >= 0) return `${ids[place]} to ${strings[lane.name]}${lane.label < 0 ? "" : ` (${strings[lane.label]})`}`;
  return call.created[place] === call.created[place] ? `${ids[place]}, a function call` : ids[place];
}

function turnTime(t) {
  const { began, ended } = turns[t];
  return ended < 0 ? "not over" : duration(ended - began);
}

/** The turn in which a call was dialed, or refused; -1 if that is not known. */
function turnOf(place) {
  const at = known(real.dialed[place]) ? real.dialed[place] : call.end[place] === 4 ? real.ended[place] : NaN;
  if (!known(at)) return -1;
  const end = (t) => (turns[t].ended < 0 ? Infinity : turns[t].ended);
  let [from, to] = [0, turns.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (end(middle) < at) from = middle + 1;
    else to = middle;
  }
  const queue = lanes[call.lane[place]].queue;
  while (from < turns.length && turns[from].queue !== queue) from++;
  return from < turns.length && turns[from].began <= at ? from : -1;
}

function inTurn(place) {
  const t = turnOf(place);
  return t < 0 ? "" : ` in turn ${turns[t].number}`;
}

function turnStory(t) {
  const { number, polled, began, ended, dialed, passed } = turns[t];
  const lines = [`${plural(dialed, "call")} dialed${passed ? `, ${passed.toLocaleString("en")} passed over as refused or canceled` : ""}`,
    ended < 0 ? "not over" : `took ${duration(ended - began)}`];
  if (polled >= 0) lines.push(`the reactor polled for ${duration(began - polled)} before`);
  lines.push(`began at ${duration(began - real.begin)}${history_.date < 0 ? "" : `, ${dateOf(began)}`}`);
  return { title: `turn ${number}${queues.size > 1 ? ` of queue ${turns[t].queue}` : ""}`, lines };
}

/** The story of a call: lines of text, some with a place in the code and a call to go to. */
function storyOf(place) {
  const lines = [];
  const [created, scheduled, dialed, ended] = [real.created[place], real.scheduled[place], real.dialed[place], real.ended[place]];
  const by = (text, other) => ({ text: `${text} ${other === -1 ? "from" : "by"} `, other });
  // Who scheduled it, on behalf of the reactor if it was not another call.
  const cause = (text, other) => (other === -1 && originOf.has(place) ? { text: `${text} by ${strings[originOf.get(place)]}` } : by(text, other));
  if (known(created)) {
    const together = known(scheduled) && !ids[place].startsWith("#c"); // only callbacks wait to be called
    lines.push({ ...(together ? cause("created and scheduled", call.createdBy[place]) : by("created", call.createdBy[place])), site: call.createdAt[place], at: created });
    if (known(scheduled) && !together) {
      lines.push({ ...cause("scheduled", call.scheduledBy[place]), site: call.scheduledAt[place], at: scheduled,
        after: `, ${duration(scheduled - created)} later` });
    }
  } else {
    const why = history_.dropped ? "the journal has dropped it" : "the journal did not see it";
    lines.push({ text: `its beginning is not known: ${why}` });
    if (known(scheduled)) lines.push({ ...cause("scheduled", call.scheduledBy[place]), site: call.scheduledAt[place], at: scheduled });
  }
  if (known(dialed)) {
    if (known(scheduled)) lines.push({ text: `waited ${duration(dialed - scheduled)}` });
    if (call.dialedBy[place] !== -1) lines.push({ text: `dialed${inTurn(place)}, nested in `, other: call.dialedBy[place], at: dialed });
    else lines.push({ text: `dialed${inTurn(place)}`, at: dialed });
  }
  const reason = call.reason[place] >= 0 ? `: ${strings[call.reason[place]]}` : "";
  const end = ENDS[call.end[place]];
  if (!end) {
    const stage = known(dialed) ? "live still" : known(scheduled) ? "pending still" : "not scheduled yet";
    lines.push({ text: lostEnds.has(place) ? "its end is not known" : stage });
  } else if (call.end[place] <= 2) {
    lines.push({ text: known(dialed) ? `${end} after ${duration(ended - dialed)}` : end, kind: end, at: ended });
  } else if (end === "canceled") {
    const when = known(scheduled) ? `canceled after ${duration(ended - scheduled)} pending` : known(created) ? "canceled before it was scheduled," : "canceled";
    lines.push({ ...by(when, call.endedBy[place]), after: reason, kind: end, at: ended });
  } else if (end === "abandoned") {
    lines.push({ text: "abandoned: dropped without being called", kind: end, at: ended });
  } else if (call.live[place] !== -1) {
    lines.push({ text: "refused: its recipient was live with call ", other: call.live[place], kind: end, at: ended });
    lines.push(...reached(place));
  } else {
    lines.push({ text: `${end}${reason}`, kind: end, at: ended });
    lines.push(...reached(place));
  }
  for (const { at, by: other, reason } of lateOf.get(place) ?? []) {
    lines.push({ ...by("canceled too late", other), after: `: ${strings[reason]}`, kind: "late", at: timeAt(at) });
  }
  return lines;
}

/** Where the queue reached a call that it refused, and whose handler dialed the queue then. */
function reached(place) {
  const [t, by] = [turnOf(place), call.endedBy[place]];
  if (by === -1) return t < 0 ? [] : [{ text: `reached in turn ${turns[t].number}` }];
  const text = `reached in ${t < 0 ? "a turn" : `turn ${turns[t].number}`}, when `;
  if (by >= 0 && by === call.live[place]) return [{ text: `${text}that call dialed the queue` }];
  return [{ text, other: by, after: " dialed the queue" }];
}

/** What a call without a cause comes from. */
function beginningOf(place) {
  if (causeOf(place) === -2) return "was scheduled by a call that is not in the journal any more";
  return `was scheduled ${originOf.has(place) ? `by ${strings[originOf.get(place)]}` : "from outside any call"}`;
}

/** What was named where a call belongs: by its causes, or else what was named last before it. */
function nameAround(place) {
  for (const at of [place, ...causesOf(place)]) {
    if (nameAt.has(at)) return strings[nameAt.get(at)];
  }
  const last = namedBefore(firstOf(place));
  return last && `${last.name} (by time)`;
}

/** That a call, or its operation, has no bar of its own. */
function undrawn(place) {
  const lines = [];
  if (known(real.scheduled[place]) && pendingRow[place] < 0) {
    const when = liveRow[place] < 0 ? "Not drawn" : "Not drawn while it waited";
    lines.push(`${when}: too many calls of the lane waited at a time, so the curve counts it.`);
  }
  const o = operationOf.get(place);
  if (o !== undefined && operationRow[o] < 0) {
    lines.push(`Its operation is not drawn: too many ran at a time, so the curve counts it.`);
  }
  return lines;
}

function operationStory(o) {
  const operation = { ...operations[o], ...real.operations[o] };
  const lines = [];
  const whose = (other) => ({ text: other === -1 ? " from " : " by ", other });
  if (operation.started >= 0) {
    const { text, other } = whose(operation.startedBy);
    lines.push({ text: `started${text}`, other, site: operation.startedAt, at: operation.started });
  }
  if (operation.canceling >= 0) {
    const { text, other } = whose(operation.cancelingBy);
    lines.push({ text: `canceled${text}`, other, site: operation.cancelingAt, kind: "canceled", at: operation.canceling });
  }
  const took = operation.started >= 0 && operation.ended >= 0 ? `, after ${duration(operation.ended - operation.started)}` : "";
  lines.push({ text: operation.text + took, at: operation.ended });
  return lines;
}

function lineText({ text, other, after = "" }) {
  return other === undefined ? text + after : text + nameOf(other) + after;
}

const tip = document.getElementById("tip");

function showTip(hit, x, y) {
  tip.hidden = !hit;
  if (!hit) return;
  tip.replaceChildren();
  if (hit.turn >= 0) {
    const { title, lines } = turnStory(hit.turn);
    tip.append(element("b", title), ...lines.map((line) => element("div", line)), element("small", "a click shows its calls alone"));
  } else if (hit.curve) {
    const { at, many, most, what, lane } = hit.curve;
    const level = many[lowerBound(at, T(x)) - 1] ?? 0;
    tip.append(element("b", what), element("div", `${level.toLocaleString("en")} here, up to ${most.toLocaleString("en")} at a time in the whole run`));
    if (lane < 0) tip.append(element("small", "a click opens the table by operation"));
  } else if (hit.operation >= 0) {
    const { name, id, upper, call: place } = operations[hit.operation];
    tip.append(element("b", `operation ${name}, ${id}`));
    operationStory(hit.operation).forEach((line) => tip.append(element("div", lineText(line), { className: line.kind ?? "" })));
    if (upper >= 0) tip.append(element("div", `the layer below ${operations[upper].name}, ${operations[upper].id}`));
    if (place >= 0) tip.append(element("small", `its result comes with call ${nameOf(place)}`));
  } else {
    tip.append(element("b", `call ${nameOf(hit.call)}`));
    storyOf(hit.call).forEach((line) => tip.append(element("div", lineText(line), { className: line.kind ?? "" })));
    const caused = effects.of(hit.call).length;
    if (caused) tip.append(element("div", `caused ${plural(caused, "call")}`));
    const o = operationOf.get(hit.call);
    if (o !== undefined) tip.append(element("small", `delivers the result of operation ${operations[o].name}`));
  }
  const room = canvas.parentElement.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, room.width - width - 6))}px`;
  tip.style.top = `${y + 18 + height > room.height ? Math.max(4, y - height - 12) : y + 18}px`;
}

const details = document.getElementById("details");

function showDetails() {
  const place = state.selected;
  const was = details.hidden;
  details.hidden = place < 0;
  if (was !== details.hidden) resize();
  if (place < 0) return;
  details.replaceChildren(element("button", "×", { className: "close", title: "Close (Esc)", onclick: () => select(-1) }));
  details.append(element("h2", `call ${nameOf(place)}`));
  appendLines(storyOf(place));
  const around = nameAround(place);
  if (around) details.append(element("div", `story: ${around}`, { className: "step", id: "around" }));
  for (const line of undrawn(place)) details.append(element("div", line, { className: "note" }));
  const lane = lanes[call.lane[place]];
  if (lane.type >= 0) details.append(element("span", strings[lane.type], { className: "site", title: "the recipient's type" }));
  const o = operationOf.get(place);
  if (o !== undefined) appendOperation(o);
  appendCauses(causesOf(place));
  const caused = effects.of(place);
  appendCalls(`effects: ${plural(caused.length, "call")}`, caused, 40);
}

/** The nearest causes, and the one that began it all. */
function appendCauses(causes) {
  if (!causes.length) return;
  const root = causes.at(-1);
  appendCalls(`${plural(causes.length, "cause")}, the nearest first`, causes, 12);
  details.append(element("h3", "began with"));
  const line = element("div", undefined, { className: "step", id: "root" });
  line.append(linkTo(root), `, which ${beginningOf(root)}`);
  const site = call.scheduledAt[root] >= 0 ? call.scheduledAt[root] : call.createdAt[root];
  if (site >= 0) line.append(element("span", strings[site], { className: "site" }));
  details.append(line);
}

function appendOperation(o) {
  const { name, upper, waits } = operations[o];
  details.append(element("h3", `delivers the result of operation ${name}`));
  appendLines(operationStory(o));
  if (upper >= 0) {
    const line = element("div", "the layer below ", { className: "step" });
    line.append(linkTo(operations[upper].call, `${operations[upper].name}, ${operations[upper].id}`));
    details.append(line);
  }
  appendCalls("waited for", waits, 40);
}

function appendLines(lines) {
  for (const { text, other, after = "", site = -1, kind = "", at } of lines) {
    const line = element("div", text, { className: `step ${kind}` });
    if (at >= 0) line.title = `at ${duration(at - real.begin)}${history_.date < 0 ? "" : `, ${dateOf(at)}`}`;
    if (other !== undefined) line.append(linkTo(other));
    line.append(after);
    if (site >= 0) line.append(element("span", strings[site], { className: "site" }));
    details.append(line);
  }
}

const MORE = 100;

/** The first of some calls, and a link that shows more of them. */
function appendCalls(title, places, first) {
  if (!places.length) return;
  const list = element("div", undefined, { className: "calls" });
  details.append(element("h3", title), list);
  showCalls(list, places, 0, first);
}

function showCalls(list, places, from, to) {
  for (const place of places.slice(from, to)) {
    const line = element("div", undefined, { className: "step" });
    line.append(linkTo(place));
    const o = operationOf.get(place);
    if (o !== undefined) line.append(` with the result of ${operations[o].name},`);
    if (place >= 0) line.append(` ${ENDS[call.end[place]] || (lostEnds.has(place) ? "not known" : "not over")}`);
    list.append(line);
  }
  const left = places.length - to;
  if (left <= 0) return;
  const text = left > MORE ? `${MORE} more of ${left.toLocaleString("en")}` : `and ${left} more`;
  const more = element("button", text, { className: "more" });
  more.onclick = () => {
    more.remove();
    showCalls(list, places, to, to + MORE);
  };
  list.append(more);
}

function linkTo(place, text = nameOf(place)) {
  if (place < 0) return element("span", text);
  const link = element("a", text, { tabIndex: 0, role: "button" });
  link.onclick = (event) => {
    event.stopPropagation(); // not what a click on the row does
    goTo(place);
  };
  link.onkeydown = (event) => event.key === "Enter" && link.onclick(event);
  return link;
}
