// The guided tour: one stop at a time, all of them in print.

let stopNow = 0;
const narrow = window.matchMedia("(max-width: 52rem)");         // as in replay.css

const sections = stops.map((stop, n) => {
  const section = element("section", `stop${n ? "" : " opening"}`, undefined, $("stops"));
  section.hidden = true;
  section.setAttribute("aria-label", stop.title);
  const words = element("div", "words group", undefined, section);
  element("p", "eyebrow", n ? `${n} of ${stops.length - 1}: ${stop.title}` : stop.title, words);
  element("h2", n ? "equation-text" : "", stop.equation, words);
  const sentences = element("div", "sentences", undefined, words);
  stop.text.forEach((text, k) => element("p", !n && k === 2 ? "answer" : "", text, sentences));
  if (!n) element("p", "note", data.about, sentences);
  return section;
});

function fillStop(n) {                  // arrays and source, when they are first needed
  const stop = stops[n], section = sections[n];
  if (!n || section.filled) return;
  section.filled = true;
  const words = section.firstChild, tables = drawEquation(stop.shows, words);
  const readout = element("div", "readout", undefined, words);
  readout.setAttribute("role", "status");
  element("p", "note hint", "Point at a cell or tap it; or Tab to a matrix, and move with the arrow keys.", words);
  const product = tables.find(table => table.item.of[0] === "·");
  if (product && !narrow.matches) tell(product.rows[1].cells[1]);
  const step = steps[stop.step], [file, name] = step.stack[step.stack.length - 1];
  const code = element("div", "code", undefined, section);
  if (stop.one_page) {
    element("p", "eyebrow", "demos/one_page.py, where a line is an equation", code);
    element("div", "lit", stop.one_page, element("pre", "source plain", undefined, code));
  }
  element("p", "eyebrow", `minigpt_np/${file}, ${name}`, code);
  excerpt(step, element("pre", "source", undefined, code));
  element("button", "", "See it among all lines", code).addEventListener("click", () => go("step", stop.step));
}

function showStop(n) {
  stopNow = Math.max(0, Math.min(stops.length - 1, n));
  fillStop(stopNow);
  sections.forEach((section, k) => { section.hidden = k !== stopNow; });
  const stop = stops[stopNow], whole = document.querySelector(".whole");
  whole.setAttribute("class", `whole at-${stop.name}`);
  whole.querySelectorAll("[data-on]").forEach(part =>
    part.classList.toggle("lit", part.dataset.on.split(" ").includes(stop.name)));
  document.querySelectorAll("#places button").forEach((button, k) => k === stopNow
    ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current"));
  $("where").textContent = "";
  announce(`${stopNow ? `Stop ${stopNow} of ${stops.length - 1}. ` : ""}${stop.equation}. ${stop.text[0]}`);
}

// ---- the source

function sourceLine([text, marks], n) {         // marks: [from, to, class], in order
  const row = document.createElement("div");
  row.dataset.n = n + 1;
  let at = 0;
  for (const [from, to, kind] of marks) {
    row.append(text.slice(at, from));
    element("span", kind, text.slice(from, to), row);
    at = to;
  }
  row.append(text.slice(at) || " ");
  return row;
}
function light(row, step) {
  const accumulation = accumulations.find(w => steps[w.step] === step);
  row.className = "lit " + (accumulation ? accumulation.use : "");
  row.setAttribute("aria-current", "step");
}
function excerpt(step, pre) {           // some lines before and after
  const [file, , first] = step.stack[step.stack.length - 1], lines = files[file];
  let end = Math.min(lines.length, step.last + 2);
  while (!lines[end - 1][0].trim()) end--;
  const start = Math.max(1, first - 3), shown = lines.slice(start - 1, end).filter(([text]) => text.trim());
  const indent = Math.min(...shown.map(([text]) => text.search(/\S/)));
  for (let n = start; n <= end; n++) {
    const [text, marks] = lines[n - 1];
    pre.append(sourceLine([text.slice(indent), marks.map(([from, to, kind]) =>
      [Math.max(0, from - indent), to - indent, kind])], n - 1));
    if (n >= first && n <= step.last) light(pre.lastChild, step);
  }
}

stops.forEach((stop, n) => {
  const button = element("button", "", n ? String(n) : "?", element("li", "", undefined, $("places")));
  button.setAttribute("aria-label", n ? `Stop ${n}: ${stop.title}` : "? The question");
  button.title = stop.title;
  button.addEventListener("click", () => go("stop", n));
});
window.addEventListener("beforeprint", () => stops.forEach((_, n) => fillStop(n)));
