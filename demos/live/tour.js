"use strict";
// The guided tour, and every line of one_page.py with the arrays that it makes.

const tokens = () => run.vocabulary;
const oneHot = ids => matrix(ids.length, tokens().length, (t, v) => +(ids[t] === v));
const quoted = ids => `“${ids.map(v => tokens()[v]).join(" ")}”`;
const byPosition = (name, values, more) => ({name, values, rows: positions(), ...more});
const byToken = (name, values, more) => ({name, values, rows: tokens(), ...more});
const marks = ids => ids.map((v, t) => [t, v]);

/* Each stop: its title, equation and texts (in large type the first alone), the arrays it shows,
   and how its line of one_page.py begins. */
const STOPS = [
  () => ({title: "One matrix, two uses",
    equation: "E is looked up to read tokens, and is the head that predicts them", text: [
    `This small GPT, here at step ${state.step}, reads the tokens (words) ${quoted(run.ids)} and
     must predict the one that comes next at every position: ${quoted(run.targets)}.`,
    `E has one row of ${DATA.D} numbers for each token. At one end each token read picks its row;
     at the other end E scores every token as the next one.`,
    `The gradient dE holds a slope for every number of E: by how much the loss changes if that
     number grows a little. Both uses add their gradient to dE.`]}),

  () => ({title: "E is looked up", equation: "x = one_hot E + P", line: "x = one_hot @ E", text: [
    `Every token read picks its row of E: x[0] is the row of “${run.words[0]}” plus P[0], a
     vector for position 0.`,
    `one_hot E is E[ids], written as a product to be differentiated: each row of one_hot has a
     single 1, in the column of its token.`],
    shows: [byPosition("one_hot", oneHot(run.ids), {columns: tokens(), use: "whole"}),
            byPosition("P", now.params[1], {sign: "· E +"}),
            byPosition("x", made("x", 0), {sign: "="})]}),

  () => {
    const [x0, x1, x2] = [0, 1, 2].map(n => made("x", n));
    return {title: "The residual stream", line: "x = x + active",
      equation: "h = LayerNorm(x + attention + MLP)", text: [
      `A block adds to a position's vector and never replaces it: first what attention takes from
       the positions so far, then what the MLP makes of this position alone.`,
      `LayerNorm stands before attention, before the MLP and after the block. It takes away a
       row's mean and divides by its standard deviation: then all rows are about equally long.`],
      shows: [byPosition("x", x0), byPosition("attention", minus(x1, x0), {sign: "+"}),
              byPosition("MLP", minus(x2, x1), {sign: "+"}),
              byPosition("h", made("h"), {sign: "→"})]};
  },

  () => ({title: "E is the head", equation: "logits = h Eᵀ", line: "logits = h", text: [
    "The same E again: a token's score (logit) is the dot product of h with its row of E.",
    `So a row of E is what its token means when read, and the direction in which h must point for
     its token to be predicted.`],
    shows: [byPosition("h", made("h")),
            byPosition("logits", made("logits"), {columns: tokens(), sign: "· Eᵀ ="})]}),

  () => ({title: "The loss, and where the way back begins", line: "dlogits =",
    equation: "dlogits = (p − one_hot) / T", text: [
    `p = softmax(logits) makes scores into probabilities; outlined: the tokens that came next. The
     loss is the mean of their −log p, ${full(now.loss)}; a uniform guess has loss
     log ${tokens().length} = ${full(Math.log(tokens().length))}.`,
    `A name that begins with d is a gradient: here of the logits. It is the probability given
     minus the one wanted: only the target's score should grow (negative, hatched).`],
    shows: [
      byPosition("p", made("probs"), {columns: tokens(), marked: marks(run.targets), sign: "("}),
      byPosition("targets, one_hot", oneHot(run.targets),
        {columns: tokens(), use: "whole", sign: "−"}),
      byPosition("dlogits", made("dlogits"),
        {columns: tokens(), sign: `) / ${run.ids.length} =`, marked: marks(run.targets)})]}),

  () => ({title: "① E's gradient from its use as the head", line: "dE += dlogits",
    equation: "dE += dlogitsᵀ h", text: [
    `Position t adds dlogits[t, v] times h[t] to row v: a step pulls the target's row towards h
     and pushes all others away.`,
    `Every position moves every row: softmax gives no token probability 0.
     “${tokens().at(-1)}”, which is never read, is moved by this alone.`],
    shows: [byToken("dlogitsᵀ", transposed(made("dlogits")), {columns: positions()}),
            byPosition("h", made("h"), {sign: "·"}),
            byToken("logits' part", now.fromLogits, {use: "logits", sign: "="})]}),

  () => ({title: "The way back", line: "dx = dx + (dxhat1",
    equation: "dx = dx + what came through the block", text: [
    `y = x + f(x) has two paths back to x, past f and through f. Their gradients are added: what
     is used twice gets two gradients, x as well as E.`,
    `It began with dh = dlogits E. That only multiplies by E: nothing is accumulated a third
     time.`],
    shows: [byPosition("dx past the block", made("dx", 0)),
            byPosition("through it", minus(made("dx"), made("dx", 0)), {sign: "+"}),
            byPosition("dx", made("dx"), {sign: "="})]}),

  () => ({title: "② E's gradient from its use as the lookup", line: "dE += one_hot",
    equation: "dE += one_hotᵀ dx", text: [
    `one_hotᵀ sends each position's gradient to the row that was looked up there. A row that was
     not looked up gets exactly 0, shown as a dot.`,
    "It is the same array: dE still holds what the head put there, and both are added."],
    shows: [byToken("one_hotᵀ", transposed(oneHot(run.ids)), {columns: positions(), use: "whole"}),
            byPosition("dx", made("dx"), {sign: "·"}),
            byToken("lookup's part", now.fromLookup, {use: "lookup", sign: "="})]}),

  () => {
    const times = tokens().map((_, v) => run.ids.filter(id => id === v).length), row = best(times);
    const where = run.ids.flatMap((id, t) => id === row ? [t] : []), dx = made("dx");
    const all = where.map(t => `dx[${t}]`), lost = all.slice(0, -1).join(", ");
    const one = {rows: [tokens()[row]], use: "lookup", scale: largest(dx)};
    return {title: "A row that is looked up again", line: "dE += one_hot",
      equation: `dE[${tokens()[row]}] += ${all.join(" + ")}`, text: [
      `“${tokens()[row]}” is looked up at position${lost && "s"} ${where.join(", ")}: its row gets
       the sum of their gradients.`,
      `A classic mistake: dE[ids] += dx. NumPy takes, adds, and puts back: of a repeated id only
       the last addition survives.${lost && ` Here that loses ${lost}.`}`],
      shows: [byPosition("dx", dx, {marked: where.flatMap(t => dx[t].map((_, j) => [t, j]))}),
              {...one, name: "one_hotᵀ dx", values: [now.fromLookup[row]], sign: "→"},
              {...one, name: "dE[ids] += dx", values: [dx[where.at(-1)]], sign: "≠"}]};
  },

  () => {
    const [dE, lookup, logits] = [now.grads[0], now.fromLookup, now.fromLogits];
    const numerical = now.E.map((row, v) => row.map((value, j) =>
      slope(run, state.step, false, {matrix: "E", v, j, value})));
    const scale = largest([...lookup, ...logits, ...dE]);
    return {title: "The sum, checked, and a step",
      equation: `dE = one_hotᵀ dx + dlogitsᵀ h,  E −= ${DATA.rate} dE`, text: [
      `Checked by differences: move one number of E a little up, and down, run the model both
       times, and divide; no backpropagation. All ${dE.flat().length} agree to
       ${full(largest(minus(dE, numerical)), 2)}.`,
      `Training steps against the gradient: a number whose slope is positive gets smaller, and the
       loss falls. One array, one gradient, one step that serves both uses.`],
      shows: [byToken("lookup", lookup, {use: "lookup", scale}),
              byToken("logits", logits, {use: "logits", scale, sign: "+"}),
              byToken("dE", dE, {use: "sum", scale, sign: "="}),
              byToken("by differences", numerical, {scale, sign: "≈"})]};
  },

  () => ({title: "How one matrix does both",
    equation: "E is one alphabet, and the block turns one letter into the next", text: [
    `After training, read every vector with E. Just looked up, it spells the token read; after the
     block, the token to come: one alphabet at both ends.`,
    `Try to refute it. Step 0 spells little. Silence the block: every rung repeats the token read.
     Take two matrices: no logit trains E, so E spells little; but a separate head still pairs
     some tokens with the block silenced.`,
    `Where to go on: demos/exercises (write both gradients), demos/findings (text),
     demos/one_page.py (the whole program).`]})];

const BEGUN = 20;  // the step that the tour shows, except at its last stop
const ends = mode => (mode === "stop" ? STOPS : DATA.lines).length - 1;
// Between its ends the tour shows arrays in the ladder's place; they are one_page.py's, so tied.
const busy = ({mode, at}) => mode === "line" || mode === "stop" && at > 0 && at < ends("stop");

function go(mode, at) {
  const way = at < state.at ? -1 : 1, end = ends(mode), trained = state.step === DATA.steps;
  at = Math.max(0, Math.min(end, at));
  if (mode === "stop")
    return change({mode, at, step: at === end ? DATA.steps : trained ? BEGUN : state.step});
  while (!arraysOf(at).length && 0 < at && at < end) at += way;
  change({mode, at});
}

STOPS.forEach((_, n) => {
  const button = element("button", "", n || "?", element("li", "", "", $("stops")));
  button.setAttribute("aria-label", `Stop ${n}`);
  button.addEventListener("click", () => go("stop", n));
});
DATA.lines.forEach((text, n) => {
  const [code, comment] = text.split("  #");
  const all = comment ? `${code.padEnd(76)} #${comment}` : code;
  const line = element("div", "", `${DATA.first + n}  ${all}`, $("lines"));
  line.addEventListener("click", () => change({mode: "line", at: n}));
});
const told = cell => { $("told").textContent = cell?.title; };
$("arrays").addEventListener("focusin", event => told(event.target));

function drawTour() {
  const {mode, at} = state, shown = {ladder: !busy(state), arrays: busy(state),
    stop: mode === "stop", stops: mode === "stop", lines: mode === "line",
    "to-head": mode === "line", "to-lookup": mode === "line", places: mode !== "ladder"};
  for (const [id, on] of Object.entries(shown)) $(id).hidden = !on;
  document.body.classList.toggle("busy", busy(state));
  $("on").disabled = at === ends(mode);
  $("back").disabled = at === 0;
  if (mode === "stop") drawStop(STOPS[at]());
  if (mode === "line") drawLine($("lines").children[at]);
  told(document.activeElement.closest("#arrays .cell"));
  const here = mode === "stop" ? `${$("title").textContent}. ${$("equation").textContent}`
    : mode === "line" ? `Line ${codeOf(at)}` : "";
  if ($("announcement").textContent !== here) $("announcement").textContent = here;
}

function drawStop({title, equation, text, line, shows = []}) {
  $("title").textContent = `${state.at} of ${ends("stop")}: ${title}`;
  $("equation").textContent = equation;
  $("equation").className = shows.length ? "code" : "";
  $("source").hidden = !line;
  $("source").textContent = line && codeOf(lineOf(line));
  $("sentences").replaceChildren(...text.map(sentence => element("p", "", sentence)));
  drawEquation($("arrays"), shows);
  [...$("stops").children].forEach(({firstChild: button}, n) =>
    button.setAttribute("aria-current", n === state.at && "step"));
}

// ---- every line

function arraysOf(n) {  // what line n makes: [name, array]; now.made is in the lines' order
  let at = 0, found = [];
  for (const line of DATA.lines.slice(0, n + 1)) {
    const [names, value] = line.replace("[:T]", "").split(/ \+?= /);
    found = [];
    if (value) for (const name of names.trim().split(", "))
      if (now.made[at]?.[0] === name) found.push(now.made[at++]);
  }
  return found;
}

function accumulated(use, values) {  // at ① and ②: before + added = after
  const [before, added] = use === "logits" ? [made("dE", 0), now.fromLogits]
    : [made("dE", 1), now.fromLookup];
  const scale = largest([...before, ...added, ...values]);
  return [byToken("dE before", before, {scale}),
          byToken(`added by ${use}`, added, {use, scale, sign: "+"}),
          byToken("dE after", values, {scale, sign: "="})];
}

const OVER_TOKENS = ["one_hot", "logits", "exp_logits", "probs", "dlogits"];
const labelled = ([name, values]) => ({
  name, values, columns: OVER_TOKENS.includes(name) ? tokens() : undefined,
  rows: name === "dE" ? tokens() : /^(d(gain|b|W)|loss)/.test(name) ? undefined : positions()});
function drawLine(lit) {
  const use = {"①": "logits", "②": "lookup"}[/[①②]/.exec(lit.textContent)];
  for (const line of $("lines").children) line.className = line === lit ? `lit ${use || ""}` : "";
  $("lines").scrollTop = lit.offsetTop - $("lines").offsetTop - $("lines").clientHeight / 2;
  const arrays = arraysOf(state.at);
  drawEquation($("arrays"), use ? accumulated(use, arrays[0][1]) : arrays.map(labelled));
}
