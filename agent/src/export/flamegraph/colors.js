// Colours: by origin for a profile, by change for a comparison.

// Hue and saturation of each origin; the order is that of `data.origins`.
const HUES = { thread: [220, 6], kernel: [212, 48], native: [36, 78], jit: [140, 42], interpreted: [328, 52], python: [268, 50] };

class Colors {
  constructor(tree) {
    this.tree = tree;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.known = new Map();
    this.dark.addEventListener("change", () => this.known.clear());
  }

  // The same function has the same colour in every page: a hash of its name shifts it a little from its origin's.
  frame(frame) {
    let color = this.known.get(frame);
    if (!color) {
      const [hue, saturation] = HUES[this.tree.data.origins[this.tree.origin(frame)]];
      const hash = hashOf(this.tree.name(frame));
      const shift = (hash % 17) - 8;
      const light = (this.dark.matches ? 34 : 70) + ((hash >> 5) % 9) - 4;
      const lighter = this.tree.inlined(frame) ? (this.dark.matches ? -8 : 11) : 0;
      color = `hsl(${hue + shift} ${saturation}% ${light + lighter}%)`;
      this.known.set(frame, color);
    }
    return color;
  }

  origin(name) {
    const [hue, saturation] = HUES[name];
    return `hsl(${hue} ${saturation}% ${this.dark.matches ? 36 : 70}%)`;
  }

  // Red for a share that grew, blue for one that shrank; the more of it changed, the stronger.
  change(before, after) {
    const all = Math.max(before, after);
    const part = all > 0 ? (after - before) / all : 0;
    const strength = Math.min(1, Math.abs(part));
    const hue = part > 0 ? 8 : 215;
    const [pale, deep] = this.dark.matches ? [26, 46] : [93, 62];
    return `hsl(${hue} ${Math.round(12 + 68 * strength)}% ${Math.round(pale + (deep - pale) * strength)}%)`;
  }

  text() { return this.dark.matches ? "#f2f3f5" : "#15171a"; }
  rest() { return this.dark.matches ? "#2b2f37" : "#e3e5e9"; }
  found() { return this.dark.matches ? "#b3189b" : "#ff6ae6"; }
  focus() { return this.dark.matches ? "#ffffff" : "#000000"; }
}

// FNV-1a.
function hashOf(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
