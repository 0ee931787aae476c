"use strict";
// What one looks at, as plain data: changed here, drawn, and written into the address.

const WORDS = 16;  // of a sentence, at most
const USUAL = {text: DATA.text, tied: 1, start: 0, silent: 0, step: DATA.steps, value: null};
const MOST = {tied: 1, start: 2 ** 32 - 1, silent: 1, step: DATA.steps};
const state = {...USUAL, mode: "ladder", at: 0, cell: {matrix: "E", v: 0, j: 0}};
let run, now, timer, comparing;

function change(part) {
  const before = {...state}, changed = name => String(before[name]) !== String(state[name]);
  Object.assign(state, part);
  if (busy(state)) Object.assign(state, {tied: 1, silent: 0});
  const again = !run || ["text", "tied", "start"].some(changed);
  if (again) run = learn(state.text, state.tied, state.start);
  if (again || "silent" in part || "value" in part) pause();
  const {matrix, v, j} = state.cell;
  const known = run.tied ? ["E", "dE", "lookup", "logits"] : ["E", "head", "dE", "dhead"];
  state.cell = {matrix: known.includes(matrix) ? matrix : "E",
                v: Math.min(v, run.vocabulary.length - 1), j: Math.min(j, DATA.D - 1)};
  const elsewhere = Object.values(before.cell).join() !== Object.values(state.cell).join();
  if (again || elsewhere || changed("step")) state.value = part.value ?? null;
  now = look(run, state.step, state.silent, moved());
  draw(again);
  writeAddress(changed("mode") || changed("at"));
  clearTimeout(comparing);
  if (!run.tied && !run.tiedLoss) comparing = setTimeout(compare, 300);
}
function compare() {  // two matrices with one, when nobody waits for the ladder
  run.tiedLoss = learn(run.words.join(" "), true, run.seed).saved.at(-1).loss;
  drawLead();
}

function draw(again) {
  document.body.classList.remove("waiting");
  document.body.classList.toggle("untied", !run.tied);
  if (again) drawTrack();
  drawLead();
  drawStep();
  drawMatrices();
  drawTour();
  if (!$("ladder").hidden) drawLadder();
  drawNumber();
  $("play").textContent = timer ? "Pause" : state.value === null ? "Play" : "Put back, play";
  const pressed = {one: run.tied, two: !run.tied, silent: state.silent, play: timer,
                   "to-tour": state.mode === "stop", "to-lines": state.mode === "line",
                   large: asked.has("large")};
  for (const [id, on] of Object.entries(pressed)) $(id).setAttribute("aria-pressed", Boolean(on));
}

// ---- the address

let asked = new URLSearchParams();  // what the address says; embed, hide and large stay in it
function writeAddress(entry) {  // entry: one that the browser's back button returns to
  const {matrix, v, j} = state.cell, put = (name, value, usual) =>
    value === usual ? asked.delete(name) : asked.set(name, value);
  for (const name in USUAL) put(name, state[name], USUAL[name]);
  for (const mode of ["stop", "line"]) put(mode, state.mode === mode && state.at, false);
  put("cell", [tokens()[v], j, ...matrix === "E" ? [] : [matrix]].join(), `${tokens()[0]},0`);
  const hash = `#${asked}`.replaceAll("%2C", ",").replace(/=(?=&|$)/g, "");
  if (location.protocol === "about:") return;  // a notebook's frame (srcdoc) has no address
  if (hash !== (location.hash || "#"))
    history[entry ? "pushState" : "replaceState"](null, "", hash);
}
function readAddress() {
  asked = new URLSearchParams(location.hash.slice(1));
  const number = (name, most) => Math.max(0, Math.min(most, parseInt(asked.get(name)) || 0));
  const part = {...USUAL, mode: ["stop", "line"].find(name => asked.has(name)) || "ladder"};
  for (const name in MOST) if (asked.has(name)) part[name] = number(name, MOST[name]);
  const words = (asked.get("text") || "").trim().split(/\s+/).slice(0, WORDS);
  if (words.length > 1) part.text = words.join(" ");
  const value = parseFloat(asked.get("value"));
  if (Number.isFinite(value)) part.value = value;
  const [, token, j = 0, matrix = "E"] =
    /^(.*?),(\d+)(?:,(\w+))?$/.exec(asked.get("cell")) || [];
  const v = Math.max(0, vocabularyOf(part.text.split(" ")).indexOf(token));
  document.body.classList.toggle("embed", asked.has("embed"));
  document.documentElement.classList.toggle("large", asked.has("large"));
  const hidden = (asked.get("hide") || "").split(",");
  for (const id of ["lead", "controls", "picture", "sums", "number"])
    $(id).classList.toggle("gone", hidden.includes(id));
  $("text").value = part.text;
  change({...part, at: number(part.mode, ends(part.mode)), cell: {matrix, v, j: +j}});
}

// ---- by hand

const on = (id, kind, told) => $(id).addEventListener(kind, told);
let typing;
on("text", "input", event => {
  const words = event.target.value.trim().split(/\s+/).filter(Boolean);
  $("complaint").textContent = words.length < 2 ? `Type two words or more. Below: ${state.text}`
    : words.length > WORDS ? `The first ${WORDS} words are read.` : "";
  clearTimeout(typing);
  const text = words.slice(0, WORDS).join(" ");
  if (words.length > 1) typing = setTimeout(() => change({text}));
});
on("one", "click", () => change({tied: 1}));
on("two", "click", () => change({tied: 0}));
on("silent", "click", () => change({silent: 1 - state.silent}));
on("start", "click", () => change({start: state.start + 1}));
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
  if (Number.isFinite(target.valueAsNumber)) change({value: target.valueAsNumber});
});
on("put-back", "click", () => change({value: null}));

// A number is dragged sideways: one unit in 200 pixels.
let held = null;
document.addEventListener("pointerdown", event => {
  const cell = event.target.closest(".weights.cell");
  if (cell) held = {x: event.clientX, cell: {matrix: cell.table.item.name, v: cell.i, j: cell.j}};
});
document.addEventListener("pointermove", event => {
  if (!held || !("from" in held) && Math.abs(event.clientX - held.x) < 4) return;
  held.from ??= now[held.cell.matrix][held.cell.v][held.cell.j];
  const value = held.from + (event.clientX - held.x) / 200;
  change({cell: held.cell, value: +value.toPrecision(6)});
});
for (const kind of ["pointerup", "pointercancel"])
  document.addEventListener(kind, () => { held = null; });

let kept = {step: DATA.steps};  // what the tour and the lines give back at their end
function enter(mode, at, step) {
  const {tied, silent, cell, value} = state;
  if (state.mode === "ladder") kept = {tied, silent, step: state.step, cell, value};
  change({tied: 1, silent: 0, step, mode, at});
}
const leave = () => change({...kept, mode: "ladder", at: 0});
on("to-tour", "click", () => state.mode === "stop" ? leave() : enter("stop", 0, BEGUN));
on("to-lines", "click", () => state.mode === "line" ? leave() : enter("line", 1, state.step));
on("to-head", "click", () => go("line", lineOf("dE += dlogits")));
on("to-lookup", "click", () => go("line", lineOf("dE += one_hot")));
on("close", "click", leave);
on("back", "click", () => go(state.mode, state.at - 1));
on("on", "click", () => go(state.mode, state.at + 1));
document.addEventListener("keydown", event => {  // ← and → outside of arrays and inputs
  const [, way] = plainKey(event) || [];
  if (!way || state.mode === "ladder" || event.target.closest("input, pre")) return;
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

// The picture's cells and texts, where they stand on the screen.
on("save", "click", () => {
  const {x: left, y: top} = $("picture").getBoundingClientRect();
  const width = innerWidth - 2 * left, height = $("sums").getBoundingClientRect().bottom - top;
  const boxOf = shape => {
    const {x, y, width, height} = shape.getBoundingClientRect();
    return {x: x - left, y: y - top, width, height};
  };
  const fill = getComputedStyle(document.body).backgroundColor;
  const boxes = [{x: 0, y: 0, width, height, fill}], range = document.createRange();
  for (const node of document.querySelectorAll(":is(#picture, #sums) :not(pre, pre *, p)")) {
    const style = getComputedStyle(node), ink = style.color, fonts = {"font-size": style.fontSize,
      "font-family": style.fontFamily, "font-weight": style.fontWeight};
    if (node.matches(".cell"))
      boxes.push({...boxOf(node), ink, fill: style.backgroundColor, sign: node.classList[1]});
    for (const text of node.childNodes) if (text.data?.trim()) {
      range.selectNode(text);
      boxes.push({...boxOf(range), ink, fonts, text: text.data.trim()});
    }
  }
  const seen = boxes.filter(box => box.width);
  const file = new Blob([asSVG(width, height, seen)], {type: "image/svg+xml"});
  const link = Object.assign(element("a"), {href: URL.createObjectURL(file)});
  link.download = "one-matrix.svg";
  link.click();
});

// ---- the start

function agree() {
  if (state.text !== DATA.text || !state.tied || state.start) return;
  const apart = DATA.reference.map((loss, i) => Math.abs(loss - run.saved[20 * i].loss));
  $("agreement").textContent = `The losses here are NumPy's to ${full(Math.max(...apart), 1)}.`;
}
window.addEventListener("hashchange", readAddress);
narrow.addEventListener("change", () => draw());
requestAnimationFrame(() => setTimeout(() => { readAddress(); agree(); }));
