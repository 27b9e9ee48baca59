//! Types and template arguments.

use super::{
    node::{Brackets, Id, Node, RefQualifier},
    parser::Parser,
};

/// One-letter types of the language.
fn builtin(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'v' => "void",
        b'w' => "wchar_t",
        b'b' => "bool",
        b'c' => "char",
        b'a' => "signed char",
        b'h' => "unsigned char",
        b's' => "short",
        b't' => "unsigned short",
        b'i' => "int",
        b'j' => "unsigned int",
        b'l' => "long",
        b'm' => "unsigned long",
        b'x' => "long long",
        b'y' => "unsigned long long",
        b'n' => "__int128",
        b'o' => "unsigned __int128",
        b'f' => "float",
        b'd' => "double",
        b'e' => "long double",
        b'g' => "__float128",
        b'z' => "...",
        _ => return None,
    })
}

/// Those of `D` and a letter.
const MORE_BUILTIN: [(u8, &str); 11] = [
    (b'd', "decimal64"),
    (b'e', "decimal128"),
    (b'f', "decimal32"),
    (b'h', "half"),
    (b'i', "char32_t"),
    (b's', "char16_t"),
    (b'u', "char8_t"),
    (b'a', "auto"),
    (b'c', "decltype(auto)"),
    (b'n', "std::nullptr_t"),
    (b'N', "std::nullptr_t"),
];

impl<'a> Parser<'a> {
    pub(super) fn type_(&mut self) -> Option<Id> {
        self.nested(Self::type_alone)
    }

    fn type_alone(&mut self) -> Option<Id> {
        let first = self.peek();
        if let Some(name) = builtin(first) {
            self.skip(1);
            return self.text(name);
        }
        let second = self.peek_at(1);
        let parsed = match first {
            b'r' | b'V' | b'K' => {
                let from = self.position();
                let quals = self.qualifiers();
                if self.peek() == b'F'
                    || self.peek() == b'D' && matches!(self.peek_at(1), b'o' | b'O' | b'w' | b'x')
                {
                    self.back_to(from);
                    self.function_type()?
                } else {
                    let of = self.type_()?;
                    self.add(Node::Qualified { of, quals })?
                }
            }
            b'u' => {
                self.skip(1);
                let name = self.source_name()?;
                self.text(name)?
            }
            b'D' => match second {
                b'p' => {
                    self.skip(2);
                    let of = self.type_()?;
                    self.add(Node::Expansion(of))?
                }
                b'v' => self.vector()?,
                b't' | b'T' => self.decltype()?,
                b'o' | b'O' | b'w' | b'x' => self.function_type()?,
                b'F' => {
                    self.skip(2);
                    let bits = self.number(false);
                    self.eat("x");
                    self.expect("_")?;
                    self.add(Node::Joined("_Float", bits))?
                }
                b'B' | b'U' => {
                    self.skip(2);
                    let bits = self.number(false);
                    self.expect("_")?;
                    let within = if second == b'B' {
                        Brackets::BitInt
                    } else {
                        Brackets::UnsignedBitInt
                    };
                    let inner = self.text(bits)?;
                    self.add(Node::Enclosed { within, inner })?
                }
                _ => {
                    let known = MORE_BUILTIN.iter().find(|(letter, _)| *letter == second);
                    let (_, name) = known?;
                    self.skip(2);
                    return self.text(name);
                }
            },
            b'F' => self.function_type()?,
            b'A' => self.array()?,
            b'M' => {
                self.skip(1);
                let class = self.type_()?;
                let member = self.type_()?;
                self.add(Node::MemberPointer { class, member })?
            }
            b'T' => match second {
                b's' | b'u' | b'e' => self.elaborated()?,
                _ => {
                    let param = self.template_param()?;
                    if self.try_template_args && self.peek() == b'I' {
                        self.parts.substitutions.push(param);
                        let args = self.template_args(false)?;
                        self.add(Node::Template { name: param, args })?
                    } else {
                        param
                    }
                }
            },
            b'P' => {
                self.skip(1);
                let to = self.type_()?;
                self.add(Node::Pointer(to))?
            }
            b'R' | b'O' => {
                self.skip(1);
                let to = self.type_()?;
                self.add(Node::Reference {
                    to,
                    rvalue: first == b'O',
                })?
            }
            b'C' | b'G' => {
                self.skip(1);
                let of = self.type_()?;
                let text = if first == b'C' {
                    " complex"
                } else {
                    " imaginary"
                };
                self.add(Node::After(of, text))?
            }
            b'U' if !matches!(second, b't' | b'l') => {
                self.skip(1);
                let with = self.source_name()?;
                let args = if self.peek() == b'I' {
                    Some(self.template_args(false)?)
                } else {
                    None
                };
                let of = self.type_()?;
                self.add(Node::VendorQualified { of, with, args })?
            }
            b'S' if second != b't' => {
                let known = self.substitution()?;
                if !(self.try_template_args && self.peek() == b'I') {
                    return Some(known);
                }
                let args = self.template_args(false)?;
                self.add(Node::Template { name: known, args })?
            }
            _ => self.name(None)?,
        };
        self.parts.substitutions.push(parsed);
        Some(parsed)
    }

    fn elaborated(&mut self) -> Option<Id> {
        let keyword = match self.peek_at(1) {
            b's' => "struct",
            b'u' => "union",
            _ => "enum",
        };
        self.skip(2);
        let of = self.name(None)?;
        self.add(Node::Elaborated { keyword, of })
    }

    fn function_type(&mut self) -> Option<Id> {
        let quals = self.qualifiers();
        let exceptions = if self.eat("Do") {
            Some(self.text("noexcept")?)
        } else if self.eat("DO") {
            let inner = self.expression()?;
            self.expect("E")?;
            Some(self.add(Node::Enclosed {
                within: Brackets::Noexcept,
                inner,
            })?)
        } else if self.eat("Dw") {
            let types = self.until_end(Self::type_)?;
            Some(self.add(Node::DynamicExceptions(types))?)
        } else {
            None
        };
        self.eat("Dx");
        self.expect("F")?;
        self.eat("Y");
        let ret = self.type_()?;
        let params = self.open();
        let reference = loop {
            if self.eat("E") {
                break RefQualifier::None;
            }
            if self.eat("RE") {
                break RefQualifier::Lvalue;
            }
            if self.eat("OE") {
                break RefQualifier::Rvalue;
            }
            if !self.eat("v") {
                let param = self.type_()?;
                self.push(param);
            }
        };
        let params = self.close(params);
        self.add(Node::Function {
            ret,
            params,
            quals,
            reference,
            exceptions,
        })
    }

    fn array(&mut self) -> Option<Id> {
        self.expect("A")?;
        let size = match self.peek() {
            b'_' => None,
            b'0'..=b'9' => {
                let size = self.number(false);
                Some(self.text(size)?)
            }
            _ => Some(self.expression()?),
        };
        self.expect("_")?;
        let of = self.type_()?;
        self.add(Node::Array { of, size })
    }

    fn vector(&mut self) -> Option<Id> {
        self.expect("Dv")?;
        let size = if self.peek().is_ascii_digit() {
            let size = self.number(false);
            Some(self.text(size)?)
        } else if self.peek() == b'_' {
            None
        } else {
            Some(self.expression()?)
        };
        self.expect("_")?;
        let of = if self.eat("p") {
            self.text("pixel")?
        } else {
            self.type_()?
        };
        self.add(Node::Vector { of, size })
    }

    pub(super) fn decltype(&mut self) -> Option<Id> {
        if !self.eat("Dt") {
            self.expect("DT")?;
        }
        let inner = self.expression()?;
        self.expect("E")?;
        self.add(Node::Enclosed {
            within: Brackets::Decltype,
            inner,
        })
    }

    pub(super) fn template_param(&mut self) -> Option<Id> {
        self.expect("T")?;
        let index = u32::try_from(self.sequence(10)?).ok()?;
        if self.in_lambda {
            return self.text("auto");
        }
        if self.permits_forward {
            let forward = self.add(Node::Forward { index, of: None })?;
            self.parts.forward.push(forward);
            return Some(forward);
        }
        self.args().get(index as usize).copied()
    }

    /// Arguments in angle brackets. Those of the name that is read are what parameters in it stand for.
    pub(super) fn template_args(&mut self, of_the_name: bool) -> Option<Id> {
        self.expect("I")?;
        if of_the_name {
            self.clear_args();
        }
        let args = self.open();
        while !self.eat("E") {
            if !of_the_name {
                let arg = self.template_arg()?;
                self.push(arg);
                continue;
            }
            let arg = self.keeping_args(Self::template_arg)?;
            self.push(arg);
            let stands_for = match self.node(arg) {
                Node::ArgumentPack(items) => self.add(Node::ParameterPack(items))?,
                _ => arg,
            };
            self.push_arg(stands_for);
        }
        let args = self.close(args);
        self.add(Node::TemplateArgs(args))
    }

    pub(super) fn template_arg(&mut self) -> Option<Id> {
        self.nested(|parser| match (parser.peek(), parser.peek_at(1)) {
            (b'X', _) => {
                parser.skip(1);
                let expression = parser.expression()?;
                parser.expect("E")?;
                Some(expression)
            }
            (b'J', _) => {
                parser.skip(1);
                let items = parser.until_end(Self::template_arg)?;
                parser.add(Node::ArgumentPack(items))
            }
            (b'L', b'Z') => {
                parser.skip(2);
                let encoding = parser.encoding()?;
                parser.expect("E")?;
                Some(encoding)
            }
            (b'L', _) => parser.literal(),
            (b'T', b'y' | b'n' | b't' | b'p' | b'k') => {
                parser.param_declaration()?;
                parser.template_arg()
            }
            _ => parser.type_(),
        })
    }

    /// What kind of parameter the argument behind it is for, where the argument does not tell (`<template-param-decl>`). It is not printed.
    fn param_declaration(&mut self) -> Option<()> {
        self.nested(|parser| {
            parser.expect("T")?;
            match parser.next()? {
                b'y' => {}
                b'n' => {
                    parser.type_()?;
                }
                b't' => {
                    while !parser.eat("E") {
                        parser.param_declaration()?;
                    }
                }
                b'p' => parser.param_declaration()?,
                b'k' => {
                    parser.name(None)?;
                }
                _ => return None,
            }
            Some(())
        })
    }
}
