// How the page opens: with what the history has, and with what the link to it asks for.

document.getElementById("summary").textContent =
  `${plural(count, "call")} to ${plural(lanes.filter((lane) => lane.name >= 0).length, "recipient")}, ` +
  `${plural(operations.length, "operation")}${turns.length ? `, ${plural(turns.length, "turn")}` : ""}, ` +
  `in ${duration(count ? real.finish - real.begin : 0)}${history_.date < 0 ? "" : `, from ${dateOf(real.begin)}`}`;
if (history_.dropped) {
  const notice = document.getElementById("notice");
  notice.textContent = `The journal has dropped its ${plural(history_.dropped, "oldest step")}: what happened before is missing here, also the beginning of some calls.`.replace("its 1 oldest", "its oldest");
  notice.hidden = false;
}
document.getElementById("empty").hidden = count > 0 || operations.length > 0;
readColors();
setAxis("time");
new ResizeObserver(resize).observe(canvas.parentElement);
resize();
state.still = true;
const flags = new URLSearchParams(location.hash.slice(1));
changeAxis(AXES.includes(flags.get("axis")) ? flags.get("axis") : idleShare() > 0.3 ? "folded" : "time");
draw();
if (["only", "first", "from", "call", "search"].some((flag) => flags.has(flag))) fit();
else openView();
if (flags.has("light")) setTheme("light");
if (flags.has("dark")) setTheme("dark");
if (flags.has("search")) find((finder.value = flags.get("search")));
if (flags.has("only")) toggleOnly();
if (flags.has("first") && flags.has("last")) {
  const [first, last] = ["first", "last"].map((flag) => ids.indexOf(`#${flags.get(flag)}`));
  if (first >= 0 && last >= 0) {
    const room = (over(last) - call.first[first]) * 0.02;
    setView(call.first[first] - room, over(last) + room);
  }
}
if (flags.has("from") && flags.has("to")) setView(placeAt(real.begin + Number(flags.get("from"))), placeAt(real.begin + Number(flags.get("to"))));
if (flags.has("call")) {
  const place = ids.indexOf(`#${flags.get("call")}`);
  if (place >= 0) goTo(place);
  if (place >= 0 && !flags.has("first") && !flags.has("from")) zoomToSelected();
}
if (flags.has("table")) toggleTable();
if (flags.has("help")) toggleHelp();
draw();
state.still = false;
