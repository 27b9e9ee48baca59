//! Expressions, as they stand in template arguments and in `decltype`.

use super::Printer;
use crate::demangle::cpp::{
    node::{Id, Literal, Node},
    operators::Precedence,
};

impl<'a> Printer<'_, 'a> {
    pub(super) fn expression(&mut self, node: Node<'a>) -> Option<()> {
        match node {
            Node::Literal { kind, value } => self.literal(kind, value),
            Node::CastLiteral { of, value } => {
                self.text("(")?;
                self.print(of)?;
                self.text(")")?;
                self.number(value)
            }
            Node::Enclosed { within, inner } => {
                self.text(within.open())?;
                self.bracketed(|printer| printer.print(inner))?;
                self.text(within.close())
            }
            Node::Binary {
                left,
                operator,
                right,
            } => self.binary(left, operator, right),
            Node::Prefix { operator, of } => {
                self.text(operator)?;
                self.operand(of, Precedence::Unary, false)
            }
            Node::Postfix { of, operator } => {
                self.operand(of, Precedence::Postfix, true)?;
                self.text(operator)
            }
            Node::Conditional { condition, yes, no } => {
                self.operand(condition, Precedence::Conditional, false)?;
                self.text(" ? ")?;
                self.print(yes)?;
                self.text(" : ")?;
                self.operand(no, Precedence::Assignment, true)
            }
            Node::Member { of, operator, name } => {
                let precedence = Precedence::of(operator);
                self.operand(of, precedence, true)?;
                self.text(operator)?;
                self.operand(name, precedence, false)
            }
            Node::Subscript { of, at } => {
                self.operand(of, Precedence::Postfix, false)?;
                self.text("[")?;
                self.bracketed(|printer| printer.print(at))?;
                self.text("]")
            }
            Node::NamedCast { cast, to, of } => {
                self.text(cast)?;
                self.text("<")?;
                self.left(to)?;
                self.text(">(")?;
                self.bracketed(|printer| printer.print(of))?;
                self.text(")")
            }
            Node::Cast { to, args } => {
                self.text("(")?;
                self.bracketed(|printer| printer.print(to))?;
                self.text(")")?;
                self.in_parentheses(args)
            }
            Node::Call { callee, args } => {
                self.print(callee)?;
                self.in_parentheses(args)
            }
            Node::InitList { of, items } => {
                of.map_or(Some(()), |of| self.print(of))?;
                self.text("{")?;
                self.list(items)?;
                self.text("}")
            }
            Node::SizeOf { operator, of } => {
                self.text(operator)?;
                self.text("(")?;
                self.bracketed(|printer| printer.print(of))?;
                self.text(")")
            }
            Node::FunctionParam(number) => {
                self.text("fp")?;
                self.text(number)
            }
            Node::SizeOfPack(of) => {
                self.text("sizeof...(")?;
                self.expansion(of)?;
                self.text(")")
            }
            Node::New {
                global,
                array,
                args,
                of,
                init,
            } => {
                self.text(if global { "::" } else { "" })?;
                self.text(if array { "new[]" } else { "new" })?;
                if args.count > 0 {
                    self.in_parentheses(args)?;
                }
                self.text(" ")?;
                self.print(of)?;
                init.map_or(Some(()), |init| self.in_parentheses(init))
            }
            Node::Delete { global, array, of } => {
                self.text(if global { "::" } else { "" })?;
                self.text(if array { "delete[] " } else { "delete " })?;
                self.print(of)
            }
            Node::Fold {
                left,
                operator,
                pack,
                init,
            } => self.fold(left, operator, pack, init),
            Node::Throw(of) => match of {
                Some(of) => {
                    self.text("throw ")?;
                    self.print(of)
                }
                None => self.text("throw"),
            },
            _ => None,
        }
    }

    fn binary(&mut self, left: Id, operator: &str, right: Id) -> Option<()> {
        // It would end the angle brackets that it stands in.
        if self.in_args > 0 && matches!(operator, ">" | ">>") {
            self.text("(")?;
            self.bracketed(|printer| printer.binary(left, operator, right))?;
            return self.text(")");
        }
        let precedence = Precedence::of(operator);
        // An assignment is read from the right.
        let assigns = precedence == Precedence::Assignment;
        let of_left = if assigns {
            Precedence::OrIf
        } else {
            precedence
        };
        self.operand(left, of_left, !assigns)?;
        self.text(if operator == "," { "" } else { " " })?;
        self.text(operator)?;
        self.text(" ")?;
        self.operand(right, precedence, assigns)
    }

    fn fold(&mut self, left: bool, operator: &str, pack: Id, init: Option<Id>) -> Option<()> {
        let packed = |printer: &mut Self| {
            printer.text("(")?;
            printer.expansion(pack)?;
            printer.text(")")
        };
        self.text("(")?;
        if left {
            if let Some(init) = init {
                self.print(init)?;
                self.text(" ")?;
                self.text(operator)?;
                self.text(" ")?;
            }
            self.text("... ")?;
            self.text(operator)?;
            self.text(" ")?;
            packed(self)?;
        } else {
            packed(self)?;
            self.text(" ")?;
            self.text(operator)?;
            self.text(" ...")?;
            if let Some(init) = init {
                self.text(" ")?;
                self.text(operator)?;
                self.text(" ")?;
                self.print(init)?;
            }
        }
        self.text(")")
    }

    /// In parentheses if it holds together no tighter than what it is an operand of: or only if it does less tightly.
    pub(super) fn operand(&mut self, id: Id, of: Precedence, equal_is_bare: bool) -> Option<()> {
        let own = self.precedence(id);
        let is_bare = own < of || equal_is_bare && own == of;
        if is_bare {
            return self.print(id);
        }
        self.text("(")?;
        self.bracketed(|printer| printer.print(id))?;
        self.text(")")
    }

    fn precedence(&self, id: Id) -> Precedence {
        match self.node(id) {
            Node::Binary { operator, .. } | Node::Member { operator, .. } => {
                Precedence::of(operator)
            }
            Node::Prefix { .. } | Node::New { .. } | Node::Delete { .. } => Precedence::Unary,
            Node::Postfix { .. }
            | Node::Subscript { .. }
            | Node::Call { .. }
            | Node::NamedCast { .. } => Precedence::Postfix,
            Node::Cast { .. } => Precedence::Cast,
            Node::Conditional { .. } => Precedence::Conditional,
            _ => Precedence::Primary,
        }
    }

    fn literal(&mut self, kind: Literal, value: &str) -> Option<()> {
        match kind {
            Literal::Bool => self.text(if value == "0" { "false" } else { "true" }),
            Literal::Integer(suffix) => {
                self.number(value)?;
                self.text(suffix)
            }
            Literal::Typed(of) => {
                self.text("(")?;
                self.text(of)?;
                self.text(")")?;
                self.number(value)
            }
            Literal::Float => {
                let bits = u32::from_str_radix(value, 16).ok()?;
                self.text(&format!("{}f", printf_a(f64::from(f32::from_bits(bits)))))
            }
            Literal::Double => {
                let bits = u64::from_str_radix(value, 16).ok()?;
                self.text(&printf_a(f64::from_bits(bits)))
            }
            Literal::LongDouble => {
                self.text("0x")?;
                self.text(value)?;
                self.text("L")
            }
        }
    }

    fn number(&mut self, value: &str) -> Option<()> {
        match value.strip_prefix('n') {
            Some(value) => {
                self.text("-")?;
                self.text(value)
            }
            None => self.text(value),
        }
    }
}

/// A number as C's `%a` has it.
fn printf_a(number: f64) -> String {
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let exponent = ((bits >> 52) & 0x7ff) as i64;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0x7ff {
        return format!("{sign}{}", if fraction == 0 { "inf" } else { "nan" });
    }
    let digits = format!("{fraction:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let (first, exponent) = match (exponent, fraction) {
        (0, 0) => (0, 0),
        (0, _) => (0, -1022),
        _ => (1, exponent - 1023),
    };
    format!("{sign}0x{first}{point}{digits}p{exponent:+}")
}
