"use strict";
// The screen: the ladder, E, its gradient as a sum, the chosen number, the norms over training.
// page.js has `run`, what was learnt; `now`, both passes at a step; `state`, what is looked at.

const position = t => `${t} ${run.words[t]}`;
const positions = () => run.ids.map((_, t) => position(t));
const made = (name, nth = -1) => now.made.filter(([other]) => other === name).at(nth)[1];
const percent = p => `${Math.round(100 * p)}%`;

// What the ladder says, counted.
function drawLead() {
  const T = run.ids.length, box = $("lead");
  const [low, , high] = now.rungs.map(({readings}) => readings);
  const [read, next] = [count(low[0], run.ids), count(high.at(-1), run.targets)];
  box.textContent = state.step ? `After ${state.step} steps on one sentence, in your browser: `
    : "This small GPT has learnt nothing yet: ";
  element("b", "lookup", `just looked up in E, ${read} of ${T} vectors spell the token read`, box);
  box.append(state.silent ? "; with the block now silenced, " : "; after the block, ");
  const E = run.tied ? "the same E" : "the other matrix";
  element("b", "logits", `${E} spells the token to come at ${next} of ${T}`, box);
  const [loss, tiedLoss] = [run.saved.at(-1).loss, run.tiedLoss].map(x => x && full(x, 2));
  box.append(state.value !== null ? ". One number was moved by hand."
    : state.silent ? ". (It was silenced after training.)"
    : !run.tied ? ". No logit trains E. " + (tiedLoss
      ? `The loss ends at ${loss}, with one matrix at ${tiedLoss}; one sentence cannot show ` +
        "which is better." : "")
    : Math.min(read, next) < 0.8 * T ? "."
    : `. So one matrix ${read + next < 2 * T ? "nearly " : ""}does both jobs: E is one ` +
      "alphabet, and the block turns one letter into the next.");
}

// ---- the ladder

const narrow = matchMedia("(max-width: 44rem)");  // there its foot is at the left

function drawLadder() {
  const {ids, targets, vocabulary} = run, across = !narrow.matches;
  const th = (text, use, ofRow) =>
    Object.assign(element("th", use, text), {scope: ofRow === across ? "row" : "col"});
  const line = (head, cells, counts = ["", ""]) => [head, ...cells,
    ...["lookup", "logits"].map((use, k) => element("td", `count ${use}`, counts[k]))];
  const plain = (label, use, row) =>
    line(th(label, use, true), row.map(v => element("td", `token ${use}`, vocabulary[v])));
  const rung = (name, note, {by, probs}, i) => {
    const head = th(name, i ? "block" : "", true);
    element("small", "", run.tied ? note : `${by} spells`, head);
    return line(head, probs.map((p, t) => {
      const v = best(p), read = v === ids[t], next = v === targets[t];
      const use = read && next ? "sum" : read ? "lookup" : next ? "logits" : "";
      const cell = element("td", `cell spelled positive ${use}`, vocabulary[v]);
      element("small", "", percent(p[v]), cell);
      cell.style.setProperty("--a", p[v].toFixed(3));
      return cell;
    }), [ids, targets].map(row => count({probs}, row)));
  };
  const lines = [
    plain("token read", "lookup", ids),
    ...now.rungs.flatMap(({name, note, readings}, i) =>
      readings.map(reading => rung(name, note, reading, i))),
    plain("token to come", "logits", targets)];
  const first = [element("td"), ...ids.map((_, t) => th(t, "", false)),
                 ...["read", "next"].map(text => th(text, "count", false))];
  const grid = [first, ...(across ? lines.reverse() : lines)];
  const table = element("table", ids.length > 12 && across ? "many" : "");
  for (const cells of across ? grid : transposed(grid))
    element("tr", "", "", table).append(...cells);
  table.setAttribute("aria-label", "The ladder: what each position's vector spells on its way");
  $("ladder").replaceChildren(table);
}

// ---- E and dE

function drawMatrices() {  // with two matrices each stands beside its gradient
  const draw = (box, items) => drawEquation($(box), items.map(item => ({...item, rows: tokens(),
    choose: (v, j) => change({cell: {matrix: item.name, v, j}})})));
  const size = `${tokens().length} tokens × ${DATA.D}`;
  const [E, head] = ["E", "head"].map(name => ({name, values: now[name], use: "weights", size}));
  const [dE] = now.grads, scale = largest([...dE, ...now.fromLookup, ...now.fromLogits]);
  const lookup = {values: now.fromLookup, scale, use: "lookup", size: "one_hotᵀ dx"};
  const logits = {values: now.fromLogits, scale, use: "logits", size: "dlogitsᵀ h"};
  draw("matrices", run.tied ? [E] : []);
  draw("sums", run.tied ? [
    {name: "dE", values: dE, scale, use: "sum", size: "gradient of E"},
    {...lookup, name: "lookup", sign: "="}, {...logits, name: "logits", sign: "+"}]
    : [E, {...lookup, name: "dE"}, head, {...logits, name: "dhead"}]);
}

// ---- the chosen number

const lineOf = begin => DATA.lines.findIndex(text => text.trim().startsWith(begin));
const codeOf = n => `${DATA.first + n}  ${DATA.lines[n].split("  #")[0].trim()}`;
const chosen = () => ({...state.cell, matrix: /head/.test(state.cell.matrix) ? "head" : "E"});
const moved = () => state.value === null ? null : {...chosen(), value: state.value};

// The terms of a number of E, of its gradient or of a part of it: [label, term], or two factors.
function termsOf({matrix, v, j}) {
  const [lookup, logits] = [now.fromLookup[v][j], now.fromLogits[v][j]];
  if (run.tied && /E/.test(matrix))
    return [[["lookup", lookup], ["logits", logits]], now.grads[0][v][j]];
  if (/head|logits/.test(matrix)) return [
    positions().map((at, t) => [at, made("dlogits")[t][v], made("h")[t][j]]), logits];
  return [run.ids.flatMap((id, t) => id === v ? [[position(t), made("dx")[t][j]]] : []), lookup];
}

function drawNumber() {
  const {matrix, v, j} = state.cell, W = chosen().matrix, at = `[${run.vocabulary[v]}, ${j}]`;
  const value = now[W][v][j], d = (W === "E" ? now.grads[0] : now.dhead)[v][j];
  $("name").textContent = `${W}${at} =`;
  if ($("value") !== document.activeElement) $("value").value = +value.toPrecision(4);
  $("put-back").hidden = state.value === null;
  const by = slope(run, state.step, state.silent, {matrix: W, v, j, value});
  $("slopes").replaceChildren();
  addRow($("slopes"), ["slope, by differences", signed(by.toPrecision(6))]);
  addRow($("slopes"), [`d${W}${at}, by backward`, signed(d.toPrecision(6))]);
  $("sum").textContent = `${matrix === W ? `d${W}` : matrix}${at} is the sum of`;
  $("terms").replaceChildren();
  drawTerms($("terms"), ...termsOf(state.cell));
  const head = `① ${codeOf(lineOf("dE += dlogits"))}\n`;
  const lookup = `② ${codeOf(lineOf("dE += one_hot"))}`;
  $("sources").textContent = run.tied && /E/.test(matrix) ? head + lookup
    : /head|logits/.test(matrix) ? head : lookup;
  const tables = [...document.querySelectorAll(":is(#matrices, #sums) table")];
  mark(tables.find(({item}) => item.name === matrix).cells[v][j],
       tables.map(({cells}) => cells[v][j]));
}

// ---- training

function drawTrack() {
  const logs = run.saved.flatMap(at => [at.lookup, at.logits]).filter(Boolean).map(Math.log);
  const low = Math.min(...logs), high = Math.max(...logs);
  const y = n => n ? 37 - 34 * (Math.log(n) - low) / (high - low || 1) : 40;
  const points = use => run.saved.map((at, i) => [400 * i / DATA.steps, y(at[use])]).join(" ");
  $("track").innerHTML = ["lookup", "logits"].map(use =>
    `<polyline class="${use}" points="${points(use)}"/>`).join("");
}
function drawStep() {
  const {step} = state, said = `step ${step}, loss ${now.loss.toFixed(4)}`;
  Object.assign($("step"), {max: DATA.steps, value: step}).setAttribute("aria-valuetext", said);
  $("loss").textContent = `${said}: the right token gets ${percent(Math.exp(-now.loss))}`;
}
