"use strict";
// What one looks at, as plain data: drawn, changed, and written into the address.

const OPENS = {text: DATA.text, tied: true, seed: 0, step: DATA.steps, silent: false, moved: null, mode: "ladder", at: 0};
const state = {...OPENS, cell: {matrix: "E", v: 0, j: 0}};
let run, now, runs = 0, timer = null;

function change(part) {
  const next = {...state, ...part}, before = {...state};
  const again = !run || ["text", "tied", "seed"].some(name => next[name] !== run.from[name]);
  if (again) run = Object.assign(learn(next.text, next.tied, next.seed), {from: next, id: ++runs});
  Object.assign(state, next);
  const c = state.cell;
  state.cell = {matrix: run.tied && ["head", "dhead"].includes(c.matrix) ? "E" : !run.tied && ["lookup", "logits"].includes(c.matrix)
    ? {lookup: "dE", logits: "dhead"}[c.matrix] : c.matrix, v: Math.min(c.v, run.vocabulary.length - 1), j: Math.min(c.j, DATA.D - 1)};
  if (again || ["step", "silent", "cell"].some(name => name in part)) state.moved = part.moved ?? null;
  const W = isHead(state.cell.matrix) ? "head" : "E";
  now = look(run, state.step, state.silent, state.moved === null ? null : {...state.cell, matrix: W, value: state.moved});
  draw(again);
  address(before.mode !== state.mode || before.at !== state.at);
}

function draw(again) {
  if (again) drawTrack();
  drawLead();
  drawStep();
  drawMatrices();
  if (state.mode === "ladder") drawLadder();
  drawTour();
  drawNumber();
  for (const [id, on] of Object.entries({one: run.tied, two: !run.tied, silent: state.silent, "to-tour": state.mode === "stop",
                                         "to-lines": state.mode === "line", play: timer !== null}))
    $(id).setAttribute("aria-pressed", on);
  document.body.classList.toggle("untied", !run.tied);
}

// ---- the address: what differs from the page as it opens

function address(entry) {
  const {cell: {matrix, v, j}} = state, parts = new URLSearchParams();
  const put = (name, value, usual) => { if (value !== usual) parts.set(name, value); };
  put("text", state.text, DATA.text);
  put("tied", +state.tied, 1);
  put("start", state.seed, 0);
  put("silent", +state.silent, 0);
  put("step", state.step, DATA.steps);
  put("cell", `${run.vocabulary[v]},${j}${matrix === "E" ? "" : `,${matrix}`}`, `${run.vocabulary[0]},0`);
  if (state.moved !== null) parts.set("value", +state.moved.toPrecision(6));
  if (state.mode !== "ladder") parts.set(state.mode, state.at);
  for (const name of ["embed", "hide", "large"]) if (asked.has(name)) parts.set(name, asked.get(name));
  const hash = `#${parts}`.replaceAll("%2C", ",").replace(/=(&|$)/g, "$1");
  if (hash !== (location.hash || "#")) history[entry ? "pushState" : "replaceState"](null, "", hash);
}
let asked = new URLSearchParams();
function follow() {
  asked = new URLSearchParams(location.hash.slice(1));
  const number = (name, usual, most) => asked.has(name) ? Math.max(0, Math.min(most, parseInt(asked.get(name)) || 0)) : usual;
  const text = (asked.get("text") || DATA.text).trim().split(/\s+/).slice(0, MOST).join(" ");
  const words = text.split(" "), seen = words.length < 2 ? DATA.text : text;
  const [, token, j, matrix] = /^(.*?),(\d+)(?:,(\w+))?$/.exec(asked.get("cell")) || [null, "", "0", "E"];
  const v = Math.max(0, vocabularyOf(seen.split(" ")).indexOf(token)), value = parseFloat(asked.get("value"));
  document.body.classList.toggle("embed", asked.has("embed"));
  document.documentElement.classList.toggle("large", asked.has("large"));
  for (const part of document.querySelectorAll("[data-part]"))
    part.classList.toggle("gone", (asked.get("hide") || "").split(",").includes(part.dataset.part));
  const mode = asked.has("stop") ? "stop" : asked.has("line") ? "line" : "ladder";
  $("text").value = seen;
  change({text: seen, tied: asked.get("tied") !== "0", seed: number("start", 0, 2 ** 32 - 1), silent: asked.get("silent") === "1",
          step: number("step", DATA.steps, DATA.steps), cell: {matrix: SOURCES[matrix] ? matrix : "E", v, j: +j},
          moved: Number.isFinite(value) ? value : null, mode, at: number(mode, 0, ends(mode))});
}

// ---- by hand

const MOST = 16;                        // words
let typing = null;
$("text").addEventListener("input", event => {
  const words = event.target.value.trim().split(/\s+/).filter(Boolean);
  $("complaint").textContent = words.length < 2 ? "Type two words or more." : words.length > MOST ? `Only the first ${MOST} words are read.` : "";
  clearTimeout(typing);
  if (words.length > 1) typing = setTimeout(() => change({text: words.slice(0, MOST).join(" ")}), 30);
});
$("one").addEventListener("click", () => change({tied: true}));
$("two").addEventListener("click", () => change({tied: false}));
$("silent").addEventListener("click", () => change({silent: !state.silent}));
$("start").addEventListener("click", () => change({seed: state.seed + 1}));
$("step").addEventListener("input", event => { pause(); change({step: event.target.valueAsNumber}); });
$("play").addEventListener("click", () => {
  if (timer) return pause();
  if (state.step === DATA.steps) change({step: 0});
  timer = setInterval(() => {
    if (state.step >= DATA.steps) pause();
    else change({step: state.step + 1});
  }, 50);
  draw();
});
function pause() {
  clearInterval(timer);
  timer = null;
  $("play").setAttribute("aria-pressed", "false");
}

// A number of E or of the head is dragged sideways: one unit in 200 pixels.
let held = null;
document.addEventListener("pointerdown", event => {
  const cell = event.target.closest("#E .cell, #head .cell");
  if (cell) held = {x: event.clientX, from: null, matrix: cell.table.item.name, v: cell.i, j: cell.j};
});
document.addEventListener("pointermove", event => {
  if (!held || Math.abs(event.clientX - held.x) < 4 && held.from === null) return;
  if (held.from === null) held.from = (held.matrix === "E" ? now.E : now.head)[held.v][held.j];
  change({cell: {matrix: held.matrix, v: held.v, j: held.j}, moved: held.from + (event.clientX - held.x) / 200});
});
for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, () => { held = null; });

$("large").addEventListener("click", () => {
  asked[asked.has("large") ? "delete" : "set"]("large", "");
  document.documentElement.classList.toggle("large");
  change({});
});
$("copy").addEventListener("click", async () => {
  const {cell} = state, W = isHead(cell.matrix) ? "head" : "E";
  const text = asPython(run, state.step, state.silent, state.moved === null ? null : {value: state.moved}, {...cell, matrix: W});
  let done = true;
  try { await navigator.clipboard.writeText(text); } catch { done = false; }
  $("program").textContent = text;
  $("program-title").textContent = done ? "Copied: a program that prints these digits" : "A program that prints these digits";
  $("dialog").showModal();
});
$("save").addEventListener("click", () => saveSVG(document.querySelector("main")));
$("to-tour").addEventListener("click", () => state.mode === "stop" ? change({mode: "ladder", at: 0}) : go("stop", 0));
$("to-lines").addEventListener("click", () => state.mode === "line" ? change({mode: "ladder", at: 0}) : go("line", 0));
$("close").addEventListener("click", () => change({mode: "ladder", at: 0}));
$("back").addEventListener("click", () => go(state.mode, state.at - 1));
$("on").addEventListener("click", () => state.at === ends(state.mode) ? change({mode: "ladder", at: 0}) : go(state.mode, state.at + 1));
document.addEventListener("keydown", event => {         // ← and → outside of arrays and inputs
  if (state.mode === "ladder" || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, .cell")) return;
  const direction = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!direction) return;
  event.preventDefault();
  go(state.mode, state.at + direction);
});

window.addEventListener("hashchange", follow);
narrow.addEventListener("change", () => draw());
requestAnimationFrame(() => setTimeout(() => { follow(); agree(); }));         // after the first paint

function agree() {                      // with the numbers that NumPy computed for the same sentence
  if (state.text !== DATA.text || !state.tied || state.seed) return;
  const last = run.saved.at(-1), {losses, E} = DATA.reference;
  const apart = Math.max(...losses.map((loss, i) => Math.abs(loss - run.saved[40 * i].loss)),
                         ...last.params[0].flat().map((x, i) => Math.abs(x - E[i])));
  $("agreement").textContent = `This page's losses and its E after ${DATA.steps} steps are one_page.py's to ${full(apart, 1)} ` +
    "(its numbers are kept here with 8 digits).";
}

/* A part of the screen as an SVG file: every box with a background, a border or a text, where it stands. */
function saveSVG(root) {
  const frame = root.getBoundingClientRect(), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const [w, h] = [frame.width, frame.height].map(Math.ceil);
  for (const [name, value] of Object.entries({xmlns: "http://www.w3.org/2000/svg", width: w, height: h, viewBox: `0 0 ${w} ${h}`}))
    svg.setAttribute(name, value);
  drawing("rect", {width: w, height: h, fill: getComputedStyle(document.body).backgroundColor}, svg);
  const walk = node => {
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (!box.width || style.display === "none" || node.tagName === "BUTTON" || node.tagName === "INPUT") return;
    const at = {x: (box.x - frame.x).toFixed(1), y: (box.y - frame.y).toFixed(1)};
    if (node.tagName === "svg") { inline(node, at, box); return; }
    if (!/, 0\)|transparent/.test(style.backgroundColor))
      drawing("rect", {...at, width: box.width, height: box.height, rx: 2, fill: style.backgroundColor}, svg);
    if (node.matches(".negative")) drawing("path", {stroke: style.color, "stroke-width": 1.5,
      d: `M${at.x},${+at.y + box.height - 1}h${box.width.toFixed(1)}`}, svg);
    if (node.matches(".zero")) drawing("circle", {cx: +at.x + box.width / 2, cy: +at.y + box.height / 2, r: 1.5, fill: style.color}, svg);
    for (const child of node.childNodes) {
      if (child.nodeType === 1) walk(child);
      else if (child.textContent.trim()) write(child, style);
    }
  };
  const write = (text, style) => {
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    drawing("text", {x: (box.x - frame.x).toFixed(1), y: (box.y - frame.y + box.height * 0.78).toFixed(1), fill: style.color,
      "font-size": style.fontSize, "font-weight": style.fontWeight, "font-family": style.fontFamily}, svg, text.textContent.trim());
  };
  const inline = (source, {x, y}, box) => {
    const copy = source.cloneNode(true), shapes = [...copy.querySelectorAll("*")];
    Object.entries({x, y, width: box.width, height: box.height}).forEach(([name, value]) => copy.setAttribute(name, value));
    [...source.querySelectorAll("*")].forEach((shape, i) => {
      const style = getComputedStyle(shape);
      for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size"]) shapes[i].style[name] = style[name];
    });
    svg.append(copy);
  };
  walk(root);
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([svg.outerHTML], {type: "image/svg+xml"}));
  link.download = "one-matrix.svg";
  link.click();
}
