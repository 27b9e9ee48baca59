//! C++ names (Itanium C++ ABI, section 5.1, "External Names (a.k.a. Mangling)"), printed as llvm-symbolizer prints them.
//!
//! A name is parsed into nodes, which refer to others by number: parts that the name repeats are one node. Depth, nodes and output are bounded,
//! and so is the time: what is beyond a bound is no name.

use std::cell::Cell;

use self::{
    parser::{Parser, Parts},
    printer::Printer,
};

mod expressions;
mod names;
mod node;
mod operators;
mod parser;
mod printer;
mod types;

thread_local! {
    /// What the last name was taken apart in, for the next one.
    static IDLE: Cell<Parts<'static>> = Cell::new(Parts::default());
}

/// More than this is not kept from one name to the next, in bytes.
const MAX_IDLE: usize = 1 << 16;

/// Writes the readable form of a mangled name behind what is in `out`: with the return type, where the name has it, if `full`. None for
/// what is no mangled name; some of it may have been written then.
pub(super) fn demangle(name: &str, full: bool, out: &mut String) -> Option<()> {
    let mangled = name
        .strip_prefix("_Z")
        .or_else(|| name.strip_prefix("__Z"))?;
    let mut parser = Parser::new(mangled, IDLE.take());
    let root = parser.encoding();
    let (parts, rest) = parser.finish();
    let done = root.and_then(|root| {
        Printer::new(&parts, out, full).print(root)?;
        behind(rest, out)
    });
    if parts.bytes() <= MAX_IDLE {
        IDLE.set(parts.cleared());
    }
    done
}

/// What may stand behind a name.
fn behind(rest: &str, out: &mut String) -> Option<()> {
    match rest {
        "" => {}
        // What a compiler made of one function: `.cold`, `.part.0`.
        suffix if suffix.starts_with('.') => {
            out.push_str(" (");
            out.push_str(suffix);
            out.push(')');
        }
        // The version of a symbol.
        version if version.starts_with('@') => out.push_str(version),
        _ => return None,
    }
    Some(())
}
