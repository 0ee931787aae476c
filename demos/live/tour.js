"use strict";
// The guided tour, stop by stop, and every line of one_page.py with the arrays that it makes.

const tokens = () => run.vocabulary, oneHot = ids => matrix(ids.length, run.vocabulary.length, (t, v) => +(ids[t] === v));
const quoted = ids => `“${ids.map(v => run.vocabulary[v]).join(" ")}”`;
const atPositions = (name, values, more) => ({name, values, rows: positions(), ...more});
const byToken = (name, values, more) => ({name, values, rows: tokens(), ...more});
const dot = (item, left, right, labels) => Object.assign(item, {terms: (i, j) =>
  labels.map((label, k) => [label, left[i][k], right[k][j]])});
const numbers = () => Array.from({length: DATA.D}, (_, j) => `number ${j}`);
const marks = ids => ids.map((v, t) => [t, v]);

// Each stop: title, equation, sentences, arrays, how its line of one_page.py begins, what lights up in the picture.
const STOPS = [
  () => ({title: "One matrix, two uses", equation: "How can one matrix E both read tokens and predict them?", lit: "E", text: [
    `A token is a word of the vocabulary. This small GPT reads ${quoted(run.ids)} and must predict, at every position, the ` +
    `token that comes next: ${quoted(run.targets)}.`,
    `E has one row for each token: ${DATA.D} numbers. It is looked up at one end, and at the other, as the head, it scores ` +
    "every token as the next one.",
    "The gradient of the loss with respect to a number says how much the loss changes when that number grows a little: it is a " +
    "slope. Drag a number of E and watch the loss. dE holds one such slope for every number of E.",
    "In one sentence: both uses send E a gradient, the two are added up in one array dE, and the block in between learns to " +
    "turn what was looked up into what must be predicted."], shows: []}),

  () => ({title: "E is looked up", equation: "x = one_hot E + P,  where one_hot E is E[ids]", line: "x = one_hot @ E", lit: "lookup", text: [
    `Every token that is read picks its row of E: position 0 reads “${run.words[0]}”, so its vector is the row of ` +
    `“${run.words[0]}”, plus a vector P[0] for the position.`,
    "Written as a product: one_hot has in each row a single 1, in the column of its token. Nobody multiplies by that many " +
    "zeros, but a product is what one can differentiate."],
    shows: [atPositions("one_hot", oneHot(run.ids), {columns: tokens()}), 
            atPositions("P", now.params[1].slice(0, run.ids.length), {sign: "· E +"}), atPositions("x", made("x", 0), {sign: "="})]}),

  () => {
    const x = nth => made("x", nth), [x0, x1, x2] = state.silent ? [x(0), x(0), x(0)] : [x(0), x(1), x(2)];
    return {title: "The residual stream", equation: "h = LayerNorm(x + attention + MLP)", line: "x = x + active", lit: "E", text: [
      "A block never replaces a position's vector; it adds to it. First attention adds what it took from the positions so far, " +
      "then the MLP adds what it makes of that position alone. The lit line is the second sum.",
      "What the MLP is given, and what leaves the block, is normalized: LayerNorm takes away a row's mean and divides by its " +
      "standard deviation, so that h keeps a row's direction and loses its length."],
      shows: [atPositions("x", x0), atPositions("attention", minus(x1, x0), {sign: "+"}), atPositions("MLP", minus(x2, x1), {sign: "+"}),
              atPositions("h", made("h"), {sign: "→", note: "normalized"})]};
  },

  () => ({title: "E is the head", equation: "logits = h Eᵀ", line: "logits = h", lit: "logits", text: [
    "The same E once more, now read as columns: the score (logit) of a token is the dot product of h with that token's row of E.",
    `So a row of E is two things at once: what its token means when it is read, and the direction in which h must point for its ` +
    `token to be predicted.${run.tied ? "" : " With two matrices it is not: another matrix, head, is the second."}`],
    shows: [atPositions("h", made("h")),
            dot(atPositions("logits", made("logits"), {columns: tokens(), sign: run.tied ? "· Eᵀ =" : "· headᵀ ="}), made("h"), transposed(now.head), numbers())]}),

  () => ({title: "The loss, and where the way back begins", equation: "dlogits = (p − one_hot) / T",
    line: "dlogits =", lit: "logits", text: [
    `p = softmax(logits) makes probabilities of the scores. The outlined cells are those of the tokens that really came next; ` +
    `the loss, the mean of −log p[target], is how surprising they were: ${full(now.loss)}. A blind guess among ${tokens().length} costs log ${tokens().length} = ` +
    `${full(Math.log(tokens().length))}.`,
    "dlogits: probability given minus probability wanted. Only the target's score should grow (negative, hatched), all others " +
    "should fall, the likelier the more. A name that begins with d is the gradient with respect to the rest of the name."],
    shows: [atPositions("p", made("probs"), {columns: tokens(), marked: marks(run.targets)}),
            atPositions("one_hot", oneHot(run.targets), {columns: tokens(), sign: "−", note: "of the targets"}),
            atPositions("dlogits", made("dlogits"), {columns: tokens(), sign: `) / ${run.ids.length} =`, marked: marks(run.targets)})]}),

  () => ({title: "① E's gradient from its use as the head", equation: `d${run.tied ? "E" : "head"} += dlogitsᵀ h`,
    line: "dE += dlogits", lit: "logits back", text: [
    "logits = h Eᵀ is a product, so the gradient of E is one too. Position t puts dlogits[t, v] times h[t] into row v: the " +
    "target's row is pulled towards h, all others are pushed away.",
    "Every row gets something from every position, because softmax gives every token some probability, even among 50,257. " +
    `So “${tokens().at(-1)}”, which is never read, is moved here and only here.`],
    shows: [byToken("dlogitsᵀ", transposed(made("dlogits")), {columns: positions()}), atPositions("h", made("h"), {sign: "·"}),
            dot(byToken("from the logits", now.fromLogits, {sign: "=", use: "logits"}), transposed(made("dlogits")), made("h"), positions())]}),

  () => {
    const first = made("dx", 0), last = made("dx");
    return {title: "The way back", equation: "dx = dx + what came through the block", line: "dx = dx + (dxhat1", lit: "E", text: [
      "Through the head the gradient reaches h: dh = dlogits E. E is used here a third time, but only multiplied by: nothing is " +
      "accumulated a third time.",
      "Then the block. y = x + f(x) has two paths back to x: past f, unchanged, and through f. The two gradients are added: " +
      "whatever is used twice gets two gradients, the residual stream as well as E."],
      shows: [atPositions("dx past the block", first), atPositions("through it", minus(last, first), {sign: "+"}),
              atPositions("dx", last, {sign: "=", note: "of what was looked up"})]};
  },

  () => ({title: "② E's gradient from its use as the lookup", equation: "dE += one_hotᵀ dx", line: "dE += one_hot", lit: "lookup back", text: [
    "x = one_hot E is a product too. one_hotᵀ sends the gradient of each position back to the row that was looked up there, and " +
    "to no other: a row that was not looked up gets exactly 0, shown as a dot.",
    run.tied ? "And it is the same array: dE still holds what the head put there. Nothing is overwritten, the two are added."
      : "With two matrices it is another array: dE gets this alone, and dhead got the other."],
    shows: [byToken("one_hotᵀ", transposed(oneHot(run.ids)), {columns: positions()}), atPositions("dx", made("dx"), {sign: "·"}),
            dot(byToken("from the lookup", now.fromLookup, {sign: "=", use: "lookup"}), transposed(oneHot(run.ids)), made("dx"), positions())]}),

  () => {
    const times = tokens().map((_, v) => run.ids.filter(id => id === v).length), row = best(times), dx = made("dx");
    const where = run.ids.flatMap((id, t) => id === row ? [t] : []), total = where.map(t => `dx[${t}]`).join(" + ");
    return {title: "A row that is looked up again", equation: `dE[${tokens()[row]}] += ${total}`, line: "dE += one_hot", lit: "lookup back",
      text: [`“${tokens()[row]}” is looked up at ${where.length} position${where.length > 1 ? "s" : ""}: ${where.join(", ")}. One row ` +
        "served them all, so it gets the sum of their gradients.",
        "A classic mistake: dE[ids] += dx. NumPy takes dE[ids], adds, and puts it back, so that of a repeated id only the last " +
        `addition survives.${where.length > 1 ? ` Here that would lose ${where.slice(0, -1).map(t => `dx[${t}]`).join(", ")}.` : ""}`],
      shows: [atPositions("dx", dx, {marked: where.flatMap(t => dx[t].map((_, j) => [t, j]))}),
        {name: "one_hotᵀ dx", values: [now.fromLookup[row]], rows: [tokens()[row]], use: "lookup", sign: "→", note: "the outlined rows, summed",
         scale: largest(dx), terms: (_, j) => where.map(t => [position(t), dx[t][j]])},
        {name: "dE[ids] += dx", values: [dx[where.at(-1)]], rows: [tokens()[row]], use: "lookup", sign: "≠", note: "would add the last row alone",
         scale: largest(dx)}]};
  },

  () => {
    const numerical = matrix(tokens().length, DATA.D, (v, j) => slope(run, state.step, state.silent, {matrix: "E", v, j, value: now.E[v][j]}));
    const [dE, lookup, logits] = [now.grads[0], now.fromLookup, now.fromLogits], scale = largest([...lookup, ...logits, ...dE]);
    const worst = Math.max(...minus(dE, numerical).flat().map(Math.abs));
    const parts = run.tied ? [byToken("from the lookup", lookup, {use: "lookup", scale}), byToken("from the logits", logits, {use: "logits", sign: "+", scale})] : [];
    return {title: "The sum, checked, and a step", equation: run.tied ? "dE = one_hotᵀ dx + dlogitsᵀ h,   E −= 0.1 dE" : "dE = one_hotᵀ dx,   E −= 0.1 dE",
      lit: "lookup logits back", text: [
      "Is it right? Ask the loss: move one number of E by a little, up and down, run the whole model both times, and divide the " +
      `difference of the losses by the distance. That knows nothing of backpropagation, and moves ${run.tied ? "both uses of E at once" : "E alone"}. ` +
      `All ${dE.flat().length} numbers agree to ${full(worst, 2)}.`,
      "Training takes one small step against this gradient: a number whose slope is positive gets smaller, and the loss falls. One " +
      "array, one gradient, one step that serves both uses."],
      shows: [...parts, byToken("dE", dE, {use: run.tied ? "sum" : "lookup", sign: run.tied ? "=" : "", scale,
        terms: run.tied ? (v, j) => [["lookup", lookup[v][j]], ["logits", logits[v][j]]] : undefined}),
        byToken("by differences", numerical, {sign: "≈", scale})]};
  },

  () => ({title: "How one matrix does both", equation: "E is one alphabet, and the block turns one letter into the next", lit: "lookup logits", text: [
    "After training, read every vector with E. Just looked up, it spells the token read; after the block, the token to come. The " +
    "same E reads both, so neither job has to give way: the stream is written in one alphabet at both ends.",
    "Try the controls. Go back to step 0: nothing yet. Silence the block: every rung says the token read, and nothing says the next. " +
    "Take two matrices: each end has an alphabet of its own.",
    "Where to go on: write both gradients yourself (demos/exercises), what happens on text (demos/findings), the whole program in " +
    "one file (demos/one_page.py)."], shows: [], ladder: true})];

const ends = mode => mode === "stop" ? STOPS.length - 1 : DATA.lines.length - 1;
const HALFWAY = 20;                     // the tour's stops show a model that has begun to learn, its last one a trained one

function go(mode, at) {
  at = Math.max(0, Math.min(ends(mode), at));
  if (mode === "line") while (at < ends(mode) && at && !arraysOf(at).length) at += at < state.at ? -1 : 1;
  const last = at === ends("stop"), part = {mode, at};
  if (mode === "stop" && at !== state.at && [DATA.steps, HALFWAY].includes(state.step)) part.step = last ? DATA.steps : HALFWAY;
  change(part);
  $("stage").scrollIntoView({block: "nearest"});
}

function drawTour() {
  const stop = state.mode === "stop" ? STOPS[state.at]() : null;
  $("ladder").hidden = state.mode === "line" || Boolean(stop?.shows.length);
  $("stop").hidden = !stop;
  $("lines").hidden = state.mode !== "line";
  $("places").hidden = state.mode === "ladder";
  $("uses").className = stop ? `tour ${stop.lit}` : "";
  document.body.classList.toggle("busy", $("ladder").hidden);
  $("on").hidden = state.mode !== "ladder" && state.at === ends(state.mode);
  $("back").disabled = state.at === 0;
  drawPlaces();
  if (stop) drawStop(stop);
  if (state.mode === "line") drawLine();
  if (!$("ladder").hidden) drawLadder();
  if (state.mode === "ladder") $("left").lastChild.replaceChildren();
}
function drawPlaces() {
  const list = document.querySelector("#places ol");
  if (!list.children.length) STOPS.forEach((_, n) => {
    const button = element("button", "", n || "?", element("li", "", undefined, list));
    button.setAttribute("aria-label", `Stop ${n}`);
    button.addEventListener("click", () => go("stop", n));
  });
  list.hidden = state.mode !== "stop";
  [...list.children].forEach((item, n) => n === state.at ? item.firstChild.setAttribute("aria-current", "step")
    : item.firstChild.removeAttribute("aria-current"));
}

function drawStop({title, equation, text, shows, line}) {
  const box = $("stop"), key = [state.at, runs].join();
  if (box.key !== key) {
    box.replaceChildren();
    element("p", "eyebrow", `${state.at} of ${ends("stop")}: ${title}`, box);
    const top = element("div", "top", undefined, box);
    element("h2", shows.length ? "equation" : "", equation, top);
    element("pre", "source", undefined, top);
    for (const name of ["sentences", "arrays"]) element("div", name, undefined, box);
    $("left").lastChild.replaceChildren();
    $("announcement").textContent = `Stop ${state.at}. ${title}. ${equation}`;
  }
  box.key = key;
  const part = name => box.querySelector(`.${name}`);
  part("sentences").replaceChildren(...text.map(sentence => element("p", "", sentence)));
  part("source").hidden = !line;
  if (line) part("source").textContent = `${DATA.first + lineOf(line)}  ${DATA.lines[lineOf(line)][0].split(" # ")[0].trim()}`;
  drawEquation(part("arrays"), shows.map(item => ({...item, choose: (i, j, cell) => tell(cell, $("left").lastChild)})));
  const last = part("arrays").querySelector(".chosen");
  if (last) tell(last, $("left").lastChild);
}

// What a chosen cell of a stop or of a line is, and the products it is the sum of.
function tell(cell, box) {
  const {item} = cell.table, terms = item.terms?.(cell.i, cell.j);
  mark(cell);
  box.replaceChildren();
  element("p", "", cell.title, box);
  if (terms) drawTerms(box, terms, item.values[cell.i][cell.j]);
}

// ---- every line

function arraysOf(n) {                  // what line n makes: [name, array]; `made` is in the order of the lines
  let at = 0, found = [];
  for (let i = 0; i <= n; i++) {
    found = [];
    for (const name of DATA.lines[i][1]) if (now.made[at]?.[0] === name) found.push(now.made[at++]);
  }
  return found;
}

function drawLine() {
  const box = $("lines");
  if (!box.firstChild) {
    const pre = element("pre", "source all", undefined, box);
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", "one_page.py");
    DATA.lines.forEach(([text], n) => {
      const line = element("div", "", `${DATA.first + n}  ${text}`, pre);
      line.addEventListener("click", () => change({mode: "line", at: n}));
    });
    element("div", "arrays", undefined, box);
  }
  const [pre, arrays] = box.children, readout = $("left").lastChild;
  [...pre.children].forEach((line, n) => {
    line.className = n === state.at ? `lit ${line.textContent.includes("①") ? "logits" : line.textContent.includes("②") ? "lookup" : ""}` : "";
  });
  const lit = pre.children[state.at];
  pre.scrollTop = lit.offsetTop - pre.offsetTop - pre.clientHeight / 2;
  readout.replaceChildren();
  arrays.replaceChildren();
  const token = new Set(["one_hot", "logits", "exp_logits", "probs", "dlogits"]), T = run.ids.length;
  drawEquation(arrays, arraysOf(state.at).map(([name, values]) => {
    const rows = name === "dE" ? tokens() : (values[0][0].length ? values[0] : values).length === T ? positions() : undefined;
    return {name, values, rows, columns: token.has(name) ? tokens() : undefined, choose: (i, j, cell) => tell(cell, readout)};
  }));
  if (!arrays.children.length) element("p", "", "This line makes no array.", arrays);
  $("announcement").textContent = `Line ${DATA.first + state.at}: ${DATA.lines[state.at][0].trim()}`;
}
