"use strict";
// The film of training: a slider over frames. All numbers and sentences come from lib/film.py; here they are drawn.

function film(root, data) {
  const find = selector => root.querySelector(selector), frames = data.frames, last = frames.length - 1;
  const name = v => data.names[v], labels = data.rows.map(v => visible(name(v)));
  let now = 0, chosen = 0, timer = null;

  // ---- small things

  function visible(text) {              // blanks and control characters
    const shown = text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥");
    return shown === "" ? "∅" : shown;
  }
  const three = x => x === 0 ? "0" : String(Number(x.toPrecision(3))).replace("-", MINUS);
  const plural = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;
  const times = n => n === 1 ? "once" : n === 2 ? "twice" : `${n.toLocaleString("en")} times`;
  function draw(tag, attributes, parent, text) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    if (text !== undefined) e.textContent = text;
    parent.append(e);
    return e;
  }

  // ---- the plane

  const plane = find(".plane svg"), arrow = 44;
  const everywhere = frames.flatMap(f => data.matrices.flatMap(kind => f.places[kind]));
  const [left, right] = bounds(everywhere.map(p => p[0])), [low, high] = bounds(everywhere.map(p => p[1]));
  const x = place => 30 + 340 * (place[0] - left) / (right - left);
  const y = place => 370 - 340 * (place[1] - low) / (high - low);
  draw("path", {class: "axis", d: `M${x([0, 0])},10V390M10,${y([0, 0])}H390`}, plane);
  const trails = [], points = [];
  for (const kind of data.matrices)
    labels.forEach((_, r) => trails.push({kind, r, line: draw("polyline", {class: "trail"}, plane)}));
  for (const kind of data.matrices) {
    labels.forEach((label, r) => {
      const g = draw("g", {}, plane), point = {kind, r, g};
      for (const use of kind === "head" ? ["logits"] : data.matrices.length > 1 ? ["lookup"] : ["logits", "lookup"])
        point[use] = draw("path", {class: `push ${use}`}, g);
      draw("circle", {r: 3.5}, g);
      point.name = draw("text", {class: "name", x: 5, y: -5}, g, label);
      g.addEventListener("click", () => choose(r));
      points.push(point);
    });
  }
  function bounds(values) {
    const lowest = Math.min(0, ...values), highest = Math.max(0, ...values);
    return highest > lowest ? [lowest, highest] : [lowest - 1, highest + 1];
  }
  function drawPlane(frame) {
    const taken = [];                   // by names: of those that would overlap only the first is shown
    const order = [...points].sort((a, b) => (b.r === chosen) - (a.r === chosen));
    for (const {kind, r, g, name, ...pushes} of order) {
      const place = frame.places[kind][r], px = x(place), py = y(place), width = 8 * labels[r].length + 6;
      g.setAttribute("transform", `translate(${px.toFixed(1)} ${py.toFixed(1)})`);
      g.setAttribute("class", `${kind} ${r === chosen ? "chosen" : ""}`);
      const free = taken.every(t => px + width < t.x || t.x + t.width < px || Math.abs(py - t.y) > 13);
      name.setAttribute("visibility", free ? "visible" : "hidden");
      if (free) taken.push({x: px, y: py, width});
      for (const [use, path] of Object.entries(pushes)) path.setAttribute("d", arrowTo(frame.pushes[use][r]));
    }
    for (const {kind, r, line} of trails) {
      const places = frames.slice(0, now + 1).map(f => f.places[kind][r]);
      line.setAttribute("points", places.map(p => `${x(p).toFixed(1)},${y(p).toFixed(1)}`).join(" "));
      line.setAttribute("class", r === chosen ? "trail chosen" : "trail");
    }
    plane.setAttribute("aria-label", `${plural(labels.length, "row")} as points in a plane, step ${frame.step}`);
  }
  function arrowTo(push) {              // the push in units of the plane's own axes, drawn to one scale
    const dx = arrow * push[0], dy = -arrow * push[1], length = Math.hypot(dx, dy);
    if (length < 1) return "";
    const ux = dx / length * 5, uy = dy / length * 5;
    return `M0,0L${dx.toFixed(1)},${dy.toFixed(1)}m${(-ux - uy * .6).toFixed(1)},${(-uy + ux * .6).toFixed(1)}`
         + `L${dx.toFixed(1)},${dy.toFixed(1)}l${(-ux + uy * .6).toFixed(1)},${(-uy - ux * .6).toFixed(1)}`;
  }

  // ---- the matrices

  const kinds = data.matrices.length > 1 ? ["E", "lookup", "head", "logits"] : ["E", "logits", "lookup"];
  const digits = data.columns <= 8;
  const heads = {E: "E", head: "head", logits: "from the logits", lookup: "from the lookup"};
  const cells = kinds.map(() => []), tableRows = [], tops = {};
  const most = Object.fromEntries(data.matrices.map(kind =>
    [kind, largest(frames.flatMap(f => f.cells[kind].flat()))]));
  {
    const classes = ["matrix", digits ? "" : "narrow", kinds.length > 3 ? "four" : ""].join(" ");
    const table = element("table", classes, undefined, find(".numbers .wide"));
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "E and the two contributions to its gradient, a row for each token");
    const top = element("tr", "", undefined, element("thead", "", undefined, table));
    element("td", "", "", top);
    kinds.forEach((kind, k) => {
      if (k) element("td", "gap", "", top);
      const head = element("th", `titles ${kind in most ? "" : kind}`, heads[kind], top);
      head.scope = "colgroup";
      tops[kind] = head;
      head.colSpan = data.columns;
    });
    const body = element("tbody", "", undefined, table);
    labels.forEach((label, r) => {
      const line = element("tr", "", undefined, body), head = element("th", "", label, line);
      head.scope = "row";
      head.addEventListener("click", () => choose(r));
      tableRows.push(line);
      kinds.forEach((_, k) => {
        if (k) element("td", "gap", "", line).setAttribute("role", "presentation");
        cells[k].push(Array.from({length: data.columns}, (_, c) => {
          const cell = element("td", "cell", "", line);
          cell.tabIndex = r || c || k ? -1 : 0;
          cell.place = {k, r, c};
          return cell;
        }));
      });
    });
    table.addEventListener("click", event => event.target.place && choose(event.target.place.r));
    table.addEventListener("keydown", event => {
      if (event.target.place && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        choose(event.target.place.r);
      }
    });
    if (data.columns < data.D || labels.length < data.V)
      element("p", "note", `${labels.length} of ${data.V} rows, those of the commonest tokens; `
        + `${data.columns} of ${data.D} columns.`, find(".numbers"));
  }
  function scaleOf(kind, frame) {       // both contributions have one, of this step; E one for the whole film
    return most[kind] || largest([...frame.cells.logits.flat(), ...frame.cells.lookup.flat()]);
  }
  function drawMatrices(frame) {
    kinds.forEach((kind, k) => {
      const scale = scaleOf(kind, frame), use = kind in most ? "" : kind;
      tops[kind].textContent = `${heads[kind]} ${digits ? unit(power(scale)) : ""}`;
      frame.cells[kind].forEach((row, r) => row.forEach((value, c) => {
        const cell = cells[k][r][c];
        paint(cell, value, scale, use);
        if (digits) cell.textContent = short(value, scale);
        cell.title = about(cell.place);
      }));
    });
    tableRows.forEach((line, r) => { line.className = r === chosen ? "chosen" : ""; });
    find(".scales").textContent = `The darkest shade: ${three(scaleOf("E", frame))} in E, `
      + `${three(scaleOf("logits", frame))} in both contributions.`;
  }
  function short(value, scale) {        // digits in a cell: in units of the scale's power of ten
    const n = power(scale);
    return value === 0 ? "" : brief(Number((value / 10 ** n).toPrecision(3))) || "";
  }
  function about({k, r, c}) {
    return `${heads[kinds[k]]}, row ${labels[r]}, column ${c}: ${three(frames[now].cells[kinds[k]][r][c])}`;
  }
  reach(cell => { if (cell.place) find(".cellsays").textContent = about(cell.place); });

  // ---- the curves, over log(1 + step)

  const W = 420, H = 240, L = 46, B = 34, T = 16, R = 8;
  const end = Math.log1p(Math.max(1, frames[last].step)), across = step => L + (W - L - R) * Math.log1p(step) / end;
  function chart(svg, log, values, claim) {
    let lowest = Math.min(...values), highest = Math.max(...values);
    if (log) { lowest /= 1.15; highest *= 1.15; } else { lowest = Math.min(0, lowest); highest *= 1.12; }
    if (!(highest > lowest)) highest = lowest + 1;
    const f = log ? Math.log : v => v, up = v => H - B - (H - B - T) * (f(v) - f(lowest)) / (f(highest) - f(lowest));
    svg.setAttribute("aria-label", claim);
    for (const tick of ticks(lowest, highest, log)) {
      draw("path", {class: "axis", d: `M${L},${up(tick).toFixed(1)}H${W - R}`}, svg);
      draw("text", {class: "end", x: L - 5, y: up(tick) + 4}, svg, three(tick));
    }
    for (const step of [0, 1, 10, 100, 1000, 10000, 100000, 1000000].filter(s => s <= frames[last].step))
      draw("text", {class: "mid", x: across(step), y: H - B + 15}, svg, step.toLocaleString("en"));
    draw("text", {class: "mid", x: (L + W - R) / 2, y: H - 3}, svg, "steps, logarithmic");
    data.chapters.forEach((chapter, i) => {
      const at = across(frames[chapter.frame].step);
      draw("path", {class: "chapter", d: `M${at},${T}V${H - B}`}, svg);
      draw("text", {class: "mid", x: at, y: T - 4}, svg, i + 1);
    });
    svg.addEventListener("click", event => {
      const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * W;
      const far = frames.map(f => Math.abs(across(f.step) - at));
      show(far.indexOf(Math.min(...far)));
    });
    const mark = draw("path", {class: "now"}, svg);
    return {
      line(classes, pairs) {            // of one point a dot
        const shown = pairs.filter(p => !log || p[1] > 0), g = draw("g", {}, svg);
        const places = shown.map(p => `${across(p[0]).toFixed(1)},${up(p[1]).toFixed(1)}`);
        if (shown.length === 1)
          draw("circle", {class: `dot ${classes}`, r: 4, cx: across(shown[0][0]), cy: up(shown[0][1])}, g);
        else draw("polyline", {class: `line ${classes}`, points: places.join(" ")}, g);
        return g;
      },
      dots(classes, pairs) {
        for (const p of pairs) draw("circle", {class: `dot ${classes}`, r: 3.5, cx: across(p[0]), cy: up(p[1])}, svg);
      },
      reference(text, value) {
        draw("path", {class: "reference", d: `M${L},${up(value)}H${W - R}`}, svg);
        const crossing = losses.find(p => p[1] <= value) || losses[losses.length - 1];
        const late = value < 0.95 * losses[0][1] && across(crossing[0]) > L + 0.3 * (W - L - R);
        if (!late) return draw("text", {class: "end", x: W - R, y: up(value) - 4}, svg, text);
        const words = text.split(" "), half = Math.ceil(words.length / 2);     // until then there is room below it
        [words.slice(0, half), words.slice(half)].forEach((line, n) =>
          draw("text", {x: L + 4, y: up(value) + 13 + 13 * n}, svg, line.join(" ")));
      },
      now(step) { mark.setAttribute("d", `M${across(step)},${T}V${H - B}`); },
    };
  }
  function ticks(lowest, highest, log) {
    const found = [];
    if (log) {
      const steps = highest / lowest > 300 ? [1] : [1, 2, 5];
      for (let p = Math.floor(Math.log10(lowest)); p <= Math.log10(highest); p++)
        for (const m of steps) if (m * 10 ** p >= lowest && m * 10 ** p <= highest) found.push(m * 10 ** p);
      return found;
    }
    const raw = (highest - lowest) / 4, unit = 10 ** Math.floor(Math.log10(raw));
    const size = unit * [1, 2, 5, 10].find(m => m * unit >= raw);
    for (let v = Math.ceil(lowest / size) * size; v <= highest; v += size) found.push(Number(v.toPrecision(12)));
    return found;
  }
  const losses = data.losses.length > 1 ? [[frames[0].step, frames[0].loss], ...data.losses]
    : frames.map(f => [f.step, f.loss]);
  const loss = chart(find(".loss svg"), false, [...losses, ...data.validation, ...data.references].map(p => p[1]),
    `The loss over the steps: from ${three(losses[0][1])} to ${three(losses[losses.length - 1][1])}`);
  for (const [text, value] of data.references) loss.reference(text, value);
  loss.line("", losses);
  loss.dots("held", data.validation);
  if (data.validation.length)
    element("p", "note", "Line: in training. Circles: on text that is held out.", find(".loss"));
  const lookups = frames.map(f => [f.step, f.norms[0]]), logits = frames.map(f => [f.step, f.norms[1]]);
  const norms = chart(find(".norms svg"), true, positive([...lookups, ...logits].map(p => p[1])),
    "The norm of what the logits and of what the lookup add to dE, over the steps");
  norms.line("logits", logits);
  norms.line("lookup", lookups);
  const key = element("p", "note", "", find(".norms"));
  element("span", "key logits", "━ logits", key);
  key.append(" ");
  element("span", "key lookup", "┅ lookup", key);
  key.append(": the root of the sum of squares; logarithmic.");
  function positive(values) {
    const found = values.filter(v => v > 0);
    return found.length ? found : [1];
  }

  // ---- one row

  const select = find(".row select"), story = find(".story");
  labels.forEach((label, r) => { element("option", "", `${label}  (row ${data.rows[r]})`, select).value = r; });
  select.addEventListener("change", () => choose(Number(select.value)));
  function tell(frame) {
    const v = data.rows[chosen], list = [];
    const lookups = [], targets = [];
    frame.ids.forEach((ids, b) => ids.forEach((id, t) => {
      if (id === v && t < ids.length - 1) lookups.push([b, t]);
      if (id === v && t > 0) targets.push([b, t - 1, frame.p[b][t - 1]]);
    }));
    const listed = frame.ids.length === 1 && lookups.length <= 12;
    const where = places => !listed || !places.length ? ""
      : ` (position${places.length > 1 ? "s" : ""} ${places.map(p => p[1]).join(", ")})`;
    const howOften = places => (places.length ? times(places.length) : "nowhere") + where(places);
    const mean = three(targets.reduce((sum, t) => sum + t[2], 0) / targets.length);
    const fromLookup = frame.rowNorms.lookup[chosen], fromLogits = three(frame.rowNorms.logits[chosen]);
    list.push(`In the text below it is looked up ${howOften(lookups)}. ` + (fromLookup
      ? `Each time its dx is added to the row; all lookups of this step add a vector ${three(fromLookup)} long.`
      : "The lookup adds exactly 0 to the row."));
    list.push(`It is the token to predict ${howOften(targets)}`
      + (targets.length ? `; the model gives it p = ${mean}${targets.length > 1 ? " on average" : ""} there. ` : ". ")
      + `The logits add (p ${MINUS} 1)/N · h at such positions and p/N · h at all others: `
      + `together ${fromLogits} long.`);
    if (frame.lookedUp[chosen] || frame.targets[chosen])
      list.push(`In all steps so far: looked up ${times(frame.lookedUp[chosen])}, `
        + `to predict ${times(frame.targets[chosen])}.`);
    const near = frame.nearest[chosen].map(([r, cosine]) => `${labels[r]} (${three(Number(cosine.toFixed(2)))})`);
    if (near.length) list.push(`Rows of E at the smallest angle now, by their cosine: ${near.join(", ")}.`);
    story.replaceChildren();
    const ul = element("ul", "", undefined, story);
    for (const text of list) element("li", "", text, ul);
    frame.ids.forEach(ids => {
      const line = element("p", "passage", "", story);
      ids.forEach((id, t) => {
        if (id === v) element("b", "", visible(name(id)), line); else line.append(name(id).replace(/\n/g, "⏎"));
        if (t < ids.length - 1) line.append(data.gap);
      });
    });
  }

  // ---- showing

  const slider = find("input"), output = find("output"), play = find(".play"), text = find(".caption");
  const buttons = [...root.querySelectorAll(".chapters button")];
  buttons.forEach((button, i) => button.addEventListener("click", () => { stop(); show(data.chapters[i].frame); }));
  function choose(r) {
    chosen = r;
    select.value = r;
    show(now);
  }
  function show(i) {
    now = i;
    const frame = frames[i], at = data.chapters.findLastIndex(chapter => chapter.frame <= i);
    const where = `Step ${frame.step.toLocaleString("en")} of ${data.steps.toLocaleString("en")}, `
      + `loss ${frame.loss.toFixed(frame.loss < .1 ? 4 : 2)}`;
    slider.value = i;
    slider.setAttribute("aria-valuetext", where);
    output.textContent = where;
    find(".writes q").textContent = frame.text.replace(/\n/g, "⏎");
    buttons.forEach((button, b) => b === at ? button.setAttribute("aria-current", "step")
      : button.removeAttribute("aria-current"));
    if (text.textContent !== data.chapters[at].text) text.textContent = data.chapters[at].text;
    drawPlane(frame);
    drawMatrices(frame);
    tell(frame);
    loss.now(frame.step);
    norms.now(frame.step);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (now === last) show(0);
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => now < last ? show(now + 1) : stop(), 350);
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  if (!last) find(".controls").hidden = true;
  choose(Math.max(0, labels.findIndex(label => /[\p{L}\p{N}]/u.test(label))));
}

film(document.querySelector(".film"), JSON.parse(document.getElementById("film-data").textContent));
