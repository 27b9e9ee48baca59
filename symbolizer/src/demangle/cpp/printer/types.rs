//! Types, in two halves.

use super::{MAX_DEPTH, Printer};
use crate::demangle::cpp::node::{CONST, Id, Node, Qualifiers, RESTRICT, RefQualifier, VOLATILE};

impl<'a> Printer<'_, 'a> {
    pub(super) fn left_of_type(&mut self, id: Id, node: Node<'a>) -> Option<()> {
        match node {
            Node::Qualified { of, quals } => {
                self.left(of)?;
                self.qualifiers(quals)
            }
            Node::VendorQualified { of, with, args } => {
                self.print(of)?;
                self.text(" ")?;
                self.text(with)?;
                args.map_or(Some(()), |args| self.print(args))
            }
            Node::Pointer(to) => self.pointer(to, "*"),
            Node::Reference { .. } => {
                let (to, rvalue) = self.collapsed(id)?;
                self.pointer(to, if rvalue { "&&" } else { "&" })
            }
            Node::MemberPointer { class, member } => {
                self.left(member)?;
                let is_bracketed = self.is_array(member) || self.is_function(member);
                self.text(if is_bracketed { "(" } else { " " })?;
                self.print(class)?;
                self.text("::*")
            }
            Node::Array { of, .. } => self.left(of),
            Node::Function { ret, .. } => {
                self.left(ret)?;
                self.text(" ")
            }
            Node::Vector { of, size } => {
                self.print(of)?;
                self.text(" vector[")?;
                size.map_or(Some(()), |size| self.print(size))?;
                self.text("]")
            }
            Node::After(of, text) => {
                self.print(of)?;
                self.text(text)
            }
            Node::Elaborated { keyword, of } => {
                self.text(keyword)?;
                self.text(" ")?;
                self.print(of)
            }
            Node::DynamicExceptions(types) => {
                self.text("throw(")?;
                self.list(types)?;
                self.text(")")
            }
            _ => None,
        }
    }

    pub(super) fn right_of_type(&mut self, id: Id, node: Node<'a>) -> Option<()> {
        match node {
            Node::Qualified { of, .. } => self.right(of),
            Node::Pointer(to) => self.behind_pointer(to),
            Node::Reference { .. } => {
                let (to, _) = self.collapsed(id)?;
                self.behind_pointer(to)
            }
            Node::MemberPointer { member, .. } => self.behind_pointer(member),
            Node::Array { of, size } => {
                if !self.out.ends_with(']') {
                    self.text(" ")?;
                }
                self.text("[")?;
                size.map_or(Some(()), |size| self.print(size))?;
                self.text("]")?;
                self.right(of)
            }
            Node::Function {
                ret,
                params,
                quals,
                reference,
                exceptions,
            } => {
                self.in_parentheses(params)?;
                self.right(ret)?;
                self.qualifiers(quals)?;
                self.reference(reference)?;
                match exceptions {
                    Some(exceptions) => {
                        self.text(" ")?;
                        self.print(exceptions)
                    }
                    None => Some(()),
                }
            }
            _ => Some(()),
        }
    }

    fn pointer(&mut self, to: Id, sign: &str) -> Option<()> {
        self.left(to)?;
        if self.is_array(to) {
            self.text(" ")?;
        }
        if self.is_array(to) || self.is_function(to) {
            self.text("(")?;
        }
        self.text(sign)
    }

    fn behind_pointer(&mut self, to: Id) -> Option<()> {
        if self.is_array(to) || self.is_function(to) {
            self.text(")")?;
        }
        self.right(to)
    }

    /// A reference to a reference is one: `&&` only if both are.
    fn collapsed(&mut self, id: Id) -> Option<(Id, bool)> {
        let (mut to, mut is_rvalue) = (id, true);
        for _ in 0..MAX_DEPTH {
            match self.behind_node(to) {
                Node::Reference { to: next, rvalue } => {
                    is_rvalue &= rvalue;
                    to = next;
                }
                _ => return Some((to, is_rvalue)),
            }
        }
        None
    }

    fn is_array(&mut self, id: Id) -> bool {
        match self.behind_node(id) {
            Node::Array { .. } => true,
            Node::Qualified { of, .. } => matches!(self.behind_node(of), Node::Array { .. }),
            _ => false,
        }
    }

    fn is_function(&mut self, id: Id) -> bool {
        match self.behind_node(id) {
            Node::Function { .. } | Node::Encoding { .. } => true,
            Node::Qualified { of, .. } => {
                matches!(self.behind_node(of), Node::Function { .. })
            }
            _ => false,
        }
    }

    /// Whether anything stands behind the name that it is the type of.
    pub(super) fn has_right(&mut self, id: Id) -> bool {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            id = match self.behind_node(id) {
                Node::Array { .. } | Node::Function { .. } | Node::Encoding { .. } => return true,
                Node::Pointer(of)
                | Node::Qualified { of, .. }
                | Node::Reference { to: of, .. }
                | Node::MemberPointer { member: of, .. } => of,
                _ => return false,
            };
        }
        false
    }

    pub(super) fn qualifiers(&mut self, quals: Qualifiers) -> Option<()> {
        for (qualifier, text) in [
            (CONST, " const"),
            (VOLATILE, " volatile"),
            (RESTRICT, " restrict"),
        ] {
            if quals & qualifier != 0 {
                self.text(text)?;
            }
        }
        Some(())
    }

    pub(super) fn reference(&mut self, reference: RefQualifier) -> Option<()> {
        match reference {
            RefQualifier::None => Some(()),
            RefQualifier::Lvalue => self.text(" &"),
            RefQualifier::Rvalue => self.text(" &&"),
        }
    }
}
