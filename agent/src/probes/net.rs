//! The `net` object: loading it, choosing its tap, and what user space reads of it.

use std::{fmt, fs::File, process, str::FromStr, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray, ProgramArray},
    programs::{FExit, KProbe, Program, ProgramError, RawTracePoint, TracePoint},
};
use fathom_abi::{
    ConnectionId, VERSION,
    counters::NetCounter,
    message::{ConnectionState, GoOffsets},
};

use super::{
    Error, ProgramReport, TapReport,
    btf::Btf,
    maps::{map_bytes, map_error, ring, take},
    misses::{Counted, Misses},
    namespace, objects,
    offsets::Facts,
    ring::RingReader,
    sizes::{FRAMINGS_SIZE, NetSizes},
    tls::{GoLayout, Targets},
    uprobes,
};

const OBJECT: &str = "net";

/// Bytes of a head that records may carry, where it comes in pieces.
const MAX_HEAD: u32 = 8 << 10;

/// One way to see the bytes of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// fexit on the TCP calls.
    Fentry,
    /// The socket tracepoints, raw (6.3).
    RawTracepoint,
    /// kprobe and kretprobe on the TCP calls.
    Kprobe,
    /// The tracepoints of the system calls.
    Syscall,
}

impl Tap {
    /// All of them, the best first: by what they miss, then by what they cost the application. The tracepoints run with
    /// preemption off; an fexit program can be preempted, and the kernel then keeps other tasks' calls from it.
    pub const ALL: [Self; 4] = [
        Self::RawTracepoint,
        Self::Fentry,
        Self::Kprobe,
        Self::Syscall,
    ];

    /// The name that users write and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::RawTracepoint => "raw-tracepoint",
            Self::Kprobe => "kprobe",
            Self::Syscall => "syscall",
        }
    }

    /// The programs of one kind; those for `tcp_sendpage` only where the kernel has it.
    fn programs(self, kind: Kind, has_sendpage: bool) -> impl Iterator<Item = Attachment> {
        use Attachment::{FExit, KProbe, RawTracepoint, Tracepoint};
        let (always, sendpage): (&[Attachment], &[Attachment]) = match (self, kind) {
            (Self::RawTracepoint, Kind::First) => (
                &[
                    RawTracepoint("sock_send", "sock_send_length"),
                    RawTracepoint("sock_recv", "sock_recv_length"),
                ],
                &[],
            ),
            (Self::RawTracepoint, Kind::Spare) => (
                &[
                    RawTracepoint("sock_send_spare", "sock_send_length"),
                    RawTracepoint("sock_recv_spare", "sock_recv_length"),
                ],
                &[],
            ),
            (Self::Fentry, Kind::First) => (
                &[
                    FExit("sendmsg_exit", "tcp_sendmsg"),
                    FExit("recvmsg_exit", "tcp_recvmsg"),
                ],
                &[FExit("sendpage_exit", "tcp_sendpage")],
            ),
            (Self::Fentry, Kind::Spare) => (
                &[
                    FExit("sendmsg_exit_spare", "tcp_sendmsg"),
                    FExit("recvmsg_exit_spare", "tcp_recvmsg"),
                ],
                &[FExit("sendpage_exit_spare", "tcp_sendpage")],
            ),
            (Self::Kprobe, Kind::First) => (
                &[
                    KProbe("sendmsg_called", &["tcp_sendmsg"]),
                    KProbe("send_returned", &["tcp_sendmsg"]),
                    KProbe("recvmsg_called", &["tcp_recvmsg"]),
                    KProbe("recvmsg_returned", &["tcp_recvmsg"]),
                ],
                &[
                    KProbe("sendpage_called", &["tcp_sendpage"]),
                    KProbe("send_returned", &["tcp_sendpage"]),
                ],
            ),
            (Self::Syscall, Kind::First) => (&[Tracepoint("sys_exit", SYSCALLS)], &[]),
            // What the kernel keeps from one of these it keeps from all on that event.
            (Self::Kprobe | Self::Syscall, Kind::Spare) => (&[], &[]),
        };
        let sendpage = if has_sendpage { sendpage } else { &[] };
        always.iter().chain(sendpage).copied()
    }

    /// The programs that its programs of one kind go on to, and where they look for them: the array, and the index there.
    fn walkers(self, kind: Kind, has_sendpage: bool) -> impl Iterator<Item = Walker> {
        use Attachment::{FExit, KProbe, RawTracepoint, Tracepoint};
        const fn walker(program: Attachment, array: &'static str, entry: u32) -> Walker {
            Walker {
                program,
                array,
                entry,
            }
        }
        const RAW: &[Walker] = &[
            walker(
                RawTracepoint("sock_recv_walk", "sock_recv_length"),
                "WALKERS",
                0,
            ),
            walker(
                RawTracepoint("sock_send_walk", "sock_send_length"),
                "WALKERS",
                1,
            ),
            walker(
                RawTracepoint("sock_recv_spare_walk", "sock_recv_length"),
                "WALKERS",
                2,
            ),
            walker(
                RawTracepoint("sock_send_spare_walk", "sock_send_length"),
                "WALKERS",
                3,
            ),
        ];
        const FENTRY: &[Walker] = &[
            walker(
                FExit("recvmsg_exit_spare_walk", "tcp_recvmsg"),
                "RECVMSG_WALKERS",
                0,
            ),
            walker(
                FExit("sendmsg_exit_spare_walk", "tcp_sendmsg"),
                "SENDMSG_WALKERS",
                1,
            ),
            walker(
                FExit("recvmsg_exit_walk", "tcp_recvmsg"),
                "RECVMSG_WALKERS",
                2,
            ),
            walker(
                FExit("sendmsg_exit_walk", "tcp_sendmsg"),
                "SENDMSG_WALKERS",
                3,
            ),
        ];
        const SENDPAGE: &[Walker] = &[
            walker(
                FExit("sendpage_exit_spare_walk", "tcp_sendpage"),
                "SENDPAGE_WALKERS",
                1,
            ),
            walker(
                FExit("sendpage_exit_walk", "tcp_sendpage"),
                "SENDPAGE_WALKERS",
                3,
            ),
        ];
        const KPROBE: &[Walker] = &[
            walker(
                KProbe("recvmsg_returned_walk", &["tcp_recvmsg"]),
                "WALKERS",
                0,
            ),
            walker(KProbe("send_returned_walk", &["tcp_sendmsg"]), "WALKERS", 1),
        ];
        const SYSCALL: &[Walker] = &[
            walker(Tracepoint("sys_exit_recv_walk", SYSCALLS), "WALKERS", 0),
            walker(Tracepoint("sys_exit_send_walk", SYSCALLS), "WALKERS", 1),
        ];
        let (always, sendpage) = match self {
            Self::RawTracepoint => (RAW, &[][..]),
            Self::Fentry => (FENTRY, SENDPAGE),
            Self::Kprobe => (KPROBE, &[][..]),
            Self::Syscall => (SYSCALL, &[][..]),
        };
        let sendpage = if has_sendpage { sendpage } else { &[] };
        always
            .iter()
            .chain(sendpage)
            .copied()
            .filter(move |walker| {
                (kind == Kind::Spare) == walker.program.name().contains("_spare_")
            })
    }

    /// Whether it notes calls between their entry and their return.
    const fn has_inflight_calls(self) -> bool {
        matches!(self, Self::Kprobe)
    }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tap| tap.name() == text)
            .ok_or_else(|| {
                format!("no tap {text}; there are raw-tracepoint, fentry, kprobe, syscall")
            })
    }
}

/// The calls that move bytes, as tracepoints name them.
const SYSCALLS: &[&str] = &[
    "sys_exit_read",
    "sys_exit_write",
    "sys_exit_readv",
    "sys_exit_writev",
    "sys_exit_sendto",
    "sys_exit_recvfrom",
    "sys_exit_sendmsg",
    "sys_exit_recvmsg",
    "sys_exit_sendmmsg",
    "sys_exit_recvmmsg",
    "sys_exit_sendfile64",
];

/// A program and where it goes.
#[derive(Clone, Copy, Debug)]
enum Attachment {
    FExit(&'static str, &'static str),
    RawTracepoint(&'static str, &'static str),
    KProbe(&'static str, &'static [&'static str]),
    Tracepoint(&'static str, &'static [&'static str]),
}

impl Attachment {
    const fn name(self) -> &'static str {
        let (Self::FExit(name, _)
        | Self::RawTracepoint(name, _)
        | Self::KProbe(name, _)
        | Self::Tracepoint(name, _)) = self;
        name
    }
}

/// A program that others go on to with a tail call; it is loaded like them, and not attached.
#[derive(Clone, Copy, Debug)]
struct Walker {
    program: Attachment,
    array: &'static str,
    entry: u32,
}

/// A tap's second programs, which are loaded and attached when they are needed: most machines never do.
#[derive(Debug, Default)]
struct Spares {
    programs: Vec<Attachment>,
    walkers: Vec<Walker>,
}

/// Which of a tap's programs; see `Turn` in the kernel programs' `io.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Those that see each call.
    First,
    /// Those that see what the kernel keeps from the first.
    Spare,
}

/// The flow tap, three times: see the kernel programs' `flow.rs`.
const FLOW_PROGRAMS: [Attachment; 3] = [
    Attachment::RawTracepoint("flow_state", "inet_sock_set_state"),
    Attachment::RawTracepoint("flow_state_spare", "inet_sock_set_state"),
    Attachment::RawTracepoint("flow_state_last", "inet_sock_set_state"),
];

/// How the object is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct NetOptions {
    /// The tap; `None` takes the best that loads.
    pub tap: Option<Tap>,
    /// Bytes that its maps may take.
    pub map_budget: u64,
    /// Whether a profiler reads the table of threads and exchanges.
    pub track_active: bool,
    /// Whether plain text behind TLS is seen, too.
    pub tls: bool,
}

/// The loaded and attached object. Dropping it detaches everything.
#[derive(Debug)]
pub struct Net {
    /// The tap that was taken.
    pub tap: Tap,
    /// What became of the taps that were tried.
    pub taps: Vec<TapReport>,
    /// Records of messages.
    pub messages: RingReader,
    /// Records of flows.
    pub flows: RingReader,
    /// The kernel's memory of each connection.
    pub connections: Connections,
    /// The connections whose bytes travel.
    framings: HashMap<MapData, u64, FramingsRecord>,
    /// What the programs counted.
    pub counters: Arc<Counters>,
    /// What the kernel did not let them see.
    pub misses: Arc<Misses>,
    /// The tap's second programs, until they are attached.
    spares: Spares,
    /// Whether the programs for TLS libraries are loaded.
    has_tls_programs: bool,
    map_bytes: u64,
    /// Probes of TLS libraries. They go before their programs.
    tls: uprobes::Links,
    /// Owns the programs' links.
    ebpf: Ebpf,
}

impl Net {
    /// Loads the object and attaches the flow tap and one of the four taps.
    ///
    /// A tap whose program the kernel refuses is not tried again; the next one starts from a fresh copy of the object,
    /// with maps of its own.
    ///
    /// # Errors
    /// Without BTF, without the privileges, or when no wanted tap works.
    pub fn load(options: &NetOptions) -> Result<Self, Error> {
        let btf = Btf::kernel()?;
        let facts = Facts::of(&btf);
        drop(btf);
        let wanted: &[Tap] = match &options.tap {
            Some(tap) => std::slice::from_ref(tap),
            None => &Tap::ALL,
        };
        let mut taps = Vec::new();
        for &tap in wanted {
            match Self::load_with(tap, options, &facts) {
                Ok(mut net) => {
                    taps.push(TapReport { tap, refused: None });
                    net.taps = taps;
                    return Ok(net);
                }
                Err(error @ Error::Program { .. }) => taps.push(TapReport {
                    tap,
                    refused: Some(error.to_string()),
                }),
                Err(error) => return Err(error),
            }
        }
        Err(match (options.tap, taps.pop()) {
            (Some(_), Some(report)) => Error::Tap(report),
            (_, last) => {
                taps.extend(last);
                Error::NoTap(taps)
            }
        })
    }

    fn load_with(tap: Tap, options: &NetOptions, facts: &Facts) -> Result<Self, Error> {
        let mut ebpf = load_object(tap, options, facts)?;
        let btf = if tap == Tap::Fentry {
            Some(kernel_btf()?)
        } else {
            None
        };
        let of_tap = |kind| tap.programs(kind, facts.has_sendpage);
        for walker in tap.walkers(Kind::First, facts.has_sendpage) {
            load_walker(&mut ebpf, walker, btf.as_ref())?;
        }
        for attachment in FLOW_PROGRAMS.into_iter().chain(of_tap(Kind::First)) {
            load(&mut ebpf, attachment, btf.as_ref())?;
            attach(&mut ebpf, attachment)?;
        }
        let spares = Spares {
            programs: of_tap(Kind::Spare).collect(),
            walkers: tap.walkers(Kind::Spare, facts.has_sendpage).collect(),
        };
        let of = |names: Vec<&'static str>| {
            Counted::of(names.iter().filter_map(|name| ebpf.program(name)))
        };
        let misses = Misses::new(
            // A change of state is lost only where the last of three is kept from it, too.
            of(vec!["flow_state_last"]),
            of(of_tap(Kind::First).map(Attachment::name).collect()),
        );
        let map_bytes = map_bytes(&ebpf, &[]);
        Ok(Self {
            tap,
            taps: Vec::new(),
            messages: ring(OBJECT, &mut ebpf, "MESSAGES")?,
            flows: ring(OBJECT, &mut ebpf, "FLOWS")?,
            connections: Connections(
                HashMap::try_from(take(OBJECT, &mut ebpf, "CONNECTIONS")?)
                    .map_err(map_error("CONNECTIONS"))?,
            ),
            framings: HashMap::try_from(take(OBJECT, &mut ebpf, "FRAMINGS")?)
                .map_err(map_error("FRAMINGS"))?,
            counters: Arc::new(Counters(
                PerCpuArray::try_from(take(OBJECT, &mut ebpf, "NET_COUNTERS")?)
                    .map_err(map_error("NET_COUNTERS"))?,
            )),
            misses: Arc::new(misses),
            spares,
            map_bytes,
            has_tls_programs: false,
            tls: uprobes::Links::default(),
            ebpf,
        })
    }

    /// Attaches the tap's second programs if the kernel has kept calls from the first ones since they were attached. Returns whether
    /// it did so now.
    ///
    /// # Errors
    /// When the kernel refuses; it is not asked again.
    pub fn attach_spares_if_needed(&mut self) -> Result<bool, Error> {
        if self.spares.programs.is_empty() || self.misses.of_first() == 0 {
            return Ok(false);
        }
        let btf = if self.tap == Tap::Fentry {
            Some(kernel_btf()?)
        } else {
            None
        };
        let spares = std::mem::take(&mut self.spares);
        for walker in spares.walkers {
            load_walker(&mut self.ebpf, walker, btf.as_ref())?;
        }
        for &spare in &spares.programs {
            load(&mut self.ebpf, spare, btf.as_ref())?;
        }
        for &spare in &spares.programs {
            attach(&mut self.ebpf, spare)?;
        }
        let programs = spares.programs.iter();
        self.misses.spares_attached(Counted::of(
            programs.filter_map(|spare| self.ebpf.program(spare.name())),
        ));
        Ok(true)
    }

    /// The programs that are loaded.
    pub fn loaded(&self) -> Vec<ProgramReport> {
        self.ebpf
            .programs()
            .filter(|(_, program)| program.fd().is_ok())
            .map(|(name, program)| ProgramReport::of(name, program))
            .collect()
    }

    /// Ends the travel of a connection's bytes, of which nothing can be made any more: from its next I/O call on they are counted only.
    pub fn give_up(&mut self, id: ConnectionId) {
        let is_same = |state: ConnectionState| state.born_ns == id.born_ns;
        if self.connections.get(id.sock).is_some_and(is_same) {
            // It may be gone by now.
            let _ = self.framings.remove(&id.sock);
        }
    }

    /// Attaches probes to what a file holds of TLS, in all processes that map it, now and later. Returns how many they are.
    ///
    /// # Errors
    /// When the kernel refuses one; those before it stay.
    pub fn attach_tls(&mut self, file: &File, targets: &Targets) -> Result<usize, Error> {
        self.load_tls()?;
        uprobes::attach(&mut self.ebpf, &mut self.tls, file, targets)
    }

    /// Loads the programs for TLS libraries, which [`Net::attach_tls`] does when it is first called.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn load_tls(&mut self) -> Result<(), Error> {
        if !self.has_tls_programs {
            for (name, place) in uprobes::SHARED {
                uprobes::load(&mut self.ebpf, name)?;
                put(&mut self.ebpf, name, uprobes::SHARED_ARRAY, place)?;
            }
            for name in uprobes::PROGRAMS {
                uprobes::load(&mut self.ebpf, name)?;
            }
            self.has_tls_programs = true;
        }
        Ok(())
    }

    /// Bytes that the object's maps take in the kernel.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Bytes of them that are in this process's address space.
    pub fn mapped_bytes(&self) -> u64 {
        self.messages.mapped_bytes() + self.flows.mapped_bytes()
    }
}

fn load_object(tap: Tap, options: &NetOptions, facts: &Facts) -> Result<Ebpf, Error> {
    let sizes = NetSizes::within(options.map_budget);
    let capture = MAX_HEAD;
    let wake_at = u64::from(sizes.messages / 4);
    let track_active = u32::from(options.track_active);
    let own = process::id();
    let go = GoRecord(go_offsets());
    let (tls_calls, tls_objects, tls_threads) = if options.tls {
        (sizes.tls_calls, sizes.tls_objects, sizes.tls_threads)
    } else {
        (1, 1, 1)
    };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("OFFSETS", &facts.offsets, true)
        .override_global("SELF_TGID", &own, true)
        .override_global("CAPTURE", &capture, true)
        .override_global("WAKE_AT", &wake_at, true)
        .override_global("HAS_TASK_PT_REGS", &facts.has_task_pt_regs, true)
        .override_global("REGS_FROM_STACK", &facts.regs_from_stack, true)
        .override_global("RECVMSG_ARGUMENTS", &facts.recvmsg_arguments, true)
        .override_global("ITER_IOVEC", &facts.iter_iovec, true)
        .override_global("ITER_UBUF", &facts.iter_ubuf, true)
        .override_global("TRACK_ACTIVE", &track_active, true)
        .override_global("GO_LAYOUT", &go, true)
        .override_global("ABI_VERSION", &VERSION, false)
        .map_max_entries("TLS_CALLS", tls_calls)
        .map_max_entries("TLS_OBJECTS", tls_objects)
        .map_max_entries("TLS_THREADS", tls_threads)
        .map_max_entries("MESSAGES", sizes.messages)
        .map_max_entries("FLOWS", sizes.flows)
        .map_max_entries("CONNECTIONS", sizes.connections)
        .map_max_entries("FRAMINGS", sizes.framings)
        .map_max_entries(
            "INFLIGHT",
            if tap.has_inflight_calls() {
                sizes.inflight
            } else {
                1
            },
        )
        .map_max_entries(
            "ACTIVE",
            if options.track_active {
                sizes.active
            } else {
                1
            },
        );
    if options.track_active {
        loader.map_pin_path("ACTIVE", namespace::active_pin());
    }
    loader.load(objects::NET).map_err(|error| Error::Load {
        object: OBJECT,
        error: Box::new(error),
    })
}

/// [`GoOffsets`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct GoRecord(GoOffsets);

// SAFETY: `#[repr(C)]`, no padding and no pointer, any bits are valid.
unsafe impl aya::Pod for GoRecord {}

fn go_offsets() -> GoOffsets {
    let layout = GoLayout::SINCE_1_18;
    GoOffsets {
        conn: layout.conn,
        itab_hash: layout.itab_hash,
        net_fd: layout.net_fd,
        sysfd: layout.sysfd,
        tcp_conn: layout.tcp_conn,
        reserved: 0,
    }
}

fn load(ebpf: &mut Ebpf, attachment: Attachment, btf: Option<&aya::Btf>) -> Result<(), Error> {
    with_program(ebpf, attachment, |program| {
        // One program may serve two functions.
        if program.fd().is_ok() {
            return Ok(());
        }
        match attachment {
            Attachment::FExit(_, function) => {
                let btf = btf.ok_or(ProgramError::UnexpectedProgramType)?;
                <&mut FExit>::try_from(program)?.load(function, btf)
            }
            Attachment::RawTracepoint(..) => <&mut RawTracePoint>::try_from(program)?.load(),
            Attachment::KProbe(..) => <&mut KProbe>::try_from(program)?.load(),
            Attachment::Tracepoint(..) => <&mut TracePoint>::try_from(program)?.load(),
        }
    })
}

fn attach(ebpf: &mut Ebpf, attachment: Attachment) -> Result<(), Error> {
    with_program(ebpf, attachment, |program| {
        match attachment {
            Attachment::FExit(..) => {
                <&mut FExit>::try_from(program)?.attach()?;
            }
            Attachment::RawTracepoint(_, event) => {
                <&mut RawTracePoint>::try_from(program)?.attach(event)?;
            }
            Attachment::KProbe(_, functions) => {
                let program: &mut KProbe = program.try_into()?;
                for function in functions {
                    program.attach(function, 0)?;
                }
            }
            Attachment::Tracepoint(_, events) => {
                let program: &mut TracePoint = program.try_into()?;
                for event in events {
                    program.attach("syscalls", event)?;
                }
            }
        }
        Ok(())
    })
}

/// The kernel's type information, as aya wants it.
fn kernel_btf() -> Result<aya::Btf, Error> {
    aya::Btf::from_sys_fs().map_err(|error| Error::Load {
        object: OBJECT,
        error: Box::new(error.into()),
    })
}

/// Loads a program that others go on to, and puts it where they look for it.
fn load_walker(ebpf: &mut Ebpf, walker: Walker, btf: Option<&aya::Btf>) -> Result<(), Error> {
    load(ebpf, walker.program, btf)?;
    put(ebpf, walker.program.name(), walker.array, walker.entry)
}

/// Puts a program where others look for it. It stays there as long as the object holds the array.
fn put(ebpf: &mut Ebpf, name: &'static str, array: &'static str, entry: u32) -> Result<(), Error> {
    let program = ebpf.program(name).and_then(|program| program.fd().ok());
    let fd = program
        .and_then(|fd| fd.try_clone().ok())
        .ok_or(Error::Foreign {
            object: OBJECT,
            part: name,
        })?;
    let map = ebpf.map_mut(array).ok_or(Error::Foreign {
        object: OBJECT,
        part: array,
    })?;
    let mut programs = ProgramArray::try_from(map).map_err(map_error(array))?;
    programs.set(entry, &fd, 0).map_err(map_error(array))
}

fn with_program(
    ebpf: &mut Ebpf,
    attachment: Attachment,
    act: impl FnOnce(&mut Program) -> Result<(), ProgramError>,
) -> Result<(), Error> {
    let name = attachment.name();
    let program = ebpf.program_mut(name).ok_or(Error::Foreign {
        object: OBJECT,
        part: name,
    })?;
    act(program).map_err(|error| Error::Program {
        program: name,
        error: Box::new(error),
    })
}

/// The kernel's memory of each connection.
#[derive(Debug)]
pub struct Connections(HashMap<MapData, u64, ConnectionRecord>);

/// A value of `FRAMINGS`, which is the kernel programs' alone.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct FramingsRecord([u8; FRAMINGS_SIZE]);

// SAFETY: bytes.
unsafe impl aya::Pod for FramingsRecord {}

/// [`ConnectionState`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct ConnectionRecord(ConnectionState);

// SAFETY: `#[repr(C)]`, no padding and no pointer (the ABI's tests hold it to that), any bits are valid.
unsafe impl aya::Pod for ConnectionRecord {}

impl Connections {
    /// What the kernel knows of a sock; `None` when it is gone.
    pub fn get(&self, sock: u64) -> Option<ConnectionState> {
        self.0.get(&sock, 0).ok().map(|record| record.0)
    }
}

/// What the programs counted.
pub struct Counters(PerCpuArray<MapData, u64>);

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read()).finish()
    }
}

impl Counters {
    /// One counter's sum over all CPUs, since the object was loaded.
    pub fn get(&self, counter: NetCounter) -> u64 {
        let values = self.0.get(&(counter as u32), 0);
        values.map_or(0, |values| values.iter().sum())
    }

    /// Each counter's sum over all CPUs, since the object was loaded.
    pub fn read(&self) -> Vec<(NetCounter, u64)> {
        NetCounter::ALL
            .iter()
            .map(|&counter| (counter, self.get(counter)))
            .collect()
    }
}
