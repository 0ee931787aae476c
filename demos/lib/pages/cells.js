"use strict";
// Cells of matrices, in every page: what a number looks like, and how mouse, finger and keyboard reach it.
// The looks are in cells.css.

function element(tag, classes, text, parent) {
  const e = document.createElement(tag);
  if (classes) e.className = classes;
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

// ---- numbers; -inf and nan, which JSON has no numbers for, are texts

const MINUS = "\u2212";
function full(x) {                      // to four significant digits
  return String(typeof x === "number" ? +x.toPrecision(4) : x).replaceAll("-", MINUS).replace("inf", "∞");
}
function brief(x, wholes) {             // at most five characters; wholes: x is one of whole numbers
  if (typeof x === "string") return x === "-inf" ? MINUS + "∞" : x;
  if (x === 0) return "";               // a dot, in cells.css
  const a = Math.abs(x), sign = x < 0 ? MINUS : "";
  if (wholes && a < 1000) return sign + a;
  if (a < 0.995) return sign + a.toFixed(2).slice(1);
  return sign + (a < 9.95 ? a.toFixed(1) : a < 999.5 ? a.toFixed(0) : "big");
}
function largest(values) {              // magnitude
  let most = 0;
  for (const x of values) if (typeof x === "number" && Math.abs(x) > most) most = Math.abs(x);
  return most || 1;
}
function power(most) {                  // n: cells show units of 10ⁿ. 0 unless all numbers are small
  return most < 0.0995 ? Math.floor(Math.log10(most)) : 0;
}
function unit(n) {
  return n ? `×\u00a010⁻${[...String(-n)].map(digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}` : "";
}
function paint(cell, x, most, use = "") {       // use: "logits", "lookup", "sum" or ""
  const sign = x > 0 ? "positive" : x < 0 || x === "-inf" ? "negative" : x === 0 ? "zero" : "none";
  cell.className = `cell ${sign} ${use}`.trim();
  cell.style.setProperty("--a", (typeof x === "number" ? Math.min(1, Math.abs(x) / most) : 0).toFixed(3));
}

// ---- reaching cells: one of each matrix is in the order of Tab, the arrow keys move from it

function reach(told) {                  // told(cell): pointed at, tapped, or focused
  const tell = event => {
    const cell = event.target.closest(".cell[tabindex]");
    if (cell) told(cell);
  };
  for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, tell);
  document.addEventListener("keydown", event => {
    const cell = event.target.closest(".cell[tabindex]");
    const move = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!cell || !move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const rows = [...cell.closest("table").querySelectorAll("tbody tr")].map(row => [...row.querySelectorAll(".cell")]);
    const r = rows.findIndex(row => row.includes(cell)), next = rows[r + move[0]]?.[rows[r].indexOf(cell) + move[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }, true);
}
