//! Expressions, as they stand in template arguments and in `decltype`.

use super::{
    node::{Brackets, Id, Literal, Node},
    operators::{Form, operator},
    parser::Parser,
};

/// Integers of one letter, and what tells them from an `int`.
const INTEGERS: [(u8, Literal); 14] = [
    (b'i', Literal::Integer("")),
    (b'j', Literal::Integer("u")),
    (b'l', Literal::Integer("l")),
    (b'm', Literal::Integer("ul")),
    (b'x', Literal::Integer("ll")),
    (b'y', Literal::Integer("ull")),
    (b'w', Literal::Typed("wchar_t")),
    (b'c', Literal::Typed("char")),
    (b'a', Literal::Typed("signed char")),
    (b'h', Literal::Typed("unsigned char")),
    (b's', Literal::Typed("short")),
    (b't', Literal::Typed("unsigned short")),
    (b'n', Literal::Typed("__int128")),
    (b'o', Literal::Typed("unsigned __int128")),
];

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Option<Id> {
        self.nested(Self::expression_alone)
    }

    fn expression_alone(&mut self) -> Option<Id> {
        let global = self.eat("gs");
        match (self.peek(), self.peek_at(1)) {
            (b'L', _) => return self.literal(),
            (b'T', _) => return self.template_param(),
            (b'f', b'p' | b'L') if self.peek_at(1) == b'p' || self.peek_at(2).is_ascii_digit() => {
                return self.function_param();
            }
            (b'f', b'l' | b'r' | b'L' | b'R') => return self.fold(),
            (b's', b'p') => {
                self.skip(2);
                let of = self.expression()?;
                return self.add(Node::Expansion(of));
            }
            (b's', b'Z') => {
                self.skip(2);
                let of = if self.peek() == b'T' {
                    self.template_param()?
                } else {
                    self.function_param()?
                };
                return self.add(Node::SizeOfPack(of));
            }
            (b's', b'P') => {
                self.skip(2);
                let args = self.until_end(Self::template_arg)?;
                let pack = self.add(Node::ArgumentPack(args))?;
                return self.add(Node::Enclosed {
                    within: Brackets::SizeOfPack,
                    inner: pack,
                });
            }
            (b't', b'l') => {
                self.skip(2);
                let of = Some(self.type_()?);
                let items = self.until_end(Self::braced)?;
                return self.add(Node::InitList { of, items });
            }
            (b'i', b'l') => {
                self.skip(2);
                let items = self.until_end(Self::braced)?;
                return self.add(Node::InitList { of: None, items });
            }
            (b't', b'w') => {
                self.skip(2);
                let of = self.expression()?;
                return self.add(Node::Throw(Some(of)));
            }
            (b't', b'r') => {
                self.skip(2);
                return self.add(Node::Throw(None));
            }
            (b'c', b'v') => {
                self.skip(2);
                let to = self.type_()?;
                let args = if self.eat("_") {
                    self.until_end(Self::expression)?
                } else {
                    let list = self.open();
                    let arg = self.expression()?;
                    self.push(arg);
                    self.close(list)
                };
                return self.add(Node::Cast { to, args });
            }
            (b's', b'r') | (b'o', b'n') | (b'd', b'n') | (b'1'..=b'9', _) => {
                return self.unresolved(global);
            }
            _ => {}
        }
        let (form, name) = operator([self.peek(), self.peek_at(1)])?;
        self.skip(2);
        self.operation(form, name, global)
    }

    fn operation(&mut self, form: Form, name: &'static str, global: bool) -> Option<Id> {
        let node = match form {
            Form::Prefix => Node::Prefix {
                operator: name,
                of: self.expression()?,
            },
            Form::Postfix => {
                // Before its operand where it is marked so.
                let is_prefix = self.eat("_");
                let of = self.expression()?;
                if is_prefix {
                    Node::Prefix { operator: name, of }
                } else {
                    Node::Postfix { of, operator: name }
                }
            }
            Form::Binary => Node::Binary {
                left: self.expression()?,
                operator: name,
                right: self.expression()?,
            },
            Form::Array => Node::Subscript {
                of: self.expression()?,
                at: self.expression()?,
            },
            Form::Member => Node::Member {
                of: self.expression()?,
                operator: name,
                name: self.expression()?,
            },
            Form::Call => Node::Call {
                callee: self.expression()?,
                args: self.until_end(Self::expression)?,
            },
            Form::NamedCast => Node::NamedCast {
                cast: name,
                to: self.type_()?,
                of: self.expression()?,
            },
            Form::Conditional => Node::Conditional {
                condition: self.expression()?,
                yes: self.expression()?,
                no: self.expression()?,
            },
            Form::OfType => Node::SizeOf {
                operator: name,
                of: self.type_()?,
            },
            Form::OfExpression => Node::SizeOf {
                operator: name,
                of: self.expression()?,
            },
            Form::New => {
                let args = self.open();
                while !self.eat("_") {
                    let arg = self.expression()?;
                    self.push(arg);
                }
                let args = self.close(args);
                let of = self.type_()?;
                let init = if self.eat("pi") {
                    Some(self.until_end(Self::expression)?)
                } else {
                    self.expect("E")?;
                    None
                };
                Node::New {
                    global,
                    array: name.ends_with("[]"),
                    args,
                    of,
                    init,
                }
            }
            Form::Delete => Node::Delete {
                global,
                array: name.ends_with("[]"),
                of: self.expression()?,
            },
            Form::NameOnly => return None,
        };
        self.add(node)
    }

    fn braced(&mut self) -> Option<Id> {
        // Designators (`di`, `dx`, `dX`) are of C++20 and in no name that we have seen.
        self.expression()
    }

    fn function_param(&mut self) -> Option<Id> {
        if self.eat("fL") {
            self.number(false);
            self.expect("p")?;
        } else {
            self.expect("fp")?;
        }
        if self.eat("T") {
            return self.text("this");
        }
        self.qualifiers();
        let number = self.number(false);
        self.expect("_")?;
        self.add(Node::FunctionParam(number))
    }

    fn fold(&mut self) -> Option<Id> {
        self.expect("f")?;
        let kind = self.next()?;
        let (form, name) = operator([self.peek(), self.peek_at(1)])?;
        if form != Form::Binary && form != Form::Member {
            return None;
        }
        self.skip(2);
        let first = self.expression()?;
        let second = if matches!(kind, b'L' | b'R') {
            Some(self.expression()?)
        } else {
            None
        };
        let left = matches!(kind, b'l' | b'L');
        let (pack, init) = match second {
            Some(second) if left => (second, Some(first)),
            second => (first, second),
        };
        self.add(Node::Fold {
            left,
            operator: name,
            pack,
            init,
        })
    }

    /// A name that depends on a template's parameters.
    fn unresolved(&mut self, global: bool) -> Option<Id> {
        let name = if self.eat("srN") {
            let mut scope = self.unresolved_type()?;
            while !self.eat("E") {
                let name = self.simple_id()?;
                scope = self.add(Node::Nested { scope, name })?;
            }
            let name = self.base_unresolved()?;
            self.add(Node::Nested { scope, name })?
        } else if self.eat("sr") {
            if self.peek().is_ascii_digit() {
                let mut scope = self.simple_id()?;
                while !self.eat("E") {
                    let name = self.simple_id()?;
                    scope = self.add(Node::Nested { scope, name })?;
                }
                let name = self.base_unresolved()?;
                self.add(Node::Nested { scope, name })?
            } else {
                let scope = self.unresolved_type()?;
                let name = self.base_unresolved()?;
                self.add(Node::Nested { scope, name })?
            }
        } else {
            self.base_unresolved()?
        };
        if global {
            return self.add(Node::Before("::", name));
        }
        Some(name)
    }

    fn unresolved_type(&mut self) -> Option<Id> {
        match self.peek() {
            b'T' | b'D' => {
                let of = if self.peek() == b'T' {
                    self.template_param()?
                } else {
                    self.decltype()?
                };
                self.parts.substitutions.push(of);
                if self.peek() != b'I' {
                    return Some(of);
                }
                let args = self.template_args(false)?;
                let named = self.add(Node::Template { name: of, args })?;
                self.parts.substitutions.push(named);
                Some(named)
            }
            _ => self.type_(),
        }
    }

    fn simple_id(&mut self) -> Option<Id> {
        let name = self.source_name()?;
        let name = self.text(name)?;
        self.with_args(name)
    }

    fn with_args(&mut self, name: Id) -> Option<Id> {
        if self.peek() != b'I' {
            return Some(name);
        }
        let args = self.template_args(false)?;
        self.add(Node::Template { name, args })
    }

    fn base_unresolved(&mut self) -> Option<Id> {
        if self.peek().is_ascii_digit() {
            return self.simple_id();
        }
        if self.eat("dn") {
            let of = if self.peek().is_ascii_digit() {
                self.simple_id()?
            } else {
                self.unresolved_type()?
            };
            return self.add(Node::Before("~", of));
        }
        self.eat("on");
        let name = self.unqualified_name(None, None)?;
        self.with_args(name)
    }

    pub(super) fn literal(&mut self) -> Option<Id> {
        self.expect("L")?;
        let first = self.peek();
        if let Some(&(_, kind)) = INTEGERS.iter().find(|(letter, _)| *letter == first) {
            self.skip(1);
            let value = self.number(true);
            if value.is_empty() {
                return None;
            }
            self.expect("E")?;
            return self.add(Node::Literal { kind, value });
        }
        match first {
            b'b' => {
                self.skip(1);
                let value = self.number(false);
                self.expect("E")?;
                self.add(Node::Literal {
                    kind: Literal::Bool,
                    value,
                })
            }
            b'f' | b'd' | b'e' => {
                self.skip(1);
                let from = self.position();
                while self.peek().is_ascii_hexdigit() && self.peek() != b'E' {
                    self.skip(1);
                }
                let value = self.slice(from)?;
                self.expect("E")?;
                let kind = match first {
                    b'f' => Literal::Float,
                    b'd' => Literal::Double,
                    _ => Literal::LongDouble,
                };
                self.add(Node::Literal { kind, value })
            }
            b'_' => {
                self.expect("_Z")?;
                let encoding = self.encoding()?;
                self.expect("E")?;
                Some(encoding)
            }
            b'D' if self.peek_at(1) == b'n' => {
                self.skip(2);
                self.eat("0");
                self.expect("E")?;
                self.text("nullptr")
            }
            b'T' => None,
            b'A' => {
                let of = self.type_()?;
                self.expect("E")?;
                self.add(Node::Enclosed {
                    within: Brackets::String,
                    inner: of,
                })
            }
            _ => {
                let of = self.type_()?;
                let value = self.number(true);
                self.expect("E")?;
                // A closure, or nothing that has a value.
                if value.is_empty() {
                    return Some(of);
                }
                self.add(Node::CastLiteral { of, value })
            }
        }
    }
}
