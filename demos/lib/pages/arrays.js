// Arrays as tables of cells, with the signs between them, and what a chosen cell is the sum of.

const data = JSON.parse(document.getElementById("data").textContent);
const {arrays, tokens, ids, targets, steps, stops, accumulations, files} = data;
const $ = id => document.getElementById(id);
const DIGITS_UP_TO = 8;                 // columns; beyond, cells are narrow and without digits

const position = t => `${t} ${tokens[ids[t]]}`;
function labels(kind, n) {              // kind: as in lib/walk.py's KINDS, or the texts themselves
  if (Array.isArray(kind)) return kind;
  if (kind === "tokens") return tokens;
  if (kind === "positions") return ids.map((_, t) => position(t));
  if (kind === "rows looked up") return [...new Set(ids)].sort((a, b) => a - b).map(v => tokens[v]);
  return null;
}

// ---- one array; item: as lib/tour.py's Shown

function drawArray(item, parent, offset = 0) {
  const {shape, values, whole} = arrays[item.values], [r, c] = [1, ...shape].slice(-2), most = item.scale || 1;
  const drawn = {r, c, whole, most, digits: c <= DIGITS_UP_TO, wholes: values.every(Number.isInteger)};
  drawn.at = (i, j) => values[offset + i * c + j];
  drawn.unit = drawn.digits ? power(most) : 0;
  const box = element("div", "array", undefined, parent);
  drawTitle(item, drawn, box);
  const wide = element("div", "wide", undefined, box);
  const table = element("table", `matrix${drawn.digits ? "" : " narrow"}`, undefined, wide);
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", `${item.name}, ${r} by ${c}`);
  drawHead(item, drawn, table);
  const body = element("tbody", "", undefined, table);
  for (let i = 0; i < r; i++) drawRow(item, drawn, i, body);
  return Object.assign(table, {item, at: drawn.at});
}

function drawTitle(item, {r, c, unit: n}, box) {
  element("div", `name titles ${item.use}`, item.name, box);
  const sizes = [[r, kindOf(item.rows, "rows")], [c, kindOf(item.columns, "numbers")]].filter(([n]) => n > 1);
  const size = (sizes.length ? sizes : [[1, "number"]]).map(([n, kind]) => `${n} ${kind}`).join(" × ");
  element("div", "kind", [size, unit(n), item.note].filter(Boolean).join("; "), box);
}

function drawHead(item, {c, digits}, table) {
  const head = element("tr", "", undefined, element("thead", "", undefined, table)), columns = labels(item.columns);
  element("td", "", "", head);
  for (let j = 0; j < c; j++) {
    const text = columns ? columns[j] : String(j);
    const th = element("th", "", text.replace(" ", digits ? "\n" : " "), head);
    th.scope = "col";
    th.title = text;
  }
}

function drawRow(item, drawn, i, body) {
  const row = element("tr", "", undefined, body), name = String(nameAt(item.rows, i));
  if (name) element("th", "", name, row).scope = "row";
  else element("td", "", "", row);
  for (let j = 0; j < drawn.c; j++) {
    const cell = element("td", "", undefined, row), x = drawn.at(i, j);
    paint(cell, x, drawn.most, item.use);
    if (drawn.whole) cell.className = "cell id";
    if (item.empty) cell.className = "cell none";
    else if (drawn.whole) cell.textContent = full(x);
    else if (drawn.digits) cell.textContent = brief(typeof x === "number" ? x / 10 ** drawn.unit : x, drawn.wholes);
    if (item.marked.some(([r, c]) => r === i && c === j)) cell.classList.add("marked");
    cell.tabIndex = i || j ? -1 : 0;
    cell.says = nameOf(item, i, j) + (item.empty ? ": nothing yet" : ` = ${full(x)}`);
    if (!cell.textContent) cell.setAttribute("aria-label", cell.says);
  }
}

const kindOf = (kind, other) => Array.isArray(kind) ? "row" : kind || other;
const nameAt = (kind, i) => labels(kind) ? labels(kind)[i] : i;
const nameOf = (item, i, j) =>
  `${item.name}[${[nameAt(item.rows, i), nameAt(item.columns, j)].filter(index => index !== "").join(", ")}]`;

// ---- several, as in an equation

function drawEquation(items, parent) {
  const box = element("div", "arrays", undefined, parent);
  const tables = items.map(item => {
    if (item.sign.startsWith(";")) element("div", "break", undefined, box);
    const term = element("div", "term", undefined, box), sign = item.sign.replace(/^; ?/, "");
    if (sign) element("span", "sign", sign, term);
    return drawArray(item, term);
  });
  tables.forEach(table => { table.all = tables; });
  return tables;
}

// ---- a chosen cell

let chosen = null;
function tell(cell) {
  if (cell === chosen) return;
  chosen = cell;
  const table = cell.closest("table"), i = cell.parentElement.rowIndex - 1, j = cell.cellIndex - 1;
  document.querySelectorAll(".chosen, .factor").forEach(other => other.classList.remove("chosen", "factor"));
  cell.classList.add("chosen");
  const readout = cell.closest(".group").querySelector(".readout");
  readout.replaceChildren();
  element("p", "", cell.says, readout);
  const [sign, a, b] = table.item.of || [], left = table.all?.[a], right = table.all?.[b];
  if (!left || table.item.empty) return;
  const mark = (other, r, c) => other.rows[r + 1].cells[c + 1].classList.add("factor");
  if (sign === "+") {
    mark(left, i, j);
    mark(right, i, j);
    readout.firstChild.textContent +=
      `: ${full(left.at(i, j))} ${left.item.name} + ${full(right.at(i, j))} ${right.item.name}`;
    return;
  }
  const terms = left.item.columns === "positions" ? labels("positions") : labels(left.item.columns) ||
    [...left.rows[0].cells].slice(1).map((_, k) => `number ${k}`);
  const lines = terms.map((name, k) => [name, left.at(i, k), right.at(k, j)]);
  lines.forEach((_, k) => { mark(left, i, k); mark(right, k, j); });
  const some = lines.filter(([, x, y]) => x !== 0 && y !== 0), zeros = lines.length - some.length;
  const list = element("table", "", undefined, readout);
  const line = texts => {
    const row = element("tr", "", undefined, list);
    texts.forEach((text, k) => element(k ? "td" : "th", "", text, row));
  };
  for (const [name, x, y] of some) line([name, `${full(x)} · ${full(y)}`, full(x * y)]);
  line([`sum of ${some.length}` + (zeros ? `; ${zeros} more are 0` : ""), "", full(table.at(i, j))]);
}
reach(tell);
