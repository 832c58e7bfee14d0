"use strict";
// With `#speed`, the page prints into itself how long it took to load, and takes to draw, zoom and search:
// for the eye, as a machine that is busy takes longer.

function speedOfPage() {
  const timed = (work) => {
    const before = performance.now();
    work();
    return performance.now() - before;
  };
  const loaded = performance.now();
  fit();
  const whole = timed(draw);
  const zooms = [];
  for (let i = 1; i <= 24; i++) {
    const width = (finish - begin) / 1.7 ** i;
    setView(begin + (finish - begin) / 3, begin + (finish - begin) / 3 + width);
    zooms.push(timed(draw));
  }
  zooms.sort((a, b) => a - b);
  const found = timed(() => find("canceled"));
  const matches = state.order.length;
  find("");
  const tabled = timed(() => tableRows("recipient"));
  const pointed = timed(() => hover(view.width / 2, view.height / 2));
  const turned = timed(() => changeAxis("order"));
  const heap = performance.memory ? `, ${Math.round(performance.memory.usedJSHeapSize / 1e6)} MB` : "";
  const ms = (time) => `${time.toFixed(1)} ms`;
  return [
    `${plural(count, "call")}, ${plural(lanes.length, "lane")} in ${plural(bands.length, "band")}, ${plural(turns.length, "turn")}${heap}`,
    `loaded and drawn after ${ms(loaded)}`,
    `all in view ${ms(whole)}; zooms ${ms(zooms[12])} at the median, ${ms(zooms[23])} at worst`,
    `search ${ms(found)} (${plural(matches, "call")}); table ${ms(tabled)}; pointing ${ms(pointed)}; another axis ${ms(turned)}`,
  ].join("\n");
}
