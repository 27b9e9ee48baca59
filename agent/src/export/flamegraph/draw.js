// Drawing: the part of a view that is in sight, on a canvas as large as the window.

const ROW = 19;
// Narrower frames are not drawn, nor is what is below them.
const NARROWEST = 0.4;
const FONT = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

// Places beside each other that are too narrow to be drawn.
class Rest {
  constructor(parent, sides) {
    this.parent = parent;
    this.depth = parent.depth + 1;
    this.count = 0;
    this.values = new Array(sides).fill(0);
  }

  add(place) {
    this.count++;
    place.values.forEach((value, side) => { this.values[side] += value; });
  }
}

class Drawing {
  constructor(canvas, space, tree, colors) {
    this.canvas = canvas;
    this.space = space;
    this.tree = tree;
    this.colors = colors;
    this.context = canvas.getContext("2d");
    this.context.font = FONT;
    this.letter = this.context.measureText("M").width;
    this.view = null;
    this.zoomed = null;
    this.flipped = false;
    // The side whose shares are the widths.
    this.side = tree.sides - 1;
    this.matches = null;
    this.over = null;
    this.focus = null;
    // What was drawn last: [place, x, y, width].
    this.drawn = [];
    this.rows = 1;
  }

  // Measures, draws, and remembers where everything is.
  draw() {
    const width = this.space.clientWidth - 28;
    const boxes = [];
    this.rows = this.layout(width, boxes) + 1;
    const room = Math.max(120, innerHeight - this.canvas.offsetTopFixed);
    // The root stands on the window's bottom.
    if (this.flipped) this.rows = Math.max(this.rows, Math.floor((room - 8) / ROW));
    this.space.style.height = `${Math.max(this.rows * ROW + 8, room)}px`;
    const height = room;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    const context = this.context;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    context.textBaseline = "middle";
    this.drawn = [];
    const top = this.scrolled();
    for (const [place, x, depth, wide] of boxes) {
      const row = this.flipped ? this.rows - 1 - depth : depth;
      const y = row * ROW + 4 - top;
      if (y + ROW < 0 || y > height) continue;
      this.drawn.push([place, x, y, wide]);
      this.box(place, x, y, wide);
    }
  }

  // Where each place that can be seen lies; returns the greatest depth.
  layout(width, boxes) {
    let deepest = 0;
    for (let place = this.zoomed.parent; place; place = place.parent) boxes.push([place, 0, place.depth, width]);
    const waiting = [[this.zoomed, 0, width]];
    while (waiting.length > 0) {
      const [place, left, wide] = waiting.pop();
      boxes.push([place, left, place.depth, wide]);
      deepest = Math.max(deepest, place.depth);
      const whole = place.values[this.side];
      if (whole <= 0) continue;
      let x = left;
      let rest = null;
      for (const child of this.view.below(place)) {
        const part = wide * child.values[this.side] / whole;
        if (part >= NARROWEST) {
          waiting.push([child, x, part]);
          rest = null;
        } else if (part > 0) {
          // Neighbours that are too narrow are drawn as one.
          if (!rest) boxes.push(rest = [new Rest(place, this.tree.sides), x, place.depth + 1, 0]);
          rest[0].add(child);
          rest[3] += part;
        }
        x += part;
      }
    }
    return deepest;
  }

  box(place, x, y, wide) {
    const context = this.context;
    if (place.count) {
      context.fillStyle = this.colors.rest();
      context.fillRect(x, y, wide, ROW - 1);
      return;
    }
    const isAbove = place.depth < this.zoomed.depth;
    const isFound = this.matches && this.matches[place.frame];
    context.globalAlpha = isAbove || (this.matches && !isFound) ? 0.55 : 1;
    context.fillStyle = isFound ? this.colors.found() : this.color(place);
    const gap = wide > 3 ? 1 : 0;
    context.fillRect(x, y, Math.max(wide - gap, 0.3), ROW - 1);
    context.globalAlpha = 1;
    if (place === this.focus || place === this.over) {
      context.strokeStyle = this.colors.focus();
      context.lineWidth = place === this.focus ? 2 : 1;
      context.strokeRect(x + 0.5, y + 0.5, Math.max(wide - gap - 1, 1), ROW - 2);
    }
    const room = Math.floor((wide - 8) / this.letter);
    if (room < 2) return;
    const name = this.tree.name(place.frame);
    context.fillStyle = this.colors.text();
    context.fillText(name.length <= room ? name : `${name.slice(0, room - 1)}…`, x + 4, y + ROW / 2);
  }

  color(place) {
    if (this.tree.sides === 1) return this.colors.frame(place.frame);
    const share = (side) => this.tree.all[side] > 0 ? place.values[side] / this.tree.all[side] : 0;
    return this.colors.change(share(0), share(1));
  }

  // How much of the graph is above what can be seen.
  scrolled() {
    return Math.max(0, this.canvas.getBoundingClientRect().top - this.space.getBoundingClientRect().top);
  }

  at(x, y) {
    const hit = this.drawn.find(([, left, top, wide]) => x >= left && x < left + wide && y >= top && y < top + ROW);
    return hit ? hit[0] : null;
  }

  where(place) { return this.drawn.find(([drawn]) => drawn === place); }
}
