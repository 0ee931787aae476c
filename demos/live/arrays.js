"use strict";
// Arrays as tables of cells.

const $ = id => document.getElementById(id);
function element(tag, classes, text = "", parent) {
  const e = document.createElement(tag);
  if (classes) e.className = classes;
  e.textContent = text;
  if (parent) parent.append(e);
  return e;
}
function drawing(tag, attributes, parent, text = "") {  // of SVG
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.textContent = text;
  parent.append(e);
  return e;
}

// ---- numbers

const MINUS = "\u2212", signed = text => text.replaceAll("-", MINUS).replace("Infinity", "∞");
const full = (x, digits = 4) => signed(String(+x.toPrecision(digits)));
function brief(x, whole) {  // at most five characters; exactly 0 is a dot, in style.css
  const a = Math.abs(x), sign = x < 0 ? MINUS : "";
  if (x === 0) return "";
  if (whole || a === Infinity) return sign + (a === Infinity ? "∞" : a);
  if (a < 0.995) return sign + a.toFixed(2).slice(1);
  return sign + (a < 9.95 ? a.toFixed(1) : a < 999.5 ? a.toFixed(0) : "big");
}
const finite = values => values.flat(2).filter(Number.isFinite).map(Math.abs);
const largest = values => Math.max(0, ...finite(values)) || 1;
const power = most => most < 0.0995 ? Math.floor(Math.log10(most)) : 0;  // cells show units of 10ⁿ
const raised = n => [...String(n)].map(digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
const unit = n => n ? `×\u00a010⁻${raised(-n)}` : "";

/* One array in a box, redrawn in place when its shape is as before. item: name, values (R, C),
   note, use: "lookup", "logits" or "sum", rows and columns: labels, scale: what is drawn strongest,
   marked: [i, j] of cells, choose(i, j, cell): told when one is chosen. */
function drawArray(box, item) {
  const {values, rows, columns, use = ""} = item, R = values.length, C = values[0].length;
  const most = item.scale || largest(values), digits = C <= 15;
  const whole = finite(values).every(Number.isInteger);
  const n = whole ? 0 : power(most), key = [item.name, R, C, whole, rows, columns].join();
  if (box.key !== key) build(box, item, R, C, digits);
  box.key = key;
  const kind = [item.size || `${R} × ${C}`, unit(n), item.note].filter(Boolean).join(", ");
  box.querySelector(".kind").textContent = kind;
  const table = box.querySelector("table"), marked = new Set((item.marked || []).map(String));
  table.item = item;
  table.classList.toggle("whole", whole);
  for (let i = 0; i < R; i++) for (let j = 0; j < C; j++) {
    const x = values[i][j], cell = table.cells[i][j];
    const sign = x > 0 ? "positive" : x < 0 ? "negative" : "zero";
    cell.className = `cell ${sign} ${use}${marked.has(`${i},${j}`) ? " marked" : ""}`;
    cell.style.setProperty("--a", Math.min(1, Math.abs(x) / most).toFixed(3));
    cell.textContent = digits ? brief(x / 10 ** n, whole) : "";
    cell.title = `${nameOf(item, i, j)} = ${full(x)}`;
  }
  return table;
}
const nameOf = ({name, rows, columns}, i, j) => `${name}[${rows?.[i] ?? i}, ${columns?.[j] ?? j}]`;

function build(box, item, R, C, digits) {
  box.replaceChildren();
  const title = element("div", "title", "", box);
  element("b", `name ${item.use || ""}`, item.name, title);
  element("span", "kind", "", title);
  const wide = element("div", "wide", "", box);
  const table = element("table", `matrix${digits ? "" : " narrow"}`, "", wide);
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", `${item.name}, ${R} by ${C}`);
  const head = element("tr", "", "", element("thead", "", "", table));
  element("td", "", "", head);
  for (let j = 0; j < C; j++)
    element("th", "", item.columns ? item.columns[j].replace(" ", "\n") : j, head).scope = "col";
  const body = element("tbody", "", "", table);
  table.cells = item.values.map((_, i) => {
    const line = element("tr", "", "", body);
    element("th", "", item.rows ? item.rows[i] : i, line).scope = "row";
    return item.values[i].map((_, j) => cellOf(line, i, j, table));
  });
}
function cellOf(line, i, j, table) {
  const cell = element("td", "cell", "", line);
  cell.tabIndex = i || j ? -1 : 0;
  return Object.assign(cell, {i, j, table});
}

// Arrays with the signs between them, (H, T, K) as one for each head. bare: rows are named once.
function drawEquation(box, items, bare = true) {
  const flat = items.flatMap(item => Array.isArray(item.values[0][0])
    ? item.values.map((values, h) => ({...item, values, name: `${item.name}, head ${h}`}))
    : [item]);
  while (box.children.length > flat.length) box.lastChild.remove();
  return flat.map((item, n) => {
    const term = box.children[n] || element("div", "term", "", box), sign = item.sign || "";
    if (!term.firstChild) term.append(element("span", "sign"), element("div", "array"));
    term.firstChild.textContent = sign;
    term.firstChild.hidden = !sign;
    term.classList.toggle("bare", bare && n > 0 && String(flat[n - 1].rows) === String(item.rows));
    return drawArray(term.lastChild, item);
  });
}

// ---- a chosen cell

function mark(cell, factors = []) {
  for (const other of document.querySelectorAll(".chosen, .factor"))
    other.classList.remove("chosen", "factor");
  cell.classList.add("chosen");
  factors.forEach(other => other?.classList.add("factor"));
}
function drawTerms(box, terms, total) { // terms: [label, factor, factor], or [label, term]
  const some = terms.filter(([, x, y]) => y === undefined || x && y);
  const zeros = terms.length - some.length;
  const products = some.map(([, x, y]) => y === undefined ? x : x * y), decimals = values =>
    Math.max(0, Math.min(12, 2 - Math.floor(Math.log10(largest([values])))));
  const [first, second, last] = [some.map(term => term[1]), some.map(term => term[2] ?? 0),
                                 [...products, total]].map(decimals);
  const table = element("table", "terms", "", box);
  const line = (...texts) => {
    const row = element("tr", "", "", table);
    texts.forEach((text, k) => element(k ? "td" : "th", "", signed(text), row));
    return row;
  };
  some.forEach(([label, x, y], k) => {
    const factors = y === undefined ? "" : `${x.toFixed(first)} · ${y.toFixed(second)}`;
    line(label, factors, products[k].toFixed(last));
  });
  const count = `sum of ${some.length}${zeros ? `, ${zeros} more are 0` : ""}`;
  line(count, "", total.toFixed(last)).className = "total";
}

// One cell of each array is in the order of Tab; the arrow keys move from it.
for (const kind of ["click", "focusin"]) document.addEventListener(kind, event => {
  const cell = event.target.closest?.(".cell[tabindex]");
  if (cell) cell.table.item.choose?.(cell.i, cell.j, cell);
});
document.addEventListener("keydown", event => {
  const cell = event.target.closest(".cell[tabindex]");
  const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  const move = moves[event.key];
  if (!cell || !move || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  event.stopPropagation();
  const next = cell.table.cells[cell.i + move[0]]?.[cell.j + move[1]];
  if (!next) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}, true);
