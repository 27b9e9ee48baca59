// The page around the drawing: search, zoom, keys, what is said of a frame.

const $ = (id) => document.getElementById(id);
const tree = new Tree(JSON.parse($("data").textContent));
const colors = new Colors(tree);
const drawing = new Drawing($("graph"), $("space"), tree, colors);
const views = { calls: new Calls(tree), callers: null };
const last = tree.sides - 1;

const counted = (value) => value.toLocaleString("en");
const percent = (part, whole) => whole > 0 ? `${(100 * part / whole).toFixed(2)} %` : "–";
const seconds = (count) => tree.data.period_ns > 0 ? `${(count * tree.data.period_ns / 1e9).toFixed(2)} s` : "";

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    place();
    drawing.draw();
  });
}

// The canvas stays below the head, however high that is.
function place() {
  const head = $("head").offsetHeight;
  drawing.canvas.offsetTopFixed = head;
  drawing.canvas.style.top = `${head}px`;
}

function zoom(to) {
  drawing.zoomed = to;
  drawing.focus = to === drawing.view.root ? null : to;
  const path = $("path");
  path.replaceChildren();
  const way = [];
  for (let step = to; step; step = step.parent) way.unshift(step);
  if (way.length > 1) {
    for (const step of way) {
      const button = document.createElement("button");
      button.textContent = tree.name(step.frame);
      button.title = tree.name(step.frame);
      button.addEventListener("click", () => zoom(step));
      path.append(button);
    }
    path.scrollTop = path.scrollHeight;
  }
  redraw();
}

function show(name) {
  if (name === "callers" && !views.callers) views.callers = new Callers(tree);
  drawing.view = views[name];
  drawing.over = null;
  $("invert").setAttribute("aria-pressed", String(name === "callers"));
  zoom(drawing.view.root);
}

function search() {
  const field = $("search");
  const found = $("found");
  const text = field.value;
  field.classList.remove("wrong");
  drawing.matches = null;
  found.textContent = "";
  if (text) {
    try {
      // Small letters find both.
      const pattern = new RegExp(text, /\p{Lu}/u.test(text) ? "u" : "iu");
      const matches = new Uint8Array(tree.frames());
      let functions = 0;
      for (let frame = 1; frame < matches.length; frame++) {
        matches[frame] = pattern.test(tree.name(frame)) ? 1 : 0;
        functions += matches[frame];
      }
      drawing.matches = matches;
      const shares = tree.all.map((all, side) => percent(tree.within(matches, side), all)).join(" → ");
      found.textContent = `${shares} in ${counted(functions)} function${functions === 1 ? "" : "s"}`;
    } catch {
      field.classList.add("wrong");
      found.textContent = "not a regular expression";
    }
  }
  redraw();
}

function row(cells) {
  const row = document.createElement("tr");
  for (const cell of cells) row.insertCell().textContent = cell;
  return row;
}

function describe(to) {
  const table = document.createElement("table");
  const whole = drawing.zoomed.values;
  for (let side = 0; side < tree.sides; side++) {
    const label = tree.sides === 1 ? "" : side === 0 ? "before " : "after ";
    const line = (what, value) => row([`${label}${what}`, counted(value), percent(value, tree.all[side]), seconds(value)]);
    table.append(line("total", to.values[side]));
    if (to.own && drawing.view === views.calls) table.append(line("self", to.own[side]));
    if (drawing.zoomed.parent) table.append(row([`${label}of what is zoomed`, "", percent(to.values[side], whole[side]), ""]));
  }
  if (tree.sides === 2) {
    const share = (side) => tree.all[side] > 0 ? 100 * to.values[side] / tree.all[side] : 0;
    const change = share(1) - share(0);
    table.append(row(["change", "", `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)} points`, ""]));
  }
  return table;
}

function kind(frame) {
  const origin = tree.data.origins[tree.origin(frame)];
  const module = tree.module(frame);
  return [module, tree.inlined(frame) ? `${origin}, inlined` : frame === 0 ? "" : origin].filter(Boolean).join(" · ");
}

function tip(to, x, y) {
  const box = $("tip");
  box.hidden = !to;
  if (!to) return;
  const name = document.createElement("b");
  name.textContent = to.count ? `${counted(to.count)} narrower frames` : tree.name(to.frame);
  const about = document.createElement("small");
  about.textContent = to.count ? "too narrow to be drawn" : kind(to.frame);
  box.replaceChildren(name, about, describe(to));
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  box.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

function point(event) {
  const box = drawing.canvas.getBoundingClientRect();
  return drawing.at(event.clientX - box.left, event.clientY - box.top);
}

// Moves the focus, brings it into sight, and says what it is.
function focus(to) {
  if (!to) return;
  drawing.focus = to;
  const row = drawing.flipped ? drawing.rows - 1 - to.depth : to.depth;
  const y = row * ROW;
  const top = drawing.scrolled();
  const room = drawing.canvas.clientHeight;
  if (y < top) scrollBy(0, y - top - ROW);
  if (y + 2 * ROW > top + room) scrollBy(0, y + 2 * ROW - top - room);
  place();
  drawing.draw();
  const shares = to.values.map((value, side) => percent(value, tree.all[side])).join(" → ");
  $("say").textContent = `${tree.name(to.frame)}, ${shares}`;
  const drawn = drawing.where(to);
  if (drawn) {
    const box = drawing.canvas.getBoundingClientRect();
    tip(to, box.left + drawn[1], box.top + drawn[2]);
  }
}

function beside(to, by) {
  if (!to.parent) return null;
  const wide = drawing.view.below(to.parent).filter((one) => one.values[drawing.side] > 0);
  return wide[wide.indexOf(to) + by];
}

function widest(to) {
  const side = drawing.side;
  return drawing.view.below(to).reduce((best, one) => one.values[side] > (best ? best.values[side] : 0) ? one : best, null);
}

function toggleFlip() {
  drawing.flipped = !drawing.flipped;
  $("flip").setAttribute("aria-pressed", String(drawing.flipped));
  place();
  drawing.draw();
  scrollTo(0, drawing.flipped ? document.body.scrollHeight : 0);
}

function toggleWidths() {
  if (tree.sides === 1) return;
  drawing.side = 1 - drawing.side;
  const button = $("widths");
  button.setAttribute("aria-pressed", String(drawing.side === 0));
  button.textContent = `Widths: ${drawing.side === 0 ? "before" : "after"}`;
  redraw();
}

function toggleHelp() {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
  redraw();
}

function reset() {
  $("search").value = "";
  tip(null);
  search();
  zoom(drawing.view.root);
}

function invert() { show(drawing.view === views.calls ? "callers" : "calls"); }

const KEYS = {
  "/": () => $("search").focus(),
  "?": toggleHelp,
  i: invert,
  f: toggleFlip,
  w: toggleWidths,
  Escape: reset,
  Backspace: () => zoom(drawing.zoomed.parent || drawing.zoomed),
  Enter: () => drawing.focus && zoom(drawing.focus),
  ArrowLeft: () => focus(beside(drawing.focus || drawing.zoomed, -1)),
  ArrowRight: () => focus(beside(drawing.focus || drawing.zoomed, 1)),
  ArrowUp: () => vertical(drawing.flipped),
  ArrowDown: () => vertical(!drawing.flipped),
};

function vertical(down) {
  const from = drawing.focus || drawing.zoomed;
  focus(down ? (drawing.focus ? widest(from) : from) : from.parent);
}

function legend() {
  const box = $("legend");
  box.replaceChildren();
  const entry = (color, text) => {
    const span = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.background = color;
    span.append(mark, text);
    box.append(span);
  };
  if (tree.sides === 2) {
    entry(colors.change(0, 1), "grew or is new");
    entry(colors.change(1, 1), "as before");
    entry(colors.change(1, 0), "shrank");
    return;
  }
  // Where the time went, by the kind of code that ran.
  const sums = new Array(tree.data.origins.length).fill(0);
  for (let node = 1; node < tree.count; node++) sums[tree.origin(tree.frame[node])] += tree.own[0][node];
  tree.data.origins.forEach((origin, index) => {
    const isThere = sums[index] > 0 || (index > 0 && hasFrames(index));
    if (isThere && index > 0) entry(colors.origin(origin), `${origin} ${percent(sums[index], tree.all[0])}`);
  });
}

function hasFrames(origin) {
  for (let frame = 0; frame < tree.frames(); frame++) {
    if (tree.origin(frame) === origin) return true;
  }
  return false;
}

function summary() {
  const counts = tree.all.map((all) => counted(all)).join(" → ");
  const time = tree.sides === 1 ? seconds(tree.all[0]) : "";
  return [tree.data.subtitle, `${counts} ${tree.data.unit}`, time && `${time} of CPU time`].filter(Boolean).join(" · ");
}

function start() {
  $("title").textContent = tree.data.title;
  $("subtitle").textContent = summary();
  $("widths").hidden = tree.sides === 1;
  legend();
  const canvas = drawing.canvas;
  canvas.addEventListener("mousemove", (event) => {
    const over = point(event);
    if (over !== drawing.over) redraw();
    drawing.over = over;
    tip(over, event.clientX, event.clientY);
  });
  canvas.addEventListener("mouseleave", () => { drawing.over = null; tip(null); redraw(); });
  canvas.addEventListener("click", (event) => { const to = point(event); if (to) zoom(to.count ? to.parent : to); });
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.target.value = ""; search(); }
    if (event.key === "Escape" || event.key === "Enter") canvas.focus();
    event.stopPropagation();
  });
  $("invert").addEventListener("click", invert);
  $("flip").addEventListener("click", toggleFlip);
  $("widths").addEventListener("click", toggleWidths);
  $("reset").addEventListener("click", reset);
  $("help").addEventListener("click", toggleHelp);
  document.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    const isButton = event.target instanceof HTMLButtonElement && event.key === "Enter";
    if (!act || isButton || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  addEventListener("scroll", redraw, { passive: true });
  addEventListener("resize", redraw);
  colors.dark.addEventListener("change", () => { legend(); redraw(); });
  show("calls");
  place();
  drawing.draw();
}

start();
