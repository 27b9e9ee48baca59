//! Names: of functions, variables, classes, and those that a compiler makes.

use super::{
    node::{CONST, Id, List, Node, Qualifiers, RESTRICT, RefQualifier, Special, VOLATILE},
    operators::operator,
    parser::Parser,
};

/// What is known of a name once it was read, that tells how to read on.
#[derive(Debug)]
pub(super) struct NameState {
    /// A constructor, a destructor or a conversion has no return type in its name.
    no_return: bool,
    ends_with_args: bool,
    quals: Qualifiers,
    reference: RefQualifier,
    /// How many parameters were waiting for their arguments before.
    forward: usize,
}

impl<'a> Parser<'a> {
    /// A function, a variable, or what a compiler makes of one.
    pub(super) fn encoding(&mut self) -> Option<Id> {
        self.with_own_args(|parser| parser.nested(Self::encoding_alone))
    }

    fn encoding_alone(&mut self) -> Option<Id> {
        if matches!(self.peek(), b'G' | b'T') {
            return self.special_name();
        }
        let mut state = self.name_state();
        let name = self.name(Some(&mut state))?;
        self.resolve_forward(&state)?;
        if self.is_at_end() {
            return Some(name);
        }
        let has_return = !state.no_return && state.ends_with_args;
        let ret = if has_return {
            Some(self.type_()?)
        } else {
            None
        };
        let params = self.open();
        if !self.eat("v") {
            loop {
                let param = self.type_()?;
                self.push(param);
                if self.is_at_end() {
                    break;
                }
            }
        }
        let params = self.close(params);
        self.add(Node::Encoding {
            ret,
            name,
            params,
            quals: state.quals,
            reference: state.reference,
        })
    }

    fn is_at_end(&self) -> bool {
        matches!(self.peek(), 0 | b'E' | b'.' | b'_' | b'@')
    }

    fn name_state(&self) -> NameState {
        NameState {
            no_return: false,
            ends_with_args: false,
            quals: 0,
            reference: RefQualifier::None,
            forward: self.parts.forward.len(),
        }
    }

    /// Parameters that stood before their arguments get them.
    fn resolve_forward(&mut self, state: &NameState) -> Option<()> {
        while self.parts.forward.len() > state.forward {
            let waiting = self.parts.forward.pop()?;
            let Node::Forward { index, .. } = self.node(waiting) else {
                return None;
            };
            let argument = *self.args().get(index as usize)?;
            self.parts.nodes[waiting as usize] = Node::Forward {
                index,
                of: Some(argument),
            };
        }
        Some(())
    }

    pub(super) fn name(&mut self, state: Option<&mut NameState>) -> Option<Id> {
        self.nested(|parser| parser.name_alone(state))
    }

    fn name_alone(&mut self, mut state: Option<&mut NameState>) -> Option<Id> {
        match (self.peek(), self.peek_at(1)) {
            (b'N', _) => return self.nested_name(state),
            (b'Z', _) => return self.local_name(state),
            (b'S', next) if next != b't' => {
                let name = self.substitution()?;
                let args = self.template_args(state.is_some())?;
                if let Some(state) = &mut state {
                    state.ends_with_args = true;
                }
                return self.add(Node::Template { name, args });
            }
            _ => {}
        }
        let in_std = self.eat("St");
        let name = self.unqualified_name(state.as_deref_mut(), None)?;
        let name = if in_std {
            let scope = self.text("std")?;
            self.add(Node::Nested { scope, name })?
        } else {
            name
        };
        if self.peek() != b'I' {
            return Some(name);
        }
        self.parts.substitutions.push(name);
        let args = self.template_args(state.is_some())?;
        if let Some(state) = state {
            state.ends_with_args = true;
        }
        self.add(Node::Template { name, args })
    }

    fn nested_name(&mut self, mut state: Option<&mut NameState>) -> Option<Id> {
        self.expect("N")?;
        let quals = self.qualifiers();
        let reference = if self.eat("O") {
            RefQualifier::Rvalue
        } else if self.eat("R") {
            RefQualifier::Lvalue
        } else {
            RefQualifier::None
        };
        if let Some(state) = &mut state {
            state.quals = quals;
            state.reference = reference;
        }
        let mut so_far = if self.eat("St") {
            Some(self.text("std")?)
        } else {
            None
        };
        while !self.eat("E") {
            let is_tagged = state.is_some();
            let (first, second) = (self.peek(), self.peek_at(1));
            let mut is_known = false;
            let ends_with_args = first == b'I';
            let component = match (first, second) {
                (b'I', _) => {
                    let args = self.template_args(is_tagged)?;
                    let name = so_far.take()?;
                    self.add(Node::Template { name, args })?
                }
                (b'T', _) => self.template_param()?,
                (b'D', b't' | b'T') => self.decltype()?,
                (b'S', next) if next != b't' => {
                    is_known = so_far.is_none();
                    self.substitution()?
                }
                (b'C', _) | (b'D', b'0'..=b'9') => {
                    let of = self.expanded(so_far?)?;
                    so_far = Some(of);
                    let name = self.constructor(of, state.as_deref_mut())?;
                    self.tags(name)?
                }
                _ => {
                    self.eat("L");
                    self.unqualified_name(state.as_deref_mut(), so_far)?
                }
            };
            self.eat("M");
            let name = match so_far {
                Some(scope) => self.add(Node::Nested {
                    scope,
                    name: component,
                })?,
                None => component,
            };
            so_far = Some(name);
            if let Some(state) = &mut state {
                state.ends_with_args = ends_with_args;
            }
            if !is_known {
                self.parts.substitutions.push(name);
            }
        }
        let name = so_far?;
        self.parts.substitutions.pop();
        Some(name)
    }

    /// A class whose name is short by the ABI has it in full before its constructor's.
    fn expanded(&mut self, of: Id) -> Option<Id> {
        match self.node(of) {
            Node::Special { which, .. } => self.add(Node::Special {
                which,
                expanded: true,
            }),
            _ => Some(of),
        }
    }

    fn constructor(&mut self, of: Id, state: Option<&mut NameState>) -> Option<Id> {
        if let Some(state) = state {
            state.no_return = true;
        }
        if self.eat("C") {
            let inherits = self.eat("I");
            if !matches!(self.next()?, b'1'..=b'5') {
                return None;
            }
            if inherits {
                self.name(None)?;
            }
            return self.add(Node::Constructor {
                of,
                destructor: false,
            });
        }
        self.expect("D")?;
        if !matches!(self.next()?, b'0'..=b'5') {
            return None;
        }
        self.add(Node::Constructor {
            of,
            destructor: true,
        })
    }

    fn local_name(&mut self, state: Option<&mut NameState>) -> Option<Id> {
        self.expect("Z")?;
        let function = self.encoding()?;
        self.expect("E")?;
        let entity = if self.eat("s") {
            self.discriminator();
            self.text("string literal")?
        } else {
            if self.eat("d") {
                self.number(true);
                self.expect("_")?;
            }
            let entity = self.name(state)?;
            self.discriminator();
            entity
        };
        self.add(Node::Local { function, entity })
    }

    /// Which of several of the same name in a function: it is not printed.
    fn discriminator(&mut self) {
        let from = self.position();
        if self.eat("__") {
            if self.number(false).is_empty() || !self.eat("_") {
                self.back_to(from);
            }
        } else if self.eat("_") {
            if self.peek().is_ascii_digit() {
                self.skip(1);
            } else {
                self.back_to(from);
            }
        }
    }

    pub(super) fn unqualified_name(
        &mut self,
        state: Option<&mut NameState>,
        _scope: Option<Id>,
    ) -> Option<Id> {
        self.eat("L");
        let name = match (self.peek(), self.peek_at(1)) {
            (b'U', b't' | b'l') => self.unnamed()?,
            (b'1'..=b'9', _) => {
                let name = self.source_name()?;
                let is_anonymous = name.starts_with("_GLOBAL__N");
                self.text(if is_anonymous {
                    "(anonymous namespace)"
                } else {
                    name
                })?
            }
            (b'D', b'C') => {
                self.skip(2);
                let bindings = self.until_end(|parser| {
                    let name = parser.source_name()?;
                    parser.text(name)
                })?;
                self.add(Node::Bindings(bindings))?
            }
            _ => self.operator_name(state)?,
        };
        self.tags(name)
    }

    fn tags(&mut self, mut name: Id) -> Option<Id> {
        while self.eat("B") {
            let tag = self.source_name()?;
            name = self.add(Node::Tagged { name, tag })?;
        }
        Some(name)
    }

    fn unnamed(&mut self) -> Option<Id> {
        if self.eat("Ut") {
            let count = self.number(false);
            self.expect("_")?;
            return self.add(Node::Unnamed(count));
        }
        self.expect("Ul")?;
        let before = std::mem::replace(&mut self.in_lambda, true);
        let params = if self.eat("vE") {
            Some(List::default())
        } else {
            self.until_end(Self::type_)
        };
        self.in_lambda = before;
        let count = self.number(false);
        self.expect("_")?;
        self.add(Node::Lambda {
            params: params?,
            count,
        })
    }

    fn operator_name(&mut self, state: Option<&mut NameState>) -> Option<Id> {
        if self.eat("cv") {
            let permits = self.permits_forward;
            let tries = std::mem::replace(&mut self.try_template_args, false);
            self.permits_forward |= state.is_some();
            let to = self.type_();
            self.permits_forward = permits;
            self.try_template_args = tries;
            if let Some(state) = state {
                state.no_return = true;
            }
            return self.add(Node::Conversion(to?));
        }
        if self.eat("li") {
            let suffix = self.source_name()?;
            return self.add(Node::Joined("operator\"\" ", suffix));
        }
        if self.peek() == b'v' && self.peek_at(1).is_ascii_digit() {
            self.skip(2);
            let name = self.source_name()?;
            return self.add(Node::Joined("operator ", name));
        }
        let (form, name) = operator([self.peek(), self.peek_at(1)])?;
        if !form.names_function() {
            return None;
        }
        self.skip(2);
        self.add(Node::Joined("operator", name))
    }

    pub(super) fn substitution(&mut self) -> Option<Id> {
        self.expect("S")?;
        let which = match self.peek() {
            b'a' => Special::Allocator,
            b'b' => Special::BasicString,
            b's' => Special::String,
            b'i' => Special::Istream,
            b'o' => Special::Ostream,
            b'd' => Special::Iostream,
            _ => {
                let index = self.sequence(36)?;
                return self.parts.substitutions.get(index).copied();
            }
        };
        self.skip(1);
        let special = self.add(Node::Special {
            which,
            expanded: false,
        })?;
        let tagged = self.tags(special)?;
        if tagged != special {
            self.parts.substitutions.push(tagged);
        }
        Some(tagged)
    }

    pub(super) fn qualifiers(&mut self) -> Qualifiers {
        let mut quals = 0;
        for (letter, qualifier) in [("r", RESTRICT), ("V", VOLATILE), ("K", CONST)] {
            if self.eat(letter) {
                quals |= qualifier;
            }
        }
        quals
    }

    fn special_name(&mut self) -> Option<Id> {
        const OF_TYPE: [(&str, &str); 4] = [
            ("TV", "vtable for "),
            ("TT", "VTT for "),
            ("TI", "typeinfo for "),
            ("TS", "typeinfo name for "),
        ];
        const OF_NAME: [(&str, &str); 3] = [
            ("TW", "thread-local wrapper routine for "),
            ("TH", "thread-local initialization routine for "),
            ("GV", "guard variable for "),
        ];
        for (letters, text) in OF_TYPE {
            if self.eat(letters) {
                let of = self.type_()?;
                return self.add(Node::Before(text, of));
            }
        }
        for (letters, text) in OF_NAME {
            if self.eat(letters) {
                let of = self.name(None)?;
                return self.add(Node::Before(text, of));
            }
        }
        if self.eat("TC") {
            let of = self.type_()?;
            self.number(true);
            self.expect("_")?;
            let within = self.type_()?;
            return self.add(Node::ConstructionTable { of, within });
        }
        if self.eat("GR") {
            let of = self.name(None)?;
            self.sequence(36)?;
            return self.add(Node::Before("reference temporary for ", of));
        }
        if self.eat("TA") {
            let of = self.template_arg()?;
            return self.add(Node::Before("template parameter object for ", of));
        }
        if self.eat("Tc") {
            self.call_offset()?;
            self.call_offset()?;
            let of = self.encoding()?;
            return self.add(Node::Before("covariant return thunk to ", of));
        }
        self.expect("T")?;
        let is_virtual = self.peek() == b'v';
        self.call_offset()?;
        let of = self.encoding()?;
        let text = if is_virtual {
            "virtual thunk to "
        } else {
            "non-virtual thunk to "
        };
        self.add(Node::Before(text, of))
    }

    fn call_offset(&mut self) -> Option<()> {
        if self.eat("h") {
            self.number(true);
            return self.expect("_");
        }
        self.expect("v")?;
        self.number(true);
        self.expect("_")?;
        self.number(true);
        self.expect("_")
    }
}
