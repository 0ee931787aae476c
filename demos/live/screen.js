"use strict";
// The screen: the ladder, E, its gradient as a sum, the chosen number, and the norms over training.
// `run`, `now` and `state` are page.js's: what was learnt, both passes at this step, and what one looks at.

const position = t => `${t} ${run.words[t]}`;
const positions = () => run.ids.map((_, t) => position(t));
const made = (name, nth = -1) => now.made.filter(([other]) => other === name).at(nth)[1];
const percent = p => p > 0.995 ? "100%" : `${Math.round(100 * p)}%`;

// ---- the ladder: what the stream spells at each rung, below and above it the tokens themselves

function ladderLines() {
  const {ids, targets, vocabulary} = run, plain = tokens => tokens.map(v => ({word: vocabulary[v]}));
  const lines = [{label: "token read", use: "lookup", cells: plain(ids)}];
  for (const rung of now.rungs) for (const {by, probs} of rung.readings) {
    const label = `${rung.name}${state.silent && rung.name !== "looked up" ? " (silenced)" : ""}`;
    const cells = probs.map((p, t) => {
      const v = best(p), read = v === ids[t], next = v === targets[t];
      return {word: vocabulary[v], share: p[v], use: read && next ? "sum" : read ? "lookup" : next ? "logits" : "", p, t,
              says: `${label}, position ${t}, ${by} spells ${vocabulary[v]} with ${percent(p[v])}`};
    });
    lines.push({label, by, cells, counts: [ids, targets].map(tokens => count({probs}, tokens))});
  }
  return [...lines, {label: "token to come", use: "logits", cells: plain(targets)}];
}

function drawLadder() {                 // the token read at the foot; on a narrow screen, at the left
  const lines = ladderLines(), across = !narrow.matches, table = element("table", across ? "" : "upright");
  const th = (text, use, row) => Object.assign(element("th", use, text), {scope: row === across ? "row" : "col"});
  const grid = [[element("td", "", ""), ...run.ids.map((_, t) => th(t, "", false)), ...["says read", "says next"].map(text => th(text, "count", false))]];
  table.cells = [];
  for (const line of across ? [...lines].reverse() : lines) {
    const head = th(line.label, line.use, true), cells = line.cells.map((about, t) => {
      const cell = element("td", about.p ? `cell spelled positive ${about.use}` : `token ${line.use}`, about.word);
      if (!about.p) return cell;
      element("small", "", percent(about.share), cell);
      cell.style.setProperty("--a", about.share.toFixed(3));
      cell.title = about.says;
      const [i, j] = across ? [table.cells.length, t] : [t, table.cells[0]?.length || 0];
      return Object.assign(cell, {about, line, i, j, table, tabIndex: i || j ? -1 : 0});
    });
    if (line.by) {
      element("small", "", `${line.by} spells`, head);
      if (across) table.cells.push(cells);
      else cells.forEach((cell, t) => { (table.cells[t] ||= []).push(cell); });
    }
    grid.push([head, ...cells, ...["lookup", "logits"].map((use, k) => element("td", `count ${use}`, line.counts ? line.counts[k] : ""))]);
  }
  for (const cells of across ? grid : transposed(grid)) element("tr", "", undefined, table).append(...cells);
  table.item = {choose: (i, j, cell) => { mark(cell); drawSpelling(cell.about, cell.line); }};
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "The ladder: what the vector of each position spells on its way");
  $("ladder").replaceChildren(table);
}
const narrow = matchMedia("(max-width: 44rem)");

function drawSpelling({p, t}, {label, by}) {
  const box = $("number");
  box.replaceChildren();
  element("h2", "", `${label}, position ${position(t)}`, box);
  element("p", "", `The final LayerNorm of this vector, times each row of ${by}, through softmax:`, box);
  const table = element("table", "terms", undefined, box);
  for (const v of [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, 8)) {
    const row = element("tr", "", undefined, table);
    element("th", "", run.vocabulary[v], row);
    element("td", "", full(p[v], 3), row);
    element("td", "", v === run.ids[t] ? "the token read" : v === run.targets[t] ? "the token to come" : "", row);
  }
}

function drawLead() {                   // what the ladder says, counted
  const T = run.ids.length, {silent, step} = state, [low, , high] = now.rungs.map(({readings}) => readings);
  const said = (reading, tokens) => `${count(reading, tokens)} of ${T}`, box = $("lead"), say = text => box.append(text);
  const head = high.at(-1), works = !silent && count(low[0], run.ids) >= 0.8 * T && count(head, run.targets) >= 0.8 * T;
  box.replaceChildren(step ? `This small GPT has learnt one sentence, here in your browser. ` : "This small GPT has learnt nothing yet. ");
  element("b", "lookup", `Just looked up in E, ${said(low[0], run.ids)} vectors spell the token read`, box);
  say(silent ? "; with the block silenced, " : "; after the block, ");
  element("b", "logits", `${run.tied ? "the same E" : "the other matrix"} spells the token to come at ${said(head, run.targets)}`, box);
  say(run.tied && works ? ". So one matrix does both jobs: E is one alphabet, and the block turns one letter into the next."
    : !run.tied ? ". Each end has an alphabet of its own: read with the other matrix, a rung need not spell anything."
    : state.moved === null ? "." : ". One number of E has been moved by hand.");
}

// ---- E, and its gradient as the sum of two

const choose = matrix => (v, j) => {
  const {cell} = state;
  if ([matrix, v, j].join() !== [cell.matrix, cell.v, cell.j].join() || !$("value")) change({cell: {matrix, v, j}});
};
const gradients = () => run.tied
  ? [{id: "dE", values: now.grads[0], use: "sum"}, {id: "lookup", values: now.fromLookup, use: "lookup", sign: "="},
     {id: "logits", values: now.fromLogits, use: "logits", sign: "+"}]
  : [{id: "dE", values: now.grads[0], use: "lookup"}, {id: "dhead", values: now.dhead, use: "logits"}];

function drawMatrices() {
  const rows = run.vocabulary, size = `${rows.length} tokens × ${DATA.D}`;
  drawArray($("E"), {name: "E", values: now.E, rows, size, choose: choose("E")});
  $("head").hidden = run.tied;
  if (!run.tied) drawArray($("head"), {name: "head", values: now.head, rows, size, choose: choose("head")});
  const items = gradients(), scale = largest(items.flatMap(item => item.values));
  const names = {dE: "dE", dhead: "dhead", lookup: "lookup", logits: "logits"};
  const sizes = {dE: run.tied ? "gradient of E" : "② one_hotᵀ dx", dhead: "① dlogitsᵀ h", lookup: "② one_hotᵀ dx", logits: "① dlogitsᵀ h"};
  const box = $("sums"), key = String(run.tied);
  if (box.key !== key) box.replaceChildren();
  box.key = key;
  drawEquation(box, items.map(item => (
    {...item, name: names[item.id], size: sizes[item.id], rows, scale, choose: choose(item.id)})), false);
}

// ---- the chosen number: drag it, its gradient, and what that is the sum of

const SOURCES = {E: ["x = one_hot @ E", "logits = h @ E.T"], head: ["logits = h @ E.T"], dE: ["dE += dlogits", "dE += one_hot"],
                 dhead: ["dE += dlogits"], lookup: ["dE += one_hot"], logits: ["dE += dlogits"]};
const lineOf = begin => DATA.lines.findIndex(([text]) => text.trim().startsWith(begin));
const REACH = 1.5;                      // how far a number can be dragged

const isHead = matrix => matrix === "head" || matrix === "dhead" || (matrix === "logits" && !run.tied);
function termsOf(matrix, v, j) {
  const h = made("h"), dlogits = made("dlogits"), dx = made("dx");
  const lookup = run.ids.flatMap((id, t) => id === v ? [[position(t), dx[t][j]]] : []);
  const logits = run.ids.map((_, t) => [position(t), dlogits[t][v], h[t][j]]);
  if (matrix === "lookup" || (matrix === "dE" && !run.tied)) return [lookup, now.fromLookup[v][j]];
  if (matrix === "logits" || matrix === "dhead" || matrix === "head") return [logits, now.fromLogits[v][j]];
  return run.tied ? [[["lookup", now.fromLookup[v][j]], ["logits", now.fromLogits[v][j]]], now.grads[0][v][j]]
    : [lookup, now.fromLookup[v][j]];
}

function drawNumber() {
  const {matrix, v, j} = state.cell, W = isHead(matrix) ? "head" : "E", token = run.vocabulary[v];
  const saved = run.saved[state.step], kept = (W === "E" ? saved.params[0] : saved.head)[v][j];
  const value = state.moved ?? kept, d = (W === "E" ? now.grads[0] : now.dhead)[v][j];
  const by = slope(run, state.step, state.silent, {matrix: W, v, j, value}), box = $("number");
  if (!box.querySelector("#value")) buildNumber(box);
  $("name").textContent = `${W}[${token}, ${j}] =`;
  for (const input of [$("value"), $("drag")]) {
    if (input !== document.activeElement || input.type === "range") input.value = +value.toPrecision(4);
    [input.min, input.max] = input.type === "range" ? [kept - REACH, kept + REACH] : ["", ""];
  }
  $("drag").setAttribute("aria-valuetext", full(value));
  $("put-back").hidden = state.moved === null;
  drawCurve($("curve"), {matrix: W, v, j}, kept, value, d);
  const [lookup, logits] = [now.fromLookup[v][j], now.fromLogits[v][j]];
  $("slopes").replaceChildren();
  const line = (name, number, use = "") => {
    const row = element("tr", "", undefined, $("slopes"));
    element("th", use, name, row);
    element("td", "", signed(number.toPrecision(6)), row);
  };
  line("slope, by differences", by);
  line(`d${W}[${token}, ${j}], by backward`, d, run.tied ? "sum" : W === "E" ? "lookup" : "logits");
  $("terms").replaceChildren();
  const [terms, total] = termsOf(matrix, v, j);
  const what = {E: `d${W}`, head: "dhead"}[matrix] || matrix;
  element("h3", "", `${what}[${token}, ${j}] is the sum of`, $("terms"));
  drawTerms($("terms"), terms, total);
  $("sources").replaceChildren();
  for (const n of SOURCES[matrix].map(lineOf))
    element("div", "", `${DATA.first + n}  ${DATA.lines[n][0].split(" # ")[0].trim()}`, $("sources"));
  markNumber();
}
function buildNumber(box) {
  box.innerHTML = `<h2><label for="value" id="name"></label> <input id="value" type="number" step="0.1">
    <small>drag it, or type</small> <button id="put-back" hidden>put back</button></h2>
    <div class="slide"><svg id="curve" viewBox="0 0 200 84" role="img"></svg>
    <input id="drag" type="range" step="0.001" aria-label="Drag this number of E"></div>
    <div><table class="terms" id="slopes"></table><div id="terms"></div></div><pre id="sources" class="source" aria-label="Lines of one_page.py"></pre>`;
  for (const id of ["value", "drag"]) $(id).addEventListener("input", event => {
    const value = event.target.valueAsNumber;
    if (Number.isFinite(value)) change({moved: value});
  });
  $("put-back").addEventListener("click", () => change({moved: null}));
}
function markNumber() {                 // the same place in E and in every part of its gradient
  const {matrix, v, j} = state.cell;
  const tables = [...document.querySelectorAll("#E table, #head:not([hidden]) table, #sums table")];
  const at = tables.map(table => table.cells[v]?.[j]).filter(Boolean);
  const names = [...(run.tied ? [] : ["head"]), "E", ...gradients().map(item => item.id)];
  const cell = at[names.indexOf(matrix)];
  if (cell) mark(cell, at.filter(other => other !== cell));
}

let curve = {};                         // its losses are computed once for each number, not at each drag
function drawCurve(svg, place, kept, value, d) {
  const key = [run.id, state.step, state.silent, JSON.stringify(place)].join();
  if (curve.key !== key) {
    const xs = Array.from({length: 25}, (_, i) => kept + REACH * (i / 12 - 1));
    curve = {key, xs, losses: lossesAt(run, state.step, state.silent, place, xs)};
  }
  const [low, high] = [Math.min(...curve.losses, now.loss), Math.max(...curve.losses, now.loss)];
  const px = x => 8 + 184 * (x - kept + REACH) / (2 * REACH), py = y => 76 - 68 * (y - low) / (high - low || 1);
  svg.replaceChildren();
  svg.setAttribute("aria-label", `The loss for each value of this number; here ${full(now.loss)}, slope ${full(d)}`);
  drawing("polyline", {class: "loss", points: curve.xs.map((x, i) => `${px(x).toFixed(1)},${py(curve.losses[i]).toFixed(1)}`).join(" ")}, svg);
  const reach = 0.5, ends = [-reach, reach].map(e => [px(value + e), py(now.loss + e * d)]);
  drawing("line", {class: "tangent", x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1]}, svg);
  drawing("circle", {cx: px(value), cy: py(now.loss), r: 4}, svg);
  drawing("text", {x: 100, y: 12, "text-anchor": "middle"}, svg, `loss ${full(now.loss)}`);
}

// ---- who moves E: the norms of both contributions at each step

function drawTrack() {
  const svg = $("track"), saved = run.saved, end = saved.length - 1;
  const norms = saved.flatMap(({lookup, logits}) => [lookup, logits]).filter(Boolean);
  const [low, high] = [Math.log(Math.min(...norms)), Math.log(Math.max(...norms))];
  const x = i => 400 * i / end, y = n => n ? 37 - 34 * (Math.log(n) - low) / (high - low || 1) : 40;
  svg.replaceChildren();
  for (const use of ["lookup", "logits"])
    drawing("polyline", {class: use, points: saved.map((at, i) => `${x(i)},${y(at[use]).toFixed(1)}`).join(" ")}, svg);
  svg.setAttribute("aria-label", "Norms of the two contributions to dE at each step, on a logarithmic scale");
}
function drawStep() {
  const {lookup, logits} = run.saved[state.step], p = Math.exp(-now.loss);
  $("step").max = run.saved.length - 1;
  $("step").value = state.step;
  $("step").setAttribute("aria-valuetext", `step ${state.step}, loss ${full(now.loss)}`);
  const box = $("loss");
  box.replaceChildren();
  element("span", "", `step ${state.step}, loss ${now.loss.toFixed(4)}: the right token gets ${percent(p)}`, box);
  const sizes = element("span", "", "norms of what moves E: ", box);
  element("b", "lookup", `lookup ${full(lookup, 2)}`, sizes);
  sizes.append(" ");
  element("b", "logits", `logits ${full(logits, 2)}`, sizes);
}
