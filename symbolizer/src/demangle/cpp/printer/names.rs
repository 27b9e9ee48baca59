//! Names, and what stands behind them.

use super::{MAX_DEPTH, Printer};
use crate::demangle::cpp::node::{Id, Node};

impl<'a> Printer<'_, 'a> {
    pub(super) fn left_of_name(&mut self, node: Node<'a>) -> Option<()> {
        match node {
            Node::Text(text) => self.text(text),
            Node::Joined(first, second) => {
                self.text(first)?;
                self.text(second)
            }
            Node::Special { which, expanded } => self.text(if expanded {
                which.expanded()
            } else {
                which.name()
            }),
            Node::Nested { scope, name } => {
                self.print(scope)?;
                self.text("::")?;
                self.print(name)
            }
            Node::Local { function, entity } => {
                // What a function returns is no part of the name of what is in it.
                self.print(function)?;
                self.text("::")?;
                self.print(entity)
            }
            Node::Encoding { ret, name, .. } => {
                if let Some(ret) = ret.filter(|_| self.full) {
                    self.left(ret)?;
                    if !self.has_right(ret) {
                        self.text(" ")?;
                    }
                }
                self.print(name)
            }
            Node::Before(text, of) => {
                self.text(text)?;
                self.print(of)
            }
            Node::ConstructionTable { of, within } => {
                self.text("construction vtable for ")?;
                self.print(within)?;
                self.text("-in-")?;
                self.print(of)
            }
            Node::Template { name, args } => {
                self.print(name)?;
                self.print(args)
            }
            Node::TemplateArgs(args) => {
                self.text("<")?;
                self.in_args += 1;
                self.list(args)?;
                self.in_args -= 1;
                self.text(">")
            }
            Node::ArgumentPack(items) => self.list(items),
            Node::ParameterPack(items) => match self.element(items) {
                Some(item) => self.left(item),
                None => Some(()),
            },
            Node::Expansion(of) => self.expansion(of),
            Node::Forward { of, .. } => self.left((of)?),
            Node::Tagged { name, tag } => {
                self.left(name)?;
                self.text("[abi:")?;
                self.text(tag)?;
                self.text("]")
            }
            Node::Constructor { of, destructor } => {
                if destructor {
                    self.text("~")?;
                }
                self.base(of)
            }
            Node::Conversion(to) => {
                self.text("operator ")?;
                self.print(to)
            }
            Node::Lambda { params, count } => {
                self.text("'lambda")?;
                self.text(count)?;
                self.text("'")?;
                self.in_parentheses(params)
            }
            Node::Unnamed(count) => {
                self.text("'unnamed")?;
                self.text(count)?;
                self.text("'")
            }
            Node::Bindings(names) => {
                self.text("[")?;
                self.list(names)?;
                self.text("]")
            }
            _ => None,
        }
    }

    pub(super) fn right_of_name(&mut self, node: Node<'a>) -> Option<()> {
        match node {
            Node::Encoding {
                ret,
                params,
                quals,
                reference,
                ..
            } => {
                self.in_parentheses(params)?;
                if let Some(ret) = ret.filter(|_| self.full) {
                    self.right(ret)?;
                }
                self.qualifiers(quals)?;
                self.reference(reference)
            }
            Node::ParameterPack(items) => match self.element(items) {
                Some(item) => self.right(item),
                None => Some(()),
            },
            Node::Forward { of, .. } => self.right((of)?),
            Node::Tagged { name, .. } => self.right(name),
            _ => Some(()),
        }
    }

    /// A class's own name, which its constructor has.
    fn base(&mut self, id: Id) -> Option<()> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            id = match self.behind_node(id) {
                Node::Nested { name, .. }
                | Node::Template { name, .. }
                | Node::Tagged { name, .. } => name,
                Node::Local { entity, .. } => entity,
                Node::Elaborated { of, .. } => of,
                Node::Special { which, .. } => return self.text(which.base()),
                _ => return self.print(id),
            };
        }
        None
    }
}
