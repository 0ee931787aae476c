"use strict";
// The page of tied_gradients.py: what each position has put into the number that is pointed at.

function lesson(data) {
  const panel = document.querySelector(".shares"), tables = [...document.querySelectorAll(".contributions table")];
  const uses = ["logits", "lookup", "sum"], positions = data.ids.map((_, t) => t);
  function digits(x) {
    const text = x === 0 || Math.abs(x) >= 1e-4 ? String(Number(x.toPrecision(3))) : x.toExponential(1);
    return (x > 0 ? "+" : "") + text.replaceAll("-", MINUS);
  }

  const fromLogits = (v, d) => positions.map(t => ({use: "logits", t, share: data.dlogits[t][v] * data.h[t][d],
    what: data.targets[t] === v ? `“${data.names[v]}” is to predict: (p ${MINUS} 1)/T · h`
      : `after “${data.names[data.ids[t]]}”: p/T · h`}));
  const fromLookup = (v, d) => positions.filter(t => data.ids[t] === v).map(t => ({
    use: "lookup", t, share: data.dx[t][d], what: `“${data.names[v]}” is looked up: dx`}));

  function tell(use, v, d) {
    const logits = use === "lookup" ? [] : fromLogits(v, d), lookup = use === "logits" ? [] : fromLookup(v, d);
    const shares = [...logits, ...lookup], sum = shares.reduce((total, s) => total + s.share, 0);
    const name = {logits: `dlogitsᵀ h`, lookup: "one_hotᵀ dx", sum: "dE"}[use];
    panel.replaceChildren();
    element("p", "sum", `${name}[${data.names[v]}, ${d}] = ${digits(sum)}`, panel);
    if (use !== "logits" && !lookup.length)
      element("p", "note", `${data.names[v]} is never looked up: from the lookup exactly 0.`, panel);
    if (use === "sum" && lookup.length) element("p", "note",
      `${digits(total(logits))} from the logits, from every position; `
      + `${digits(total(lookup))} from the lookup, from ${lookup.length} of ${positions.length}.`, panel);
    const most = largest(shares.map(s => s.share));
    const body = element("tbody", "", undefined, element("table", "", undefined, panel));
    for (const {use, t, share, what} of shares) {
      const line = element("tr", "", undefined, body);
      element("th", "", `position ${t}`, line).scope = "row";
      element("td", "", what, line).style.textAlign = "left";
      element("td", "", digits(share), line);
      const bars = element("td", "bars", undefined, line);
      const bar = element("span", `bar ${use} ${share < 0 ? "negative" : ""}`, undefined, bars);
      const long = 50 * Math.abs(share) / most;
      bar.style.width = `${long}%`;
      bar.style.left = `${share < 0 ? 50 - long : 50}%`;
    }
  }
  const total = shares => shares.reduce((sum, s) => sum + s.share, 0);

  let chosen = null;
  reach(cell => {
    const table = cell.closest("table"), says = cell.closest(".figures")?.nextElementSibling;
    if (says?.classList.contains("cellsays")) says.textContent = cell.title;
    if (!tables.includes(table)) return;
    const line = cell.parentElement, row = [...line.parentElement.children].indexOf(line);
    const column = [...line.querySelectorAll(".cell")].indexOf(cell);
    if (chosen) chosen.classList.remove("chosen");
    chosen = cell;
    cell.classList.add("chosen");
    tell(uses[tables.indexOf(table)], row, column);
  });
  tell(uses[tables.length - 1] === "sum" ? "sum" : "logits", data.ids[0], 0);
}

lesson(JSON.parse(document.getElementById("lesson-data").textContent));
