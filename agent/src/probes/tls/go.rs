//! Go's crypto/tls, and what of its net/http says for whom a request is sent; also in stripped programs.

use memchr::memmem;

use super::{
    Action, Function, Library, Site, Targets, Why, buildinfo,
    image::Image,
    pclntab::{self, Found, Table},
    returns,
};

/// What a probe needs to know of a Go program: where a `*tls.Conn` keeps its socket, as offsets in bytes.
///
/// All of it is the same from Go 1.18 to 1.27 (`crypto/tls/conn.go`, `net/net.go`, `net/fd_posix.go`, `internal/poll/fd_unix.go`, `runtime/runtime2.go`
/// of each), and a test compares it with the types that a built program carries (DWARF).
///
/// The way, from the `*tls.Conn` on: at [`Self::conn`] is an interface, two words: the address of an itab and the value. Where the `u32` at
/// [`Self::itab_hash`] of the itab is one of [`Self::tcp_conn`], the value is a `*net.TCPConn`. A program may put its own kind of connection there, whose inside is
/// unknown; most begin with the connection that they wrap (`netutil.LimitListener`'s, gRPC's behind a proxy), an interface again, so that the same step from the value on leads further,
/// and the hash says whether it did. At [`Self::net_fd`] of the `TCPConn` is the address of a `netFD`, and at [`Self::sysfd`] of that the descriptor, an `int` (8 bytes).
///
/// Registers at the entry of `Read` and `Write`, and at their returns (Go's `ABIInternal`, since 1.17 on x86-64 and 1.18 on AArch64; `cmd/compile/abi-internal.md`):
///
/// | | x86-64 | AArch64 |
/// |---|---|---|
/// | entry: the `*tls.Conn` | RAX | R0 |
/// | entry: the bytes' address, length, capacity | RBX, RCX, RDI | R1, R2, R3 |
/// | return: the count `n` (at most 0 with an error) | RAX | R0 |
/// | return: the error, an interface; both 0 without one | RBX, RCX | R1, R2 |
/// | both: the goroutine (`*runtime.g`) | R14 | R28 |
///
/// No other register survives the call. A goroutine may be on another thread when it returns, so what is noted at the entry is filed under the goroutine and the process, not the thread.
/// What it noted stays true: the buffer's address comes through an interface, so the buffer is on the heap, and Go moves stacks only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoLayout {
    /// Of `conn`, an interface, in `tls.Conn`.
    pub conn: u64,
    /// Of the type's hash, a `u32`, in an itab.
    pub itab_hash: u64,
    /// The hash of the type `*net.TCPConn`: the same in all programs, but one of several with the compiler's version.
    pub tcp_conn: [u32; 5],
    /// Of `fd`, a pointer to a `netFD`, in `net.TCPConn`.
    pub net_fd: u64,
    /// Of `pfd.Sysfd` in `netFD`.
    pub sysfd: u64,
}

impl GoLayout {
    /// From Go 1.18 on.
    pub const SINCE_1_18: Self = Self {
        conn: 0,
        itab_hash: 16,
        // The compiler's hash of a type is four bytes of a digest of its name (`types.TypeHash` of each version): the first of MD5 in 1.18, the first of
        // SHA-256 with all bits turned from 1.19 on, the third four of SHA-256 in 1.24, and since then the first of SHA-256 with the lowest bit or
        // all bits of the first byte turned.
        tcp_conn: [
            0xb954_d952,
            0xbc02_0cb9,
            0x425e_a6e6,
            0x43fd_f347,
            0x43fd_f3b9,
        ],
        net_fd: 0,
        sysfd: 16,
    };
}

const FUNCTIONS: [Function; 5] = [
    Function::GoRead,
    Function::GoWrite,
    Function::GoClose,
    Function::GoRoundTrip,
    Function::GoWriteLoop,
];

/// What their names begin with.
const STEMS: [&str; 2] = ["crypto/tls.(*Conn).", "net/http.(*persistConn)."];

/// The sections that only Go's linker writes.
const MARKS: [&str; 4] = [
    ".go.buildinfo",
    ".note.go.buildid",
    ".gopclntab",
    ".data.rel.ro.gopclntab",
];

/// Whether Go's linker made it, as far as its sections tell.
pub(super) fn is_marked(image: &Image<'_>) -> bool {
    MARKS.iter().any(|mark| image.section(mark).is_some())
}

/// The functions of crypto/tls in a Go program.
pub(super) fn inspect(image: &Image<'_>) -> Result<Targets, Why> {
    if !is_marked(image) && !image.sections.is_empty() {
        return Err(Why::NotTls);
    }
    let table = find_table(image)?;
    let names: Vec<_> = FUNCTIONS.iter().map(|function| function.symbol()).collect();
    let found = table.functions(image, &STEMS, &names)?;
    if found.is_empty() {
        return Err(Why::NotTls);
    }
    let text = table.text(image)?;
    let mut sites = Vec::with_capacity(found.len());
    for found in found {
        match site(image, text, &found) {
            Ok(site) => sites.push(site),
            // Without these only parents are missing.
            Err(_) if FUNCTIONS[found.wanted].action() == Action::Ask => {}
            Err(why) => return Err(why),
        }
    }
    sites.sort_by_key(|site| (site.function, site.entry));
    Ok(Targets {
        library: Library::GoTls,
        version: buildinfo::version(image),
        sites,
        go: Some(GoLayout::SINCE_1_18),
    })
}

fn site(image: &Image<'_>, text: u64, found: &Found) -> Result<Site, Why> {
    let code = text
        .checked_add(found.start)
        .and_then(|address| image.offset_of(address, true));
    let entry = code.ok_or_else(|| {
        Why::malformed(
            pclntab::WHAT,
            format!("a function at {:#x}, where no code is", found.start),
        )
    })?;
    let function = FUNCTIONS[found.wanted];
    let size = found.end - found.start;
    // A probe at a wrong place breaks the program that it is in, and where the code starts is known only from tables.
    if !returns::begins_as_go_does(image, entry, size)? {
        return Err(Why::malformed(
            "the code",
            format!("no Go function begins at {entry:#x}"),
        ));
    }
    let returns = returns::returns(image, entry, size)?;
    if returns.is_empty() {
        return Err(Why::malformed(
            "the code",
            format!("{} does not return", function.symbol()),
        ));
    }
    Ok(Site {
        function,
        entry,
        returns,
    })
}

/// The table of functions: its section, or (as an external linker merges sections, and some tools cut the headers off) what looks like it.
fn find_table(image: &Image<'_>) -> Result<Table, Why> {
    for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
        if let Some(section) = image.section(name) {
            return Table::at(image, section.file.clone());
        }
    }
    let finders =
        pclntab::MAGICS.map(|magic| memmem::Finder::new(&magic.to_le_bytes()).into_owned());
    let mut result = Err(Why::NotTls);
    for segment in &image.segments {
        let mut candidates = Vec::new();
        image.scan("the loaded segments", &segment.file, 8, |offset, bytes| {
            let hits = finders.iter().flat_map(|finder| finder.find_iter(bytes));
            // The table begins at a multiple of 32 bytes, and the magic is followed by two zeros, the size of the smallest instruction and 8.
            let heads = hits.filter(|&at| {
                matches!(bytes.get(at + 4..at + 8), Some([0, 0, 1 | 4, 8]))
                    && (offset + at as u64).is_multiple_of(8)
            });
            candidates.extend(heads.map(|at| offset + at as u64));
            candidates.len() > 16
        })?;
        for candidate in candidates {
            result = Table::at(image, candidate..segment.file.end);
            if result.is_ok() {
                return result;
            }
        }
    }
    result
}
