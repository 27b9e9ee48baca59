//! Where the parser is, and what it has seen.

use super::node::{Id, List, Node};

/// Reads a mangled name from left to right.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    pub(super) parts: Parts<'a>,
    /// Whether parameters may stand before their arguments: in the type of a conversion.
    pub(super) permits_forward: bool,
    pub(super) try_template_args: bool,
    /// In a lambda's parameters, a template parameter is the lambda's own: `auto`.
    pub(super) in_lambda: bool,
    depth: u32,
}

/// What a name is made of, and what to remember of it while it is read.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// The nodes of all [`List`]s.
    pub(super) lists: Vec<Id>,
    /// Those of lists that are being read, an inner one behind the outer one.
    open: Vec<Id>,
    /// Parts that the name may refer to again (`S_`, `S0_`, …).
    pub(super) substitutions: Vec<Id>,
    /// Arguments that parameters stand for (`T_`, `T0_`, …), from `args_from` on; those before are of names around this one.
    args: Vec<Id>,
    args_from: usize,
    /// Parameters whose arguments were not known yet.
    pub(super) forward: Vec<Id>,
}

/// A list that is being read.
#[derive(Clone, Copy)]
pub(super) struct Open(usize);

/// Deeper than any compiler's, and little enough for a small stack.
const MAX_DEPTH: u32 = 192;
/// More parts than a name of the longest names has.
const MAX_NODES: usize = 1 << 16;

impl<'a> Parts<'a> {
    /// The same without anything in it, for the next name.
    pub(super) fn cleared<'b>(mut self) -> Parts<'b> {
        self.nodes.clear();
        self.lists.clear();
        self.open.clear();
        self.substitutions.clear();
        self.args.clear();
        self.forward.clear();
        Parts {
            // Of no nodes, in the same memory.
            nodes: self.nodes.into_iter().map(|_| Node::Text("")).collect(),
            lists: self.lists,
            open: self.open,
            substitutions: self.substitutions,
            args: self.args,
            args_from: 0,
            forward: self.forward,
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let ids = [
            &self.lists,
            &self.open,
            &self.substitutions,
            &self.args,
            &self.forward,
        ];
        let ids: usize = ids.iter().map(|ids| ids.capacity()).sum();
        self.nodes.capacity() * size_of::<Node<'_>>() + ids * size_of::<Id>()
    }
}

impl<'a> Parser<'a> {
    /// `parts` are empty.
    pub(super) fn new(text: &'a str, parts: Parts<'a>) -> Self {
        Self {
            text,
            at: 0,
            parts,
            permits_forward: false,
            try_template_args: true,
            in_lambda: false,
            depth: 0,
        }
    }

    /// What was read, and what was not.
    pub(super) fn finish(self) -> (Parts<'a>, &'a str) {
        (self.parts, self.text.get(self.at..).unwrap_or("?"))
    }

    pub(super) fn add(&mut self, node: Node<'a>) -> Option<Id> {
        let nodes = &mut self.parts.nodes;
        if nodes.len() >= MAX_NODES {
            return None;
        }
        nodes.push(node);
        Some(nodes.len() as Id - 1)
    }

    pub(super) fn text(&mut self, text: &'a str) -> Option<Id> {
        self.add(Node::Text(text))
    }

    pub(super) fn node(&self, id: Id) -> Node<'a> {
        self.parts.nodes[id as usize]
    }

    /// Begins a list.
    pub(super) fn open(&self) -> Open {
        Open(self.parts.open.len())
    }

    /// Adds to the list that was begun last.
    pub(super) fn push(&mut self, item: Id) {
        self.parts.open.push(item);
    }

    /// Ends a list.
    pub(super) fn close(&mut self, open: Open) -> List {
        let Parts {
            lists, open: items, ..
        } = &mut self.parts;
        let first = lists.len();
        lists.extend(items.drain(open.0.min(items.len())..));
        List {
            first: first as u32,
            count: (lists.len() - first) as u32,
        }
    }

    /// Arguments that are known of the name that is read.
    pub(super) fn args(&self) -> &[Id] {
        &self.parts.args[self.parts.args_from..]
    }

    /// One more argument is known.
    pub(super) fn push_arg(&mut self, arg: Id) {
        self.parts.args.push(arg);
    }

    /// Reads a name of its own, whose parameters stand for other arguments.
    pub(super) fn with_own_args<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> T {
        let (from, end) = (self.parts.args_from, self.parts.args.len());
        self.parts.args_from = end;
        let parsed = parse(self);
        self.parts.args.truncate(end);
        self.parts.args_from = from;
        parsed
    }

    /// No argument is known any more.
    pub(super) fn clear_args(&mut self) {
        self.parts.args.truncate(self.parts.args_from);
    }

    /// Reads on and forgets the arguments that were met meanwhile.
    pub(super) fn keeping_args<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> T {
        let parts = &mut self.parts;
        let (from, end) = (parts.args_from, parts.args.len());
        // What is read may clear its own.
        parts.args.extend_from_within(from..);
        parts.args_from = end;
        let parsed = parse(self);
        self.parts.args.truncate(end);
        self.parts.args_from = from;
        parsed
    }

    pub(super) fn peek(&self) -> u8 {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.at + ahead)
            .copied()
            .unwrap_or(0)
    }

    pub(super) fn starts_with(&self, text: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(text.as_bytes())
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let is_there = self.starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    pub(super) fn expect(&mut self, text: &str) -> Option<()> {
        self.eat(text).then_some(())
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn back_to(&mut self, position: usize) {
        self.at = position;
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.text.len());
    }

    /// Bytes from a position on.
    pub(super) fn slice(&self, from: usize) -> Option<&'a str> {
        self.text.get(from..self.at)
    }

    /// Goes one deeper, if that is not too deep.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Digits, perhaps with `n` for a minus before them.
    pub(super) fn number(&mut self, negative: bool) -> &'a str {
        let from = self.at;
        if negative && self.peek() == b'n' {
            self.at += 1;
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.slice(from).unwrap_or_default()
    }

    /// A number in base 36 before `_`, less the form's own: `_` is 0, `0_` is 1.
    pub(super) fn sequence(&mut self, radix: u32) -> Option<usize> {
        if self.eat("_") {
            return Some(0);
        }
        let from = self.at;
        while self.peek().is_ascii_digit() || radix == 36 && self.peek().is_ascii_uppercase() {
            self.at += 1;
        }
        let number = usize::from_str_radix(self.slice(from)?, radix).ok()?;
        self.expect("_")?;
        number.checked_add(1)
    }

    /// Parts up to `E`.
    pub(super) fn until_end(
        &mut self,
        mut parse: impl FnMut(&mut Self) -> Option<Id>,
    ) -> Option<List> {
        let list = self.open();
        while !self.eat("E") {
            let part = parse(self)?;
            self.push(part);
        }
        Some(self.close(list))
    }

    /// A name's length and the name.
    pub(super) fn source_name(&mut self) -> Option<&'a str> {
        let length: usize = self.number(false).parse().ok()?;
        let from = self.at;
        let end = from.checked_add(length)?;
        if length == 0 || end > self.text.len() {
            return None;
        }
        self.at = end;
        self.slice(from)
    }
}
