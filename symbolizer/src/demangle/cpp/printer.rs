//! Nodes to text. A type is printed in two halves, what stands before the name that it is the type of and what stands behind:
//! `int (*` and `)[4]`.

use super::{
    node::{Id, List, Node},
    operators::Precedence,
    parser::Parts,
};

mod expressions;
mod names;
mod types;

/// Writes nodes, up to bounds.
pub(super) struct Printer<'n, 'a> {
    nodes: &'n [Node<'a>],
    lists: &'n [Id],
    out: &'n mut String,
    /// Whether the outermost function is printed with what it returns.
    full: bool,
    depth: u32,
    steps: u32,
    /// Which element of packs is printed, of how many; none outside of an expansion.
    pack: Option<(usize, Option<usize>)>,
    /// How deep in angle brackets a `>` would end them.
    in_args: u32,
}

const MAX_OUT: usize = 1 << 16;
const MAX_DEPTH: u32 = 320;
/// Parts that are printed: one that is repeated counts each time.
const MAX_STEPS: u32 = 1 << 17;

impl<'n, 'a> Printer<'n, 'a> {
    /// Writes behind what is in `out`.
    pub(super) fn new(parts: &'n Parts<'a>, out: &'n mut String, full: bool) -> Self {
        Self {
            nodes: &parts.nodes,
            lists: &parts.lists,
            out,
            full,
            depth: 0,
            steps: 0,
            pack: None,
            in_args: 0,
        }
    }

    pub(super) fn print(&mut self, id: Id) -> Option<()> {
        self.left(id)?;
        // Nothing else has anything behind the name.
        match self.node(id) {
            Node::Encoding { .. }
            | Node::ParameterPack(_)
            | Node::Forward { .. }
            | Node::Tagged { .. }
            | Node::Qualified { .. }
            | Node::Pointer(_)
            | Node::Reference { .. }
            | Node::MemberPointer { .. }
            | Node::Array { .. }
            | Node::Function { .. } => self.right(id),
            _ => Some(()),
        }
    }

    fn node(&self, id: Id) -> Node<'a> {
        self.nodes[id as usize]
    }

    fn items(&self, list: List) -> &'n [Id] {
        let first = list.first as usize;
        self.lists
            .get(first..first + list.count as usize)
            .unwrap_or_default()
    }

    fn text(&mut self, text: &str) -> Option<()> {
        if self.out.len() + text.len() > MAX_OUT {
            return None;
        }
        self.out.push_str(text);
        Some(())
    }

    fn deeper(&mut self, print: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.steps += 1;
        if self.depth >= MAX_DEPTH || self.steps > MAX_STEPS {
            return None;
        }
        self.depth += 1;
        let done = print(self);
        self.depth -= 1;
        done
    }

    fn left(&mut self, id: Id) -> Option<()> {
        self.deeper(|printer| printer.left_alone(id))
    }

    fn right(&mut self, id: Id) -> Option<()> {
        self.deeper(|printer| printer.right_alone(id))
    }

    fn left_alone(&mut self, id: Id) -> Option<()> {
        let node = self.node(id);
        match node {
            Node::Text { .. }
            | Node::Joined { .. }
            | Node::Special { .. }
            | Node::Nested { .. }
            | Node::Local { .. }
            | Node::Encoding { .. }
            | Node::Before { .. }
            | Node::ConstructionTable { .. }
            | Node::Template { .. }
            | Node::TemplateArgs { .. }
            | Node::ArgumentPack { .. }
            | Node::ParameterPack { .. }
            | Node::Expansion { .. }
            | Node::Forward { .. }
            | Node::Tagged { .. }
            | Node::Constructor { .. }
            | Node::Conversion { .. }
            | Node::Lambda { .. }
            | Node::Unnamed { .. }
            | Node::Bindings { .. } => self.left_of_name(node),
            Node::Qualified { .. }
            | Node::VendorQualified { .. }
            | Node::Pointer { .. }
            | Node::Reference { .. }
            | Node::MemberPointer { .. }
            | Node::Array { .. }
            | Node::Function { .. }
            | Node::Vector { .. }
            | Node::After { .. }
            | Node::Elaborated { .. }
            | Node::DynamicExceptions { .. } => self.left_of_type(id, node),
            _ => self.expression(node),
        }
    }

    fn right_alone(&mut self, id: Id) -> Option<()> {
        let node = self.node(id);
        match node {
            Node::Qualified { .. }
            | Node::Pointer { .. }
            | Node::Reference { .. }
            | Node::MemberPointer { .. }
            | Node::Array { .. }
            | Node::Function { .. } => self.right_of_type(id, node),
            _ => self.right_of_name(node),
        }
    }

    fn in_parentheses(&mut self, args: List) -> Option<()> {
        self.text("(")?;
        self.bracketed(|printer| printer.list(args))?;
        self.text(")")
    }

    /// In other brackets a `>` ends nothing.
    fn bracketed(&mut self, print: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let in_args = std::mem::take(&mut self.in_args);
        let done = print(self);
        self.in_args = in_args;
        done
    }

    /// With commas between what is not empty.
    fn list(&mut self, items: List) -> Option<()> {
        let mut is_first = true;
        for &item in self.items(items) {
            let before = self.out.len();
            if !is_first {
                self.text(", ")?;
            }
            let start = self.out.len();
            self.operand(item, Precedence::Comma, false)?;
            if self.out.len() == start {
                // A pack of nothing.
                self.out.truncate(before);
            } else {
                is_first = false;
            }
        }
        Some(())
    }

    /// The element of a pack that is printed now.
    fn element(&mut self, items: List) -> Option<Id> {
        let (index, count) = self.pack.get_or_insert((0, None));
        count.get_or_insert(items.count as usize);
        let index = *index;
        self.items(items).get(index).copied()
    }

    /// What is expanded once for each element of the packs in it.
    fn expansion(&mut self, of: Id) -> Option<()> {
        let outer = self.pack.replace((0, None));
        let start = self.out.len();
        let done = self.elements(of, start);
        self.pack = outer;
        done
    }

    fn elements(&mut self, of: Id, start: usize) -> Option<()> {
        self.print(of)?;
        match self.pack {
            Some((_, Some(0))) => {
                self.out.truncate(start);
                Some(())
            }
            Some((_, Some(count))) => {
                for index in 1..count {
                    self.text(", ")?;
                    self.pack = Some((index, Some(count)));
                    self.print(of)?;
                }
                Some(())
            }
            // There is no pack in it.
            _ => self.text("..."),
        }
    }

    /// What a parameter stands for now.
    fn behind(&mut self, id: Id) -> Id {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            id = match self.node(id) {
                Node::Forward { of: Some(of), .. } => of,
                Node::ParameterPack(items) => match self.element(items) {
                    Some(item) => item,
                    None => return id,
                },
                _ => return id,
            };
        }
        id
    }

    fn behind_node(&mut self, id: Id) -> Node<'a> {
        let id = self.behind(id);
        self.node(id)
    }
}
