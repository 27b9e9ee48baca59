//! A call tree: all stacks with their common beginnings once, from one profile or from two that are compared.

use std::{collections::HashMap, sync::Arc};

use super::frames::{self, frames};
use crate::profile::{Origin, Profile};

/// A function as a tree shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// What it is called.
    pub name: Arc<str>,
    /// The file that its code is in; empty where none is known.
    pub module: Arc<str>,
    /// What kind of code it is; none for what is no code: the thread that a stack begins with.
    pub origin: Option<Origin>,
    /// Whether the compiler put it into its caller.
    pub inlined: bool,
}

impl Frame {
    /// That of a stack's frame.
    pub fn of(frame: &frames::Frame<'_>) -> Self {
        Self {
            name: frame.name().into(),
            module: frame.module().into(),
            origin: Some(frame.origin()),
            inlined: frame.inlined,
        }
    }
}

/// Which of two profiles a stack is of. With one profile all are of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one before, or the only one.
    First = 0,
    /// The one after.
    Second = 1,
}

/// A place in the tree: a function called along one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index of the caller's node; the root's is its own.
    pub parent: u32,
    /// Index of the function in [`CallTree::frames`].
    pub frame: u32,
    /// What the stacks count that end here, of each side.
    pub own: [u64; 2],
}

/// What a function counts, of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The stacks that it is the leaf of.
    pub own: [u64; 2],
    /// The stacks that it is in, each once, however often it is in it.
    pub total: [u64; 2],
}

/// The tree. Node 0 is its root, which stands for everything; a node comes after its caller.
#[derive(Clone, Debug)]
pub struct CallTree {
    frames: Vec<Frame>,
    frame_ids: HashMap<Frame, u32>,
    nodes: Vec<Node>,
    /// By caller's node and function.
    children: HashMap<(u32, u32), u32>,
}

impl Default for CallTree {
    fn default() -> Self {
        let root = Frame {
            name: "all".into(),
            module: "".into(),
            origin: None,
            inlined: false,
        };
        let node = Node {
            parent: 0,
            frame: 0,
            own: [0; 2],
        };
        Self {
            frames: vec![root.clone()],
            frame_ids: HashMap::from([(root, 0)]),
            nodes: vec![node],
            children: HashMap::new(),
        }
    }
}

impl CallTree {
    /// The tree of all profiles together, the name of its thread at the root of each stack.
    pub fn of(profiles: &[Profile]) -> Self {
        let mut tree = Self::default();
        for profile in profiles {
            for stack in &profile.stacks {
                let thread = Frame {
                    name: Arc::clone(&stack.comm),
                    module: "".into(),
                    origin: None,
                    inlined: false,
                };
                let code = frames(profile, stack).map(|frame| Frame::of(&frame));
                let stack_frames = std::iter::once(thread).chain(code);
                tree.add(stack_frames, Side::First, stack.count);
            }
        }
        tree
    }

    /// Adds a stack, from the root to the leaf.
    pub fn add(&mut self, stack: impl IntoIterator<Item = Frame>, side: Side, count: u64) {
        let mut node = 0;
        for frame in stack {
            let frame = self.frame(frame);
            node = self.child(node, frame);
        }
        let own = &mut self.nodes[node as usize].own[side as usize];
        *own = own.saturating_add(count);
    }

    /// The functions. The first is that of the root.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The nodes: each after its caller.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What each node and all that it called count, of each side; the root's is the whole.
    pub fn totals(&self) -> Vec<[u64; 2]> {
        let mut totals: Vec<_> = self.nodes.iter().map(|node| node.own).collect();
        for index in (1..totals.len()).rev() {
            let parent = self.nodes[index].parent as usize;
            let below = totals[index];
            add(&mut totals[parent], below);
        }
        totals
    }

    /// What each function counts.
    pub fn functions(&self) -> HashMap<&Frame, Counted> {
        let totals = self.totals();
        let mut functions: HashMap<&Frame, Counted> = HashMap::new();
        // How often each function is on the way from the root to where we are: a stack counts once for it.
        let mut on_way = vec![0_u32; self.frames.len()];
        let mut way: Vec<u32> = Vec::new();
        for (node, depth) in self.preorder() {
            for left in way.drain(depth as usize..) {
                on_way[left as usize] -= 1;
            }
            let at = self.nodes[node as usize];
            let counted = functions
                .entry(&self.frames[at.frame as usize])
                .or_default();
            add(&mut counted.own, at.own);
            if on_way[at.frame as usize] == 0 {
                add(&mut counted.total, totals[node as usize]);
            }
            on_way[at.frame as usize] += 1;
            way.push(at.frame);
        }
        functions
    }

    /// The nodes and their depths, each before what it called, callees of one caller in the order of their names.
    pub fn preorder(&self) -> Vec<(u32, u32)> {
        let mut callees: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        for (index, node) in (0..).zip(&self.nodes).skip(1) {
            callees[node.parent as usize].push(index);
        }
        let frame = |node: u32| &self.frames[self.nodes[node as usize].frame as usize];
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut waiting = vec![(0, 0)];
        while let Some((node, depth)) = waiting.pop() {
            order.push((node, depth));
            let mut of_node = std::mem::take(&mut callees[node as usize]);
            // The last one that is put there is the first that is taken.
            of_node.sort_by(|&a, &b| frame(b).cmp(frame(a)));
            waiting.extend(of_node.into_iter().map(|callee| (callee, depth + 1)));
        }
        order
    }

    fn frame(&mut self, frame: Frame) -> u32 {
        if let Some(&id) = self.frame_ids.get(&frame) {
            return id;
        }
        let id = index(self.frames.len());
        self.frames.push(frame.clone());
        self.frame_ids.insert(frame, id);
        id
    }

    fn child(&mut self, parent: u32, frame: u32) -> u32 {
        let next = index(self.nodes.len());
        let child = *self.children.entry((parent, frame)).or_insert(next);
        if child == next {
            self.nodes.push(Node {
                parent,
                frame,
                own: [0; 2],
            });
        }
        child
    }
}

fn add(to: &mut [u64; 2], from: [u64; 2]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.saturating_add(from);
    }
}

/// A profile's memory is bounded far below this.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
