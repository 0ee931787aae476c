// Where one is (a stop of the tour, or a step of every line), how one moves on, and the links to it.

let mode = "stop", timer = null;
const SECONDS = {stop: 14, step: 0.8};  // at normal speed

function announce(text) { $("announcement").textContent = text; }

function show(kind, n, entry = kind === "stop" || kind !== mode) {   // entry: one to which the back button returns
  mode = document.body.dataset.mode = kind;
  $("tour").hidden = $("places").hidden = kind !== "stop";
  $("lines").hidden = $("line-time").hidden = $("line-buttons").hidden = kind !== "step";
  $("to-tour").setAttribute("aria-pressed", kind === "stop");
  $("to-lines").setAttribute("aria-pressed", kind === "step");
  chosen = null;
  const before = stopNow;
  if (kind === "stop") showStop(n);
  else { showStep(n); fitMap(); }
  const end = kind === "stop" ? stops.length - 1 : shownSteps.length - 1;
  const at = kind === "stop" ? stopNow : shownSteps.indexOf(stepNow);
  $("back").setAttribute("aria-disabled", at === 0);
  $("on").setAttribute("aria-disabled", at === end);
  $("on").textContent = kind === "stop" && at === 0 ? "Begin ▶" : "Next ▶";
  const link = kind === "stop" ? `#stop=${stops[stopNow].name}` : `#step=${stepNow + 1}`;
  if (location.hash !== link) history[entry ? "pushState" : "replaceState"](null, "", link);
  if (kind === "stop" && stopNow !== before) window.scrollTo(0, 0);
  return at < end;
}
function go(kind, n) {                  // by hand: playing stops
  stop();
  show(kind, n);
}
function move(direction) {
  if (mode === "stop") return show("stop", stopNow + direction);
  const at = shownSteps.indexOf(stepNow) + direction;
  return show("step", shownSteps[Math.max(0, Math.min(shownSteps.length - 1, at))]);
}

function stop() {
  clearTimeout(timer);
  timer = null;
  $("play").setAttribute("aria-pressed", "false");
  $("play").textContent = "Play";
}
function tick() {
  timer = setTimeout(() => move(1) ? tick() : stop(), 1000 * SECONDS[mode] * $("speed").value);
}
function play() {
  if (timer) return stop();
  if ($("on").getAttribute("aria-disabled") === "true") show(mode, 0);
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "Pause";
  tick();
}

function follow() {                     // #stop=name, #stop=6, #step=57
  const [, kind, value] = /^#(stop|step)=([\w-]+)$/.exec(location.hash) || [null, "stop", "0"];
  const named = stops.findIndex(stop => stop.name === value);
  show(kind, kind === "stop" && named >= 0 ? named : (parseInt(value) || 0) - (kind === "step"), false);
}

$("back").addEventListener("click", () => { stop(); move(-1); });
$("on").addEventListener("click", () => { stop(); move(1); });
$("play").addEventListener("click", play);
$("speed").addEventListener("change", () => { if (timer) { clearTimeout(timer); tick(); } });
$("layer-back").addEventListener("click", () => go("step", nextLayer(-1)));
$("layer-on").addEventListener("click", () => go("step", nextLayer(1)));
$("to-tour").addEventListener("click", () => go("stop", stopNow));
$("to-lines").addEventListener("click", () => go("step", stopNow ? stops[stopNow].step : stepNow));
$("large").addEventListener("click", () => {
  const on = document.documentElement.classList.toggle("large");
  $("large").setAttribute("aria-pressed", on);
  show(mode, mode === "stop" ? stopNow : stepNow);
});
$("full").addEventListener("click", () =>
  document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
document.addEventListener("fullscreenchange", () =>
  $("full").setAttribute("aria-pressed", Boolean(document.fullscreenElement)));
document.addEventListener("keydown", event => {         // ← → move, with Shift by layers
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input, .source")) return;
  const direction = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!direction) return;
  event.preventDefault();
  stop();
  if (event.shiftKey && mode === "step") show("step", nextLayer(direction));
  else move(direction);
});
const bar = document.querySelector("nav");              // what sticks above it needs to know how high it is
new ResizeObserver(() => document.documentElement.style.setProperty("--nav", `${bar.offsetHeight}px`)).observe(bar);
if (!document.fullscreenEnabled) $("full").hidden = true;
window.addEventListener("hashchange", follow);
follow();
