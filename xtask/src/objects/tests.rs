//! Each check is shown an object that has just the fault it looks for, beside one that has none.

use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope, elf,
    write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection},
};

use super::{check, image::Image};

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// `call` of the helper `id`.
fn helper(id: u8) -> [u8; 8] {
    [0x85, 0, 0, 0, id, 0, 0, 0]
}

/// An object in the making: a program in `section` and, as the compiler does, shared functions in `.text`.
struct Builder {
    object: Object<'static>,
    program: SectionId,
    /// Sections and offsets of the functions that BTF describes.
    described: Vec<(String, u32)>,
}

impl Builder {
    fn new(section: &str, instructions: &[[u8; 8]]) -> Self {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let program = object.add_section(vec![], section.into(), SectionKind::Text);
        let mut this = Self {
            object,
            program,
            described: vec![],
        };
        this.function(program, "program", instructions);
        this.described.push((section.to_owned(), 0));
        this
    }

    fn function(&mut self, section: SectionId, name: &str, instructions: &[[u8; 8]]) -> SymbolId {
        let code = instructions.concat();
        let value = self.object.append_section_data(section, &code, 8);
        self.object.add_symbol(Symbol {
            name: name.into(),
            value,
            size: u64::try_from(code.len()).expect("small"),
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// Makes the program's instruction `slot` a call of a new function in `.text`.
    fn calls(mut self, slot: u64, name: &str, instructions: &[[u8; 8]], described: bool) -> Self {
        let text = self.object.section_id(StandardSection::Text);
        let symbol = self.function(text, name, instructions);
        let offset = self.object.symbol(symbol).value;
        if described {
            self.described
                .push((".text".to_owned(), u32::try_from(offset).expect("small")));
        }
        self.relocate(slot, symbol)
    }

    fn relocate(mut self, slot: u64, symbol: SymbolId) -> Self {
        self.object
            .add_relocation(
                self.program,
                Relocation {
                    offset: slot * 8,
                    symbol,
                    addend: 0,
                    flags: RelocationFlags::Elf {
                        r_type: elf::R_BPF_64_32,
                    },
                },
            )
            .expect("the object takes it");
        self
    }

    fn faults(mut self) -> Vec<String> {
        let mut strings = vec![0];
        let mut table = 8_u32.to_le_bytes().to_vec();
        for (section, offset) in &self.described {
            let name = u32::try_from(strings.len()).expect("small");
            strings.extend_from_slice(section.as_bytes());
            strings.push(0);
            for field in [name, 1, *offset, 1] {
                table.extend_from_slice(&field.to_le_bytes());
            }
        }
        let words = |words: [u32; 5]| words.map(u32::to_le_bytes).concat();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small");
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        btf.extend(words([24, 0, 0, 0, length(&strings)]));
        btf.extend(strings);
        let mut ext = vec![0x9f, 0xeb, 1, 0];
        ext.extend(words([24, 0, length(&table), length(&table), 0]));
        ext.extend(table);
        for (name, bytes) in [(".BTF", btf), (".BTF.ext", ext)] {
            let section = self
                .object
                .add_section(vec![], name.into(), SectionKind::Other);
            self.object.append_section_data(section, &bytes, 4);
        }
        let bytes = self.object.write().expect("a whole object");
        check(&Image::parse(&bytes).expect("an object that can be read"))
    }
}

/// The one fault, which must speak of each of `words`.
#[track_caller]
fn assert_one(faults: &[String], words: &[&str]) {
    assert_eq!(faults.len(), 1, "{faults:?}");
    for word in words {
        assert!(
            faults[0].contains(word),
            "{faults:?} does not speak of {word}"
        );
    }
}

#[test]
fn a_program_that_only_observes_passes() {
    let faults = Builder::new("raw_tp/sock_send_length", &[helper(14), helper(0), EXIT])
        .calls(1, "shared", &[helper(5), EXIT], true)
        .faults();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn each_helper_that_writes_outward_is_named() {
    for (id, name) in [
        (9, "bpf_skb_store_bytes"),
        (36, "bpf_probe_write_user"),
        (58, "bpf_override_return"),
        (109, "bpf_send_signal"),
    ] {
        let faults = Builder::new("kprobe/tcp_sendmsg", &[helper(id), EXIT]).faults();
        assert_one(&faults, &["kprobe/tcp_sendmsg+0x0", name]);
    }
}

#[test]
fn a_helper_in_a_function_nobody_calls_is_still_found() {
    let mut builder = Builder::new("tracepoint", &[EXIT]);
    let text = builder.object.section_id(StandardSection::Text);
    builder.function(text, "idle", &[EXIT, helper(36), EXIT]);
    assert_one(&builder.faults(), &[".text+0x8", "bpf_probe_write_user"]);
}

#[test]
fn the_second_half_of_a_wide_load_is_no_call() {
    let wide = [[0x18, 1, 0, 0, 0, 0, 0, 0], helper(36)];
    let faults = Builder::new("fentry/tcp_sendmsg", &[wide[0], wide[1], EXIT]).faults();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn programs_that_decide_are_refused() {
    for section in [
        "xdp",
        "lsm/file_open",
        "classifier",
        "cgroup_skb/egress",
        "fmod_ret/x",
        "struct_ops/x",
    ] {
        assert_one(&Builder::new(section, &[EXIT]).faults(), &[section]);
    }
}

#[test]
fn a_program_that_others_can_preempt_has_a_tail_call() {
    for section in ["uprobe", "uretprobe"] {
        let faults = Builder::new(section, &[helper(14), EXIT]).faults();
        assert_one(&faults, &[section, "program", "tail call"]);
        let faults = Builder::new(section, &[helper(12), EXIT]).faults();
        assert!(faults.is_empty(), "{faults:?}");
        // In a function that it calls.
        let faults = Builder::new(section, &[helper(0), EXIT])
            .calls(0, "shared", &[helper(12), EXIT], true)
            .faults();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn a_called_function_without_func_info_is_named() {
    let faults = Builder::new("raw_tp/x", &[helper(0), EXIT])
        .calls(0, "memcpy", &[EXIT], false)
        .faults();
    assert_one(&faults, &["raw_tp/x+0x0", "memcpy", "func_info"]);
}

#[test]
fn a_call_within_a_section_is_followed_without_a_relocation() {
    let to_next = [0x85, 0x10, 0, 0, 1, 0, 0, 0];
    let mut builder = Builder::new("raw_tp/x", &[to_next, EXIT]);
    let program = builder.program;
    builder.function(program, "local", &[EXIT]);
    assert_one(&builder.faults(), &["local", "func_info"]);
}

#[test]
fn a_reachable_panic_is_named() {
    let faults = Builder::new("perf_event", &[helper(0), EXIT])
        .calls(0, "_ZN4core9panicking5panic17h0E", &[EXIT], true)
        .faults();
    assert_one(&faults, &["perf_event+0x0", "panicking"]);
}

#[test]
fn an_undefined_symbol_is_named() {
    let mut builder = Builder::new("raw_tp/x", &[EXIT]);
    builder.object.add_symbol(Symbol {
        name: b"memcmp".to_vec(),
        value: 0,
        size: 0,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Undefined,
        flags: SymbolFlags::None,
    });
    assert_one(&builder.faults(), &["memcmp", "undefined"]);
}

#[test]
fn calls_of_the_kernels_own_functions_and_through_registers_are_refused() {
    let kernel_function = [0x85, 0x20, 0, 0, 7, 0, 0, 0];
    assert_one(
        &Builder::new("fexit/x", &[kernel_function, EXIT]).faults(),
        &["BTF id 7"],
    );
    let register = [0x8d, 0, 0, 0, 1, 0, 0, 0];
    assert_one(
        &Builder::new("fexit/x", &[register, EXIT]).faults(),
        &["register"],
    );
}

#[test]
fn an_object_without_a_program_is_a_fault() {
    assert_one(&Builder::new(".text", &[EXIT]).faults(), &["no program"]);
}

#[test]
fn bytes_that_are_no_object_are_an_error_and_no_panic() {
    for bytes in [&b""[..], b"\x7fELF", &[0; 64]] {
        assert!(Image::parse(bytes).is_err());
    }
}
