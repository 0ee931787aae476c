// Every line: the source, the arrays of a line, E and its gradient. What only prepares constants is folded.

const shownSteps = steps.map((_, n) => n).filter(n => !steps[n].prepares);
let stepNow = 0, sourceFile = null, litRows = [], accumulationsDrawn = null;

const SAYS = {call: "is called with", line: "bound or changed by this line", return: "returned"};

function showStep(n) {
  stepNow = shownSteps.findLast(k => k <= n) ?? shownSteps[0];
  const step = steps[stepNow], accumulation = accumulations.find(w => w.step === stepNow);
  const place = shownSteps.indexOf(stepNow), folded = stepNow - (shownSteps[place - 1] ?? -1) - 1;
  const path = step.stack.map(([file, name, line]) => `${file} ${name}:${line}`);
  $("path").textContent = `${step.phase}: ${path.join(" › ")}`;
  $("headline").textContent = step.headline;
  $("folded").textContent = folded ? `Folded before this line: ${folded} steps that only prepare a constant.` : "";
  showSource(step);
  const box = $("arrays");
  box.replaceChildren();
  box.parentElement.querySelector(".readout").replaceChildren();
  if (accumulation) drawEquation(accumulation.shows, box);
  else {
    drawGroup(SAYS[step.kind], step.binds, box);
    drawGroup("used by it, as it was before", step.reads, box);
  }
  if (!box.children.length) element("p", "note", stepNow === steps.length - 1
    ? "The walk is over: dE holds both contributions." : "This line binds and changes no array.", box);
  drawBoth();
  $("slider").value = place;
  $("slider").setAttribute("aria-valuetext", `step ${stepNow + 1} of ${steps.length}, ${step.phase}`);
  $("where").textContent = `${step.phase}, step ${stepNow + 1} of ${steps.length}`;
  document.querySelectorAll("#map span").forEach(span =>
    span.classList.toggle("here", +span.dataset.from <= stepNow && stepNow < +span.dataset.to));
  if (!timer || accumulation) announce(step.headline);
}

function drawGroup(title, values, parent) {     // values: [name, place among arrays or text, axes]
  if (!values.length) return;
  const part = element("div", "", undefined, parent);
  element("h3", "", title, part);
  const box = element("div", "pages", undefined, part);
  for (const [name, what, axes] of values) {
    if (typeof what === "string") element("p", "", `${name} = ${what}`, box);
    else drawPages(name, what, axes, box);
  }
}

function drawPages(name, what, axes, parent) {  // a matrix; of more axes, one for each of the outer indices
  const {shape, values} = arrays[what], kinds = axes.map(axis => data.kinds[axis] || "");
  const item = {name, values: what, use: "", note: "", marked: [], scale: largest(values)};
  if (shape.length === 1) return drawArray({...item, rows: [""], columns: kinds[0] || ""}, parent);
  const [r, c] = shape.slice(-2);
  for (let offset = 0; offset < values.length; offset += r * c) {
    const outer = shape.slice(0, -2).map((size, k, sizes) =>
      Math.floor(offset / r / c / sizes.slice(k + 1).reduce((a, b) => a * b, 1)) % size);
    const note = outer.map((index, k) => shape[k] === 1 ? "" : axes[k] === "H" ? `head\u00a0${index}` : `[${index}]`);
    const [rows = "", columns = ""] = kinds.slice(-2);
    drawArray({...item, note: note.join(" ").trim(), rows, columns}, parent, offset);
  }
}

function drawBoth() {                   // E, and dE as the sum of what has been accumulated so far
  const done = accumulations.filter(w => w.step <= stepNow);
  if (accumulationsDrawn === done.length) return;
  accumulationsDrawn = done.length;
  const box = $("both");
  box.replaceChildren();
  box.parentElement.querySelector(".readout").replaceChildren();
  const most = Math.max(...accumulations.flatMap(w => [w.contribution, w.after]).map(n => largest(arrays[n].values)));
  const part = (name, use, values, sign, more) => (
    {name, use, values, sign, rows: "tokens", columns: "", note: "", marked: [], scale: most, ...more});
  drawEquation([part("E", "", data.E, "", {scale: largest(arrays[data.E].values), note: "used at both ends"})], box);
  const parts = accumulations.map((w, k) => part(`from the ${w.use}`, w.use, w.contribution, k ? "+" : "", {
    empty: k >= done.length, note: k < done.length ? "" : "nothing yet"}));
  drawEquation([...parts, part("dE", "sum", done.length ? done[done.length - 1].after : accumulations[0].before, "=", {
    of: done.length === 2 ? ["+", 0, 1] : []})], box);
}

function showSource(step) {
  const [file, , line] = step.stack[step.stack.length - 1], code = $("source");
  if (file !== sourceFile) {
    sourceFile = file;
    code.replaceChildren(...files[file].map(sourceLine));
  }
  litRows.forEach(row => { row.className = ""; row.removeAttribute("aria-current"); });
  litRows = [...code.children].slice(line - 1, step.last);
  litRows.forEach(row => light(row, step));
  code.scrollTop = litRows[0].offsetTop - code.offsetTop - code.clientHeight * 0.4;
}

// ---- time

function nextLayer(direction) {
  for (let n = stepNow + direction; n >= 0 && n < steps.length; n += direction) if (steps[n].enters) return n;
  return direction > 0 ? steps.length - 1 : 0;
}
function part(step) {                   // what the map calls the place of a step
  const name = i => step.stack[i] && step.stack[i][0].replace("layers/", "").replace(".py", "");
  const outer = name(1) || "model", inner = name(2);
  return outer === "block" && inner && inner !== "dropout" ? inner : outer;
}
let from = 0;
for (let n = 1; n <= steps.length; n++) {
  if (n < steps.length && steps[n].phase === steps[from].phase && part(steps[n]) === part(steps[from])) continue;
  const span = element("span", steps[from].phase, part(steps[from]), $("map")), start = from;
  Object.assign(span.dataset, {from, to: n, name: part(steps[from])});
  span.style.flex = `${n - from} 0 0`;
  span.title = `${steps[from].phase}: ${part(steps[from])}`;
  span.addEventListener("click", () => go("step", start));
  from = n;
}
function fitMap() {                     // a name that does not fit is left out
  for (const span of document.querySelectorAll("#map span")) {
    span.textContent = span.dataset.name;
    if (span.scrollWidth > span.clientWidth) span.textContent = "";
  }
}
window.addEventListener("resize", fitMap);
accumulations.forEach((accumulation, n) => {
  element("i", accumulation.use, undefined, $("map")).style.left = `${100 * (accumulation.step + 0.5) / steps.length}%`;
  const button = element("button", `jump ${accumulation.use}`, "①②"[n], $("line-buttons"));
  element("span", "", ` ${accumulation.use} → dE`, button);
  button.title = `To the line that accumulates the gradient of E's use in the ${accumulation.use}`;
  button.addEventListener("click", () => go("step", accumulation.step));
});
$("slider").max = shownSteps.length - 1;
$("slider").addEventListener("input", () => go("step", shownSteps[$("slider").value]));
