// The call tree, and the two ways to look at it.
//
// `Tree` is the data as it came, in typed arrays: node 0 is the root, a node comes after its caller, and a subtree is one range. A view is
// made of places, which are made only as far as something of them can be seen: `Calls` follows the tree; `Callers` starts with what ran and goes
// from there to who called it.

class Tree {
  constructor(data) {
    this.data = data;
    this.sides = data.sides;
    const step = 2 + data.sides;
    const count = data.nodes.length / step;
    this.count = count;
    this.frame = new Int32Array(count);
    this.parent = new Int32Array(count);
    // The index behind the last node of a subtree.
    this.end = new Int32Array(count);
    this.own = [];
    this.total = [];
    for (let side = 0; side < data.sides; side++) {
      this.own.push(new Float64Array(count));
      this.total.push(new Float64Array(count));
    }
    const way = [];
    for (let node = 0; node < count; node++) {
      const at = node * step;
      const depth = data.nodes[at + 1];
      while (way.length > depth) this.end[way.pop()] = node;
      this.frame[node] = data.nodes[at];
      this.parent[node] = depth > 0 ? way[depth - 1] : -1;
      way.push(node);
      for (let side = 0; side < data.sides; side++) this.own[side][node] = data.nodes[at + 2 + side];
    }
    while (way.length > 0) this.end[way.pop()] = count;
    for (let side = 0; side < data.sides; side++) {
      const total = this.total[side];
      total.set(this.own[side]);
      for (let node = count - 1; node > 0; node--) total[this.parent[node]] += total[node];
    }
    this.all = this.total.map((total) => total[0]);
  }

  frames() { return this.data.frames.length / 4; }
  name(frame) { return this.data.strings[this.data.frames[4 * frame]]; }
  module(frame) { return this.data.strings[this.data.frames[4 * frame + 1]]; }
  origin(frame) { return this.data.frames[4 * frame + 2]; }
  inlined(frame) { return this.data.frames[4 * frame + 3] === 1; }

  // What the stacks count that have one of these frames in them, each stack once.
  within(matches, side) {
    let sum = 0;
    for (let node = 0; node < this.count;) {
      if (node > 0 && matches[this.frame[node]]) {
        sum += this.total[side][node];
        node = this.end[node];
      } else {
        node++;
      }
    }
    return sum;
  }
}

class Place {
  constructor(parent, frame, values, own) {
    this.parent = parent;
    this.frame = frame;
    this.depth = parent ? parent.depth + 1 : 0;
    // Of each side: with what is below it, and what ends here.
    this.values = values;
    this.own = own;
    this.below = null;
  }
}

class Calls {
  constructor(tree) {
    this.tree = tree;
    this.root = this.place(null, 0);
  }

  place(parent, node) {
    const values = this.tree.total.map((total) => total[node]);
    const own = this.tree.own.map((own) => own[node]);
    const place = new Place(parent, this.tree.frame[node], values, own);
    place.node = node;
    return place;
  }

  below(place) {
    if (!place.below) {
      place.below = [];
      const end = this.tree.end[place.node];
      for (let node = place.node + 1; node < end; node = this.tree.end[node]) place.below.push(this.place(place, node));
    }
    return place.below;
  }
}

class Callers {
  constructor(tree) {
    this.tree = tree;
    this.root = new Place(null, 0, [...tree.all], tree.own.map((own) => own[0]));
    // Where stacks end; from here each goes to its caller, the caller's caller, and so on.
    const ends = [];
    for (let node = 1; node < tree.count; node++) {
      if (tree.own.some((own) => own[node] > 0)) ends.push(node);
    }
    this.root.ends = ends;
    this.root.at = ends;
  }

  below(place) {
    if (place.below) return place.below;
    const tree = this.tree;
    const isRoot = place === this.root;
    const groups = new Map();
    place.ends.forEach((end, index) => {
      const node = isRoot ? end : tree.parent[place.at[index]];
      if (node <= 0) return;
      const frame = tree.frame[node];
      let group = groups.get(frame);
      if (!group) {
        const none = () => new Array(tree.sides).fill(0);
        group = new Place(place, frame, none(), none());
        group.ends = [];
        group.at = [];
        groups.set(frame, group);
      }
      group.ends.push(end);
      group.at.push(node);
      for (let side = 0; side < tree.sides; side++) {
        group.values[side] += tree.own[side][end];
        if (isRoot) group.own[side] += tree.own[side][end];
      }
    });
    const sum = (group) => group.values.reduce((a, b) => a + b, 0);
    place.below = [...groups.values()].sort((a, b) => sum(b) - sum(a));
    return place.below;
  }
}
