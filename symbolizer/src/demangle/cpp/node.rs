//! What a name is made of.

/// The number of a node.
pub(super) type Id = u32;

/// Some nodes in a row: where in the parser's lists they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// `const`, `volatile` and `restrict`, a bit each.
pub(super) type Qualifiers = u8;

pub(super) const CONST: Qualifiers = 1;
pub(super) const VOLATILE: Qualifiers = 2;
pub(super) const RESTRICT: Qualifiers = 4;

/// `&` and `&&` behind a member function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefQualifier {
    None,
    Lvalue,
    Rvalue,
}

/// Classes of the standard library that have names of their own in mangled names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    Allocator,
    BasicString,
    String,
    Istream,
    Ostream,
    Iostream,
}

impl Special {
    /// As one writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allocator => "std::allocator",
            Self::BasicString => "std::basic_string",
            Self::String => "std::string",
            Self::Istream => "std::istream",
            Self::Ostream => "std::ostream",
            Self::Iostream => "std::iostream",
        }
    }

    /// The class template's arguments spelled out.
    pub(super) fn expanded(self) -> &'static str {
        match self {
            Self::Allocator | Self::BasicString => self.name(),
            Self::String => "std::basic_string<char, std::char_traits<char>, std::allocator<char>>",
            Self::Istream => "std::basic_istream<char, std::char_traits<char>>",
            Self::Ostream => "std::basic_ostream<char, std::char_traits<char>>",
            Self::Iostream => "std::basic_iostream<char, std::char_traits<char>>",
        }
    }

    /// What its constructor is called.
    pub(super) fn base(self) -> &'static str {
        match self {
            Self::Allocator => "allocator",
            Self::BasicString | Self::String => "basic_string",
            Self::Istream => "basic_istream",
            Self::Ostream => "basic_ostream",
            Self::Iostream => "basic_iostream",
        }
    }
}

/// A part of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Text(&'a str),
    /// Two texts, one behind the other: `operator` and `+`.
    Joined(&'static str, &'a str),
    Special {
        which: Special,
        expanded: bool,
    },
    Nested {
        scope: Id,
        name: Id,
    },
    Local {
        function: Id,
        entity: Id,
    },
    /// A function, variable or member with its parameters.
    Encoding {
        ret: Option<Id>,
        name: Id,
        params: List,
        quals: Qualifiers,
        reference: RefQualifier,
    },
    /// Text before a part: `vtable for `.
    Before(&'static str, Id),
    ConstructionTable {
        of: Id,
        within: Id,
    },
    Template {
        name: Id,
        args: Id,
    },
    TemplateArgs(List),
    /// The arguments that one pack stands for, where a template is named.
    ArgumentPack(List),
    /// The same where a parameter stands for them: printed one at a time.
    ParameterPack(List),
    Expansion(Id),
    /// A parameter of which the argument comes later in the name; which node, once it is known.
    Forward {
        index: u32,
        of: Option<Id>,
    },
    Tagged {
        name: Id,
        tag: &'a str,
    },
    Constructor {
        of: Id,
        destructor: bool,
    },
    Conversion(Id),
    Lambda {
        params: List,
        count: &'a str,
    },
    Unnamed(&'a str),
    Bindings(List),
    Qualified {
        of: Id,
        quals: Qualifiers,
    },
    VendorQualified {
        of: Id,
        with: &'a str,
        args: Option<Id>,
    },
    Pointer(Id),
    Reference {
        to: Id,
        rvalue: bool,
    },
    MemberPointer {
        class: Id,
        member: Id,
    },
    Array {
        of: Id,
        size: Option<Id>,
    },
    Function {
        ret: Id,
        params: List,
        quals: Qualifiers,
        reference: RefQualifier,
        exceptions: Option<Id>,
    },
    Vector {
        of: Id,
        size: Option<Id>,
    },
    /// Text behind a type: ` complex`.
    After(Id, &'static str),
    Elaborated {
        keyword: &'static str,
        of: Id,
    },
    DynamicExceptions(List),
    Literal {
        kind: Literal,
        value: &'a str,
    },
    CastLiteral {
        of: Id,
        value: &'a str,
    },
    Enclosed {
        within: Brackets,
        inner: Id,
    },
    Binary {
        left: Id,
        operator: &'static str,
        right: Id,
    },
    Prefix {
        operator: &'static str,
        of: Id,
    },
    Postfix {
        of: Id,
        operator: &'static str,
    },
    Conditional {
        condition: Id,
        yes: Id,
        no: Id,
    },
    Member {
        of: Id,
        operator: &'static str,
        name: Id,
    },
    Subscript {
        of: Id,
        at: Id,
    },
    NamedCast {
        cast: &'static str,
        to: Id,
        of: Id,
    },
    Cast {
        to: Id,
        args: List,
    },
    Call {
        callee: Id,
        args: List,
    },
    InitList {
        of: Option<Id>,
        items: List,
    },
    FunctionParam(&'a str),
    /// `sizeof` and its like: of a type, or of an expression.
    SizeOf {
        operator: &'static str,
        of: Id,
    },
    SizeOfPack(Id),
    New {
        global: bool,
        array: bool,
        args: List,
        of: Id,
        init: Option<List>,
    },
    Delete {
        global: bool,
        array: bool,
        of: Id,
    },
    Fold {
        left: bool,
        operator: &'static str,
        pack: Id,
        init: Option<Id>,
    },
    Throw(Option<Id>),
}

/// What stands around a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brackets {
    Decltype,
    Noexcept,
    SizeOfPack,
    String,
    BitInt,
    UnsignedBitInt,
}

impl Brackets {
    pub(super) fn open(self) -> &'static str {
        match self {
            Self::Decltype => "decltype(",
            Self::Noexcept => "noexcept(",
            Self::SizeOfPack => "sizeof... (",
            Self::String => "\"<",
            Self::BitInt => "_BitInt(",
            Self::UnsignedBitInt => "unsigned _BitInt(",
        }
    }

    pub(super) fn close(self) -> &'static str {
        match self {
            Self::String => ">\"",
            _ => ")",
        }
    }
}

/// How the value of a literal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Bool,
    Integer(&'static str),
    /// With the type before it.
    Typed(&'static str),
    Float,
    Double,
    LongDouble,
}
