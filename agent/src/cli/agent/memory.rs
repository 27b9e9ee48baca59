//! Memory that is not needed any more goes back to the kernel.

use std::{ffi::c_void, fs};

/// What is free in the heap. Reading the kernel's types and the programs' objects takes ten times the memory that is kept of them, and so does naming a window's stacks; glibc's
/// allocator would keep all of it.
pub(in crate::cli::agent) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Large pieces go back as soon as they are not needed: glibc would begin to keep them after the first one, and each thread's arena its own. To be called before there are threads.
pub(super) fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and no other thread has asked for memory yet that it could concern.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Bytes from which on a piece of memory is mapped by itself.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 128 << 10;

/// Arenas of memory: threads share them, which wait for one another only where they ask at the same instant.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// The program's own code and constants. Half of it is for the start alone, the kernel's programs among it; what is needed again comes from the page cache.
pub(super) fn give_back_program() {
    let Ok(program) = fs::read_link("/proc/self/exe") else {
        return;
    };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in unchanging(&maps, &program.to_string_lossy()) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: these are whole mappings of the program's file that nobody can write to, and that nobody wrote to before (see `unchanging`): the kernel reads the same bytes
        // again when they are used.
        unsafe {
            libc::madvise(start, length, libc::MADV_DONTNEED);
        }
    }
}

/// Mappings of the program that are as its file has them: code, and the constants that its file begins with. Constants further behind are those that were relocated
/// first (RELRO), and would be lost. Start and length of each.
fn unchanging(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let fields = |line: &str| {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let (permissions, offset) = (fields.next()?, fields.next()?);
        let name = fields.nth(2)?.trim_start();
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let is_as_in_file = match permissions {
            "r-xp" => true,
            "r--p" => number(offset)? == 0,
            _ => false,
        };
        let (start, end) = (number(start)?, number(end)?);
        (is_as_in_file && name == program).then_some((start, end.checked_sub(start)?))
    };
    maps.lines().filter_map(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_has_as_it_is_goes_back() {
        let maps = "\
55d0c0a00000-55d0c108e000 r--p 00000000 fe:01 1234                       /usr/bin/fathom
55d0c108e000-55d0c1890000 r-xp 0068e000 fe:01 1234                       /usr/bin/fathom
55d0c1890000-55d0c18de000 r--p 00e91000 fe:01 1234                       /usr/bin/fathom
55d0c18de000-55d0c18e0000 rw-p 00edf000 fe:01 1234                       /usr/bin/fathom
7f0000000000-7f0000028000 r--p 00000000 fe:01 99                         /usr/lib/libc.so.6
7f0000028000-7f0000030000 rw-p 00000000 00:00 0 
";
        let expected = [(0x55d0_c0a0_0000, 0x68_e000), (0x55d0_c108_e000, 0x80_2000)];
        assert_eq!(unchanging(maps, "/usr/bin/fathom"), expected);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        give_back_program();
        // Code and constants of it.
        assert_eq!(format!("{:#x} {}", 0xbeef, "constant"), "0xbeef constant");
    }
}
