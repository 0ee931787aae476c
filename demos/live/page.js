"use strict";
// What one looks at, as plain data: changed here, drawn, and written into the address.

const MOST = 16;  // words of a sentence
const state = {text: DATA.text, tied: true, seed: 0, step: DATA.steps, silent: false, moved: null,
               mode: "ladder", at: 0, cell: {matrix: "E", v: 0, j: 0}};
let run, now, timer;

function change(part) {
  const before = {...state};
  Object.assign(state, part);
  const again = !run || ["text", "tied", "seed"].some(name => before[name] !== state[name]);
  if (again) {
    run = learn(state.text, state.tied, state.seed);
    run.tiedLoss = run.tied ? null : learn(state.text, true, state.seed).saved.at(-1).loss;
  }
  if (again || "silent" in part || "moved" in part) pause();
  const {matrix, v, j} = state.cell;
  const known = run.tied ? ["E", "dE", "lookup", "logits"] : ["E", "head", "dE", "dhead"];
  state.cell = {matrix: known.includes(matrix) ? matrix : "E",
                v: Math.min(v, run.vocabulary.length - 1), j: Math.min(j, DATA.D - 1)};
  if (again || "step" in part || "cell" in part) state.moved = part.moved ?? null;
  now = look(run, state.step, state.silent, moved());
  draw(again);
  writeAddress(before.mode !== state.mode || before.at !== state.at);
}

function draw(again) {
  document.body.classList.remove("waiting");
  if (again) drawTrack();
  drawLead();
  drawStep();
  drawMatrices();
  drawTour();
  if (!$("ladder").hidden) drawLadder();
  drawNumber();
  $("play").textContent = timer ? "Pause" : state.moved === null ? "Play" : "Put back, play";
  const pressed = {one: run.tied, two: !run.tied, silent: state.silent, play: timer,
                   "to-tour": state.mode === "stop", "to-lines": state.mode === "line",
                   large: asked.has("large")};
  for (const [id, on] of Object.entries(pressed)) $(id).setAttribute("aria-pressed", Boolean(on));
  document.body.classList.toggle("untied", !run.tied);
}

// ---- the address

let asked = new URLSearchParams();  // embed, hide and large are kept as they are
function writeAddress(entry) {  // entry: one that the browser's back button returns to
  const {matrix, v, j} = state.cell, parts = new URLSearchParams();
  const place = `${run.vocabulary[v]},${j}${matrix === "E" ? "" : `,${matrix}`}`;
  for (const [name, value, usual] of [
    ["text", state.text, DATA.text], ["tied", +state.tied, 1], ["start", state.seed, 0],
    ["silent", +state.silent, 0], ["step", state.step, DATA.steps],
    ["cell", place, `${run.vocabulary[0]},0`],
    ["value", state.moved && +state.moved.toPrecision(6), null]])
    if (value !== usual) parts.set(name, value);
  if (state.mode !== "ladder") parts.set(state.mode, state.at);
  for (const name of ["embed", "hide", "large"])
    if (asked.has(name)) parts.set(name, asked.get(name));
  const hash = `#${parts}`.replaceAll("%2C", ",").replace(/=(?=&|$)/g, "");
  const method = entry ? "pushState" : "replaceState";
  if (hash !== (location.hash || "#")) history[method](null, "", hash);
}
function readAddress() {
  asked = new URLSearchParams(location.hash.slice(1));
  const number = (name, usual, most) =>
    Math.max(0, Math.min(most, parseInt(asked.get(name) ?? usual) || 0));
  const words = (asked.get("text") || "").trim().split(/\s+/).slice(0, MOST);
  const text = words.length > 1 ? words.join(" ") : DATA.text;
  const value = parseFloat(asked.get("value"));
  const place = /^(.*?),(\d+)(?:,(\w+))?$/.exec(asked.get("cell")) || [];
  const [, token, j = 0, matrix = "E"] = place, hidden = (asked.get("hide") || "").split(",");
  const mode = ["stop", "line"].find(name => asked.has(name)) || "ladder";
  document.body.classList.toggle("embed", asked.has("embed"));
  document.documentElement.classList.toggle("large", asked.has("large"));
  for (const part of ["lead", "controls", "picture", "sums", "number"])
    $(part).classList.toggle("gone", hidden.includes(part));
  $("text").value = text;
  change({text, mode, at: number(mode, 0, ends(mode)), tied: asked.get("tied") !== "0",
          seed: number("start", 0, 2 ** 32 - 1), silent: asked.get("silent") === "1",
          step: number("step", DATA.steps, DATA.steps), moved: isFinite(value) ? value : null,
          cell: {matrix, j: +j, v: Math.max(0, vocabularyOf(text.split(" ")).indexOf(token))}});
}

// ---- by hand

const on = (id, kind, told) => $(id).addEventListener(kind, told);
let typing;
on("text", "input", event => {
  const words = event.target.value.trim().split(/\s+/).filter(Boolean);
  $("complaint").textContent = words.length < 2 ? `Type two words or more. Below: ${state.text}`
    : words.length > MOST ? `The first ${MOST} words are read.` : "";
  clearTimeout(typing);
  const text = words.slice(0, MOST).join(" ");
  if (words.length > 1) typing = setTimeout(() => change({text}), 30);
});
on("one", "click", () => change({tied: true}));
on("two", "click", () => change({tied: false}));
on("silent", "click", () => change({silent: !state.silent}));
on("start", "click", () => change({seed: state.seed + 1}));
on("step", "input", event => { pause(); change({step: event.target.valueAsNumber}); });
on("play", "click", () => {
  if (timer) pause();
  else timer = setInterval(() => {
    if (state.step === DATA.steps) pause();
    change({step: Math.min(DATA.steps, state.step + 1)});
  }, 50);
  change({step: timer ? state.step % DATA.steps : state.step});
});
function pause() { timer = clearInterval(timer); }
on("value", "input", ({target}) => {
  if (Number.isFinite(target.valueAsNumber)) change({moved: target.valueAsNumber});
});
on("put-back", "click", () => change({moved: null}));

// A number is dragged sideways: one unit in 200 pixels.
let held = null;
document.addEventListener("pointerdown", event => {
  const cell = event.target.closest(":is(#E, #head) .cell");
  if (cell) held = {x: event.clientX, cell: {matrix: cell.table.item.name, v: cell.i, j: cell.j}};
});
document.addEventListener("pointermove", event => {
  if (!held || !("from" in held) && Math.abs(event.clientX - held.x) < 4) return;
  held.from ??= now[held.cell.matrix][held.cell.v][held.cell.j];
  change({cell: held.cell, moved: held.from + (event.clientX - held.x) / 200});
});
for (const kind of ["pointerup", "pointercancel"])
  document.addEventListener(kind, () => { held = null; });

let kept = {step: DATA.steps};  // what the tour gives back at its end
const leave = () => change({...state.mode === "stop" ? kept : {}, mode: "ladder", at: 0});
function tour() {
  const {tied, silent, step, cell, moved} = state;
  kept = {tied, silent, step, cell, moved};
  change({tied: true, silent: false, step: BEGUN, mode: "stop", at: 0});
}
on("to-tour", "click", () => state.mode === "stop" ? leave() : tour());
on("to-head", "click", () => go("line", lineOf("dE += dlogits")));
on("to-lookup", "click", () => go("line", lineOf("dE += one_hot")));
on("to-lines", "click", () => state.mode === "line" ? leave() : go("line", 1));
on("close", "click", leave);
on("back", "click", () => go(state.mode, state.at - 1));
on("on", "click", () => go(state.mode, state.at + 1));
document.addEventListener("keydown", event => {  // ← and → outside of arrays and inputs
  const way = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!way || state.mode === "ladder" || event.target.closest("input, pre")) return;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  go(state.mode, state.at + way);
});
on("large", "click", () => {
  if (document.documentElement.classList.toggle("large")) asked.set("large", "");
  else asked.delete("large");
  change({});
});
on("copy", "click", () => {
  const text = asPython(run, state.step, state.silent, moved(), chosen());
  $("program").textContent = text;
  $("copied").hidden = true;
  navigator.clipboard?.writeText(text).then(() => { $("copied").hidden = false; }, () => {});
  $("dialog").showModal();
});

// The picture's cells and texts where they stand; below 0 is underlined.
on("save", "click", () => {
  const {x: left, y: top} = $("picture").getBoundingClientRect();
  const width = innerWidth - 2 * left, height = $("sums").getBoundingClientRect().bottom - top;
  const svg = drawing("svg", {xmlns: "http://www.w3.org/2000/svg", width, height}, element("div"));
  const put = (tag, attributes, text) => drawing(tag, attributes, svg, text);
  put("rect", {width, height, fill: getComputedStyle(document.body).backgroundColor});
  for (const node of document.querySelectorAll(":is(#picture, #sums) *")) {
    const style = getComputedStyle(node), {color: fill, fontSize, fontFamily, fontWeight} = style;
    const {width, height, ...at} = node.getBoundingClientRect().toJSON();
    const x = at.x - left, y = at.y - top;
    if (!width || node.closest(".source, svg")) continue;
    if (/cell/.test(node.className))
      put("rect", {x, y, width, height, fill: style.backgroundColor, rx: 2});
    if (node.matches(".negative"))
      put("path", {d: `M${x},${y + height - 1}h${width}`, stroke: fill});
    if (node.matches(".zero")) put("circle", {cx: x + width / 2, cy: y + height / 2, r: 1.5, fill});
    for (const text of node.childNodes) if (text.nodeType === 3 && text.data.trim()) {
      const range = document.createRange();
      range.selectNode(text);
      const box = range.getBoundingClientRect();
      put("text", {x: box.x - left, y: box.y - top + 0.78 * box.height, fill, "font-size": fontSize,
        "font-family": fontFamily, "font-weight": fontWeight}, text.data.trim());
    }
  }
  const link = element("a");
  const text = new XMLSerializer().serializeToString(svg);
  link.href = URL.createObjectURL(new Blob([text], {type: "image/svg+xml"}));
  link.download = "one-matrix.svg";
  link.click();
});

// ---- the start

function agree() {
  if (state.text !== DATA.text || !state.tied || state.seed) return;
  const apart = DATA.reference.map((loss, i) => Math.abs(loss - run.saved[20 * i].loss));
  $("agreement").textContent = `The losses here are NumPy's to ${full(Math.max(...apart), 1)}.`;
}
window.addEventListener("hashchange", readAddress);
narrow.addEventListener("change", () => draw());
requestAnimationFrame(() => setTimeout(() => { readAddress(); agree(); }));
