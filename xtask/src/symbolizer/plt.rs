//! The stubs of a procedure linkage table, named by objdump: llvm-symbolizer gives the nearest symbol before the table for them.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use super::addresses::Code;
use crate::shell;

/// Where each stub begins, and its name.
#[derive(Debug, Default)]
pub struct Stubs(BTreeMap<u64, Option<String>>);

impl Stubs {
    /// The name of the stub that holds `address`, where objdump knows one.
    pub fn name(&self, address: u64) -> Option<&str> {
        self.0.range(..=address).next_back()?.1.as_deref()
    }
}

/// The stubs of a file.
pub fn stubs(file: &Path, code: &[Code]) -> Result<Stubs> {
    if !code.iter().any(|section| section.is_plt) {
        return Ok(Stubs::default());
    }
    let mut objdump = shell::command("objdump");
    objdump.args(["--disassemble", "--no-show-raw-insn"]);
    for section in [".plt", ".plt.sec", ".plt.got"] {
        objdump.args(["--section", section]);
    }
    Ok(parse(&shell::output(objdump.arg(file))?))
}

/// Reads lines like `0000000000001030 <puts@plt>:`.
fn parse(text: &str) -> Stubs {
    let labels = text.lines().filter_map(|line| {
        let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
        // A stub of a function that is chosen at run time has no name, only where the chooser is: `*ABS*+0x9f0@plt`.
        let is_name = name.ends_with("@plt") && !name.starts_with("*ABS*");
        Some((
            u64::from_str_radix(address, 16).ok()?,
            is_name.then(|| name.to_owned()),
        ))
    });
    Stubs(labels.collect())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn labels_are_read_and_what_is_no_function_has_no_name() {
        let stubs = parse(
            "Disassembly of section .plt:\n\n0000000000001020 <.plt>:\n    1020:\tpush   0x2fe2(%rip)\n\n\
             0000000000001030 <puts@plt>:\n    1030:\tjmp    *0x2fe2(%rip)\n\n0000000000001040 <*ABS*+0x9f0@plt>:\n",
        );
        assert_eq!(stubs.name(0x1010), None);
        assert_eq!(stubs.name(0x1025), None);
        assert_eq!(stubs.name(0x1030), Some("puts@plt"));
        assert_eq!(stubs.name(0x103f), Some("puts@plt"));
        assert_eq!(stubs.name(0x1041), None);
    }
}
