//! Operators by their two letters.

/// What stands where in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Prefix,
    Postfix,
    Binary,
    Array,
    Member,
    Call,
    NamedCast,
    Conditional,
    /// `sizeof` and its like of a type, and of an expression.
    OfType,
    OfExpression,
    New,
    Delete,
    /// Only the name of a function.
    NameOnly,
}

/// Letters, form, and the function's name behind `operator`.
pub(super) const OPERATORS: [(&[u8; 2], Form, &str); 62] = [
    (b"aN", Form::Binary, "&="),
    (b"aS", Form::Binary, "="),
    (b"aa", Form::Binary, "&&"),
    (b"ad", Form::Prefix, "&"),
    (b"an", Form::Binary, "&"),
    (b"at", Form::OfType, "alignof "),
    (b"aw", Form::NameOnly, " co_await"),
    (b"az", Form::OfExpression, "alignof "),
    (b"cc", Form::NamedCast, "const_cast"),
    (b"cl", Form::Call, "()"),
    (b"cm", Form::Binary, ","),
    (b"co", Form::Prefix, "~"),
    (b"dV", Form::Binary, "/="),
    (b"da", Form::Delete, " delete[]"),
    (b"dc", Form::NamedCast, "dynamic_cast"),
    (b"de", Form::Prefix, "*"),
    (b"dl", Form::Delete, " delete"),
    (b"ds", Form::Member, ".*"),
    (b"dt", Form::Member, "."),
    (b"dv", Form::Binary, "/"),
    (b"eO", Form::Binary, "^="),
    (b"eo", Form::Binary, "^"),
    (b"eq", Form::Binary, "=="),
    (b"ge", Form::Binary, ">="),
    (b"gt", Form::Binary, ">"),
    (b"ix", Form::Array, "[]"),
    (b"lS", Form::Binary, "<<="),
    (b"le", Form::Binary, "<="),
    (b"ls", Form::Binary, "<<"),
    (b"lt", Form::Binary, "<"),
    (b"mI", Form::Binary, "-="),
    (b"mL", Form::Binary, "*="),
    (b"mi", Form::Binary, "-"),
    (b"ml", Form::Binary, "*"),
    (b"mm", Form::Postfix, "--"),
    (b"na", Form::New, " new[]"),
    (b"ne", Form::Binary, "!="),
    (b"ng", Form::Prefix, "-"),
    (b"nt", Form::Prefix, "!"),
    (b"nw", Form::New, " new"),
    (b"oR", Form::Binary, "|="),
    (b"oo", Form::Binary, "||"),
    (b"or", Form::Binary, "|"),
    (b"pL", Form::Binary, "+="),
    (b"pl", Form::Binary, "+"),
    (b"pm", Form::Member, "->*"),
    (b"pp", Form::Postfix, "++"),
    (b"ps", Form::Prefix, "+"),
    (b"pt", Form::Member, "->"),
    (b"qu", Form::Conditional, "?"),
    (b"rM", Form::Binary, "%="),
    (b"rS", Form::Binary, ">>="),
    (b"rc", Form::NamedCast, "reinterpret_cast"),
    (b"rm", Form::Binary, "%"),
    (b"rs", Form::Binary, ">>"),
    (b"sc", Form::NamedCast, "static_cast"),
    (b"ss", Form::Binary, "<=>"),
    (b"st", Form::OfType, "sizeof "),
    (b"sz", Form::OfExpression, "sizeof "),
    (b"te", Form::OfExpression, "typeid "),
    (b"ti", Form::OfType, "typeid "),
    (b"nx", Form::OfExpression, "noexcept "),
];

/// How tightly an expression holds together, the tightest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Primary,
    Postfix,
    Unary,
    Cast,
    MemberPointer,
    Multiplicative,
    Additive,
    Shift,
    Spaceship,
    Relational,
    Equality,
    And,
    Xor,
    Or,
    AndIf,
    OrIf,
    Conditional,
    Assignment,
    Comma,
}

impl Precedence {
    /// Of an operator between two operands.
    pub(super) fn of(operator: &str) -> Self {
        match operator {
            "*" | "/" | "%" => Self::Multiplicative,
            "+" | "-" => Self::Additive,
            "<<" | ">>" => Self::Shift,
            "<=>" => Self::Spaceship,
            "<" | ">" | "<=" | ">=" => Self::Relational,
            "==" | "!=" => Self::Equality,
            "&" => Self::And,
            "^" => Self::Xor,
            "|" => Self::Or,
            "&&" => Self::AndIf,
            "||" => Self::OrIf,
            "," => Self::Comma,
            ".*" | "->*" => Self::MemberPointer,
            "." | "->" => Self::Postfix,
            _ => Self::Assignment,
        }
    }
}

/// The operator with two letters.
pub(super) fn operator(letters: [u8; 2]) -> Option<(Form, &'static str)> {
    let found = OPERATORS.iter().find(|(known, ..)| **known == letters);
    found.map(|&(_, form, name)| (form, name))
}

impl Form {
    /// Whether a function can be called so.
    pub(super) fn names_function(self) -> bool {
        !matches!(
            self,
            Self::NamedCast | Self::Conditional | Self::OfType | Self::OfExpression
        )
    }
}
