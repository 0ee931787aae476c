"use strict";
// Arrays as tables of cells.

const $ = id => document.getElementById(id);
function element(tag, className = "", textContent = "", parent = null) {
  const e = Object.assign(document.createElement(tag), {className, textContent});
  parent?.append(e);
  return e;
}

// ---- numbers

const MINUS = "\u2212", signed = text => text.replaceAll("-", MINUS).replace("Infinity", "∞");
const full = (x, digits = 4) => signed(String(+x.toPrecision(digits)));
function brief(x) {  // at most five characters; exactly 0 is a dot, in style.css
  const a = Math.abs(x), sign = x < 0 ? MINUS : "";
  if (x === 0) return "";
  if (Number.isInteger(x) || a === Infinity) return signed(String(x));
  if (a < 0.995) return sign + a.toFixed(2).slice(1);
  return sign + (a < 9.95 ? a.toFixed(1) : a < 999.5 ? a.toFixed(0) : "big");
}
const largest = values =>
  Math.max(0, ...values.flat().filter(Number.isFinite).map(Math.abs)) || 1;
// Cells show units of 10ⁿ, so that small numbers have digits.
const power = most => most < 0.0995 ? Math.floor(Math.log10(most)) : 0;
const raised = n => [...String(n)].map(digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

/* One array in a box, redrawn in place when its shape is as before. item: name, values (R, C),
   use: its cells' class ("lookup", "logits", "sum", "weights"; "whole" of whole numbers), rows and
   columns: labels, size: words in place of "R × C", scale: what is drawn strongest, marked: [i, j]
   of cells, choose(i, j): told if one is chosen. */
function drawArray(box, item) {
  const {name, values, rows, columns, use = "", marked = []} = item;
  const size = `${values.length} × ${values[0].length}`;
  const most = item.scale || largest(values), n = power(most);
  const key = [name, use, size, rows, columns].join();
  if (box.key !== key) build(box, item);
  box.key = key;
  const unit = n ? `, × 10⁻${raised(-n)}` : "";
  box.querySelector(".kind").textContent = (item.size || size) + unit;
  const table = Object.assign(box.querySelector("table"), {item});
  const outlined = new Set(marked.map(String));
  table.cells.forEach((line, i) => line.forEach((cell, j) => {
    const x = values[i][j], sign = x > 0 ? "positive" : x < 0 ? "negative" : "zero";
    cell.className = `cell ${sign} ${use}${outlined.has(`${i},${j}`) ? " marked" : ""}`;
    cell.style.setProperty("--a", Math.min(1, Math.abs(x) / most).toFixed(3));
    cell.textContent = brief(x / 10 ** n);
    cell.title = `${name}[${rows?.[i] ?? i}, ${columns?.[j] ?? j}] = ${full(x)}`;
  }));
}

function build(box, {name, use, values, rows, columns}) {
  box.replaceChildren();
  const title = element("div", "title", "", box);
  element("b", use, name, title);
  element("span", "kind", "", title);
  const table = element("table", "matrix", "", element("div", "wide", "", box));
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", name);
  const head = element("tr", "", "", element("thead", "", "", table));
  element("td", "", "", head);
  values[0].forEach((_, j) => {
    const label = element("th", "", "", head);
    label.scope = "col";
    for (const word of (columns?.[j] ?? String(j)).split(" ")) element("div", "", word, label);
  });
  const body = element("tbody", "", "", table);
  table.cells = values.map((row, i) => {
    const line = element("tr", "", "", body);
    element("th", "", rows ? rows[i] : i, line).scope = "row";
    return row.map((_, j) => Object.assign(element("td", "cell", "", line),
      {i, j, table, tabIndex: i || j ? -1 : 0}));
  });
}

// Arrays with the signs between them, (H, T, K) as one for each head. Equal rows are named once.
function drawEquation(box, items) {
  const flat = items.flatMap(item => Array.isArray(item.values[0][0])
    ? item.values.map((values, h) => ({...item, values, name: `${item.name}, head ${h}`}))
    : [item]);
  while (box.children.length > flat.length) box.lastChild.remove();
  flat.forEach((item, n) => {
    const term = box.children[n] || element("div", "term", "", box);
    if (!term.firstChild) term.append(element("span", "sign"), element("div", "array"));
    term.firstChild.textContent = item.sign || "";
    term.classList.toggle("bare", n > 0 && String(flat[n - 1].rows) === String(item.rows));
    drawArray(term.lastChild, item);
  });
}

// ---- a chosen cell

function mark(cell, factors = []) {
  for (const other of document.querySelectorAll(".chosen, .factor"))
    other.classList.remove("chosen", "factor");
  for (const other of factors) other.classList.add("factor");
  cell.classList.add("chosen");
}
function addRow(table, texts, classes) {
  const row = element("tr", classes, "", table);
  texts.forEach((text, k) => element(k ? "td" : "th", "", text, row));
}
function drawTerms(table, terms, total) {  // terms: [label, term], or [label, factor, factor]
  const some = terms.filter(([, x, y]) => y === undefined || x && y);
  const zeros = terms.length - some.length, products = some.map(([, x, y = 1]) => x * y);
  const decimals = 2 - Math.floor(Math.log10(largest([[...products, total]])));
  const fixed = x => signed(x.toFixed(Math.max(0, Math.min(12, decimals))));
  some.forEach(([label, x, y], k) => addRow(table,
    [label, y === undefined ? "" : `${full(x, 3)} · ${full(y, 3)}`, fixed(products[k])]));
  const count = `sum of ${some.length}${zeros ? `, ${zeros} more are 0` : ""}`;
  addRow(table, [count, "", fixed(total)], "total");
}

// One cell of each array is in the order of Tab; the arrow keys move from it.
document.addEventListener("focusin", ({target: {table, i, j}}) => table?.item.choose?.(i, j));
const plainKey = event => !(event.ctrlKey || event.altKey || event.metaKey) &&
  {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
document.addEventListener("keydown", event => {
  const cell = event.target.closest(".cell[tabindex]"), move = plainKey(event);
  if (!cell || !move) return;
  event.preventDefault();
  event.stopPropagation();
  const next = cell.table.cells[cell.i + move[0]]?.[cell.j + move[1]];
  if (!next) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}, true);
