//! The `net` object: loading it, choosing its tap, and what user space reads of it.

mod attachment;
mod go_processes;
mod object;
mod socket_calls;
mod state;
mod tap;

use std::{fs::File, sync::Arc};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray},
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use fathom_abi::{
    ConnectionId,
    flow::{ANYWAY, MAY_REST, REPORTED},
    message::PLAIN_TEXT,
};

use self::{
    attachment::{Attachment, Walker, attach, kernel_btf, load, load_walker, put},
    state::FramingsRecord,
    tap::{FLOW_REPORT, FLOW_RESET, Kind, flow_programs},
};
pub use self::{
    go_processes::GoProcesses,
    socket_calls::SocketCalls,
    state::{Connections, Counters, UdpFlows},
    tap::Tap,
};
use super::{
    Error, ProgramReport, TapReport,
    btf::Btf,
    maps::{map_bytes, map_error, ring, take},
    misses::{Counted, Misses},
    offsets::Facts,
    ring::RingReader,
    sizes::NetSizes,
    tls::{Action, Function, Targets},
    uprobes,
};

const OBJECT: &str = "net";

/// A tap's second programs, which are loaded and attached when they are needed: most machines never do.
#[derive(Debug, Default)]
struct Spares {
    programs: Vec<Attachment>,
    walkers: Vec<Walker>,
}

/// How the object is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct NetOptions {
    /// The tap; `None` takes the best that loads.
    pub tap: Option<Tap>,
    /// Bytes that its maps may take.
    pub map_budget: u64,
    /// Whether a profiler reads the table of threads, goroutines and exchanges.
    pub track_active: bool,
    /// Whether plain text behind TLS is seen, too.
    pub tls: bool,
    /// Whether it is wanted for which goroutine a Go program's HTTP client sends a request; takes `tls`, too.
    pub parents: bool,
    /// Whether UDP is seen, too, and the messages of DNS clients.
    pub udp: bool,
    /// Bytes of an HTTP/1 head that records may carry, at most [`crate::l7::http1::MAX_HEAD`].
    pub head_limit: u32,
}

impl NetOptions {
    /// The head limit of who has not said another.
    pub const HEAD_LIMIT: u32 = 8 << 10;
}

/// The loaded and attached object. Dropping it detaches everything.
#[derive(Debug)]
pub struct Net {
    /// The tap that was taken.
    pub tap: Tap,
    /// What became of the taps that were tried.
    pub taps: Vec<TapReport>,
    /// How accept(2) and connect(2) are seen; `None` where neither way works here.
    pub socket_calls: Option<SocketCalls>,
    /// Records of messages.
    pub messages: RingReader,
    /// Records of flows.
    pub flows: RingReader,
    /// The kernel's memory of each connection.
    pub connections: Connections,
    /// Datagrams of DNS clients.
    pub dns: RingReader,
    /// Who speaks to whom over UDP.
    pub udp: UdpFlows,
    /// The Go programs, where a profiler reads who serves what.
    pub go_processes: Option<GoProcesses>,
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
    parents: bool,
    map_bytes: u64,
    /// Probes of TLS libraries. They go before their programs.
    tls: uprobes::Links,
    /// Owns the programs' links.
    ebpf: Ebpf,
}

/// Of which open connections [`Net::report`] wants a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those on which a segment has moved since the record before.
    Moved,
    /// The same; others may go to rest, with a record that says so.
    MovedOrResting,
    /// All.
    All,
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
        let kernel = kernel_btf()?;
        let wanted: &[Tap] = match &options.tap {
            Some(tap) => std::slice::from_ref(tap),
            None => &Tap::ALL,
        };
        let mut taps = Vec::new();
        for &tap in wanted {
            match Self::load_with(tap, options, &facts, &kernel) {
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

    fn load_with(
        tap: Tap,
        options: &NetOptions,
        facts: &Facts,
        kernel: &aya::Btf,
    ) -> Result<Self, Error> {
        let mut ebpf = object::load(tap, options, facts, kernel)?;
        let of_tap = |kind| {
            let of_udp = tap.udp_programs(kind, facts.has_udpv6);
            let of_tcp = tap.programs(kind, facts.has_sendpage);
            of_tcp.chain(of_udp.filter(|_| options.udp))
        };
        for walker in tap.walkers(Kind::First, facts.has_sendpage) {
            load_walker(&mut ebpf, walker, kernel)?;
        }
        let is_preemptible = kernel_is_at_least(TRACEPOINTS_PREEMPTIBLE);
        let flow = flow_programs(is_preemptible);
        let others = of_tap(Kind::First).chain([FLOW_RESET]);
        for attachment in flow.iter().copied().chain(others) {
            load(&mut ebpf, attachment, kernel)?;
            attach(&mut ebpf, attachment)?;
        }
        load(&mut ebpf, FLOW_REPORT, kernel)?;
        let socket_calls = attach_socket_calls(&mut ebpf, tap, kernel)?;
        let spares = Spares {
            programs: of_tap(Kind::Spare).collect(),
            walkers: tap.walkers(Kind::Spare, facts.has_sendpage).collect(),
        };
        let of = |names: Vec<&'static str>| {
            Counted::of(names.iter().filter_map(|name| ebpf.program(name)))
        };
        let misses = Misses::new(
            // A change of state is lost only where the last one is kept from it, too.
            of(flow.last().map(|last| last.name()).into_iter().collect()),
            of(socket_calls
                .iter()
                .flat_map(|calls| calls.programs())
                .map(Attachment::name)
                .collect()),
            of(of_tap(Kind::First).map(Attachment::name).collect()),
        );
        let map_bytes = map_bytes(&ebpf, &[]);
        let sizes = NetSizes::within(options.map_budget);
        let mut net = Self {
            tap,
            taps: Vec::new(),
            socket_calls,
            messages: ring(OBJECT, &mut ebpf, "MESSAGES")?,
            flows: ring(OBJECT, &mut ebpf, "FLOWS")?,
            connections: Connections {
                map: HashMap::try_from(take(OBJECT, &mut ebpf, "CONNECTIONS")?)
                    .map_err(map_error("CONNECTIONS"))?,
                capacity: sizes.connections,
            },
            dns: ring(OBJECT, &mut ebpf, "DNS")?,
            udp: UdpFlows {
                map: HashMap::try_from(take(OBJECT, &mut ebpf, "UDP_FLOWS")?)
                    .map_err(map_error("UDP_FLOWS"))?,
                capacity: sizes.udp_flows,
            },
            go_processes: match options.track_active {
                true => Some(GoProcesses(
                    HashMap::try_from(take(OBJECT, &mut ebpf, "GO_PROCESSES")?)
                        .map_err(map_error("GO_PROCESSES"))?,
                )),
                false => None,
            },
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
            parents: options.parents,
            tls: uprobes::Links::default(),
            ebpf,
        };
        net.messages
            .wakes_for(&net.flows)
            .map_err(|error| map_error("FLOWS")(MapError::IoError(error)))?;
        if tap == Tap::RawTracepoint && is_preemptible {
            // Sooner or later it will, and what is lost until then need not be.
            net.attach_spares(kernel)?;
        }
        Ok(net)
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
        self.attach_spares(&kernel_btf()?)?;
        Ok(true)
    }

    fn attach_spares(&mut self, kernel: &aya::Btf) -> Result<(), Error> {
        let spares = std::mem::take(&mut self.spares);
        for walker in spares.walkers {
            load_walker(&mut self.ebpf, walker, kernel)?;
        }
        for &spare in &spares.programs {
            load(&mut self.ebpf, spare, kernel)?;
        }
        for &spare in &spares.programs {
            attach(&mut self.ebpf, spare)?;
        }
        let programs = spares.programs.iter();
        self.misses.spares_attached(Counted::of(
            programs.filter_map(|spare| self.ebpf.program(spare.name())),
        ));
        Ok(())
    }

    /// The programs that are loaded.
    pub fn loaded(&self) -> Vec<ProgramReport> {
        self.ebpf
            .programs()
            .filter(|(_, program)| program.fd().is_ok())
            .map(|(name, program)| ProgramReport::of(name, program))
            .collect()
    }

    /// Has the kernel say where these connections stand: a record of each that is wanted and open goes into the ring of flows. To be called with no more of them than the ring has room for.
    ///
    /// # Errors
    /// Where the kernel does not run the program; it is 5.10 or later.
    pub fn report(&self, ids: &[ConnectionId], wanted: Wanted) -> Result<(), ProgramError> {
        let program = self.ebpf.program(FLOW_REPORT.name());
        let program = program.ok_or(ProgramError::NotLoaded)?;
        let program: &RawTracePoint = program.try_into()?;
        for ids in ids.chunks(REPORTED) {
            let mut options = RawTracePointRunOptions::new();
            for (argument, id) in options.args.iter_mut().zip(ids) {
                *argument = match wanted {
                    Wanted::Moved => id.sock,
                    Wanted::MovedOrResting => id.sock | MAY_REST,
                    Wanted::All => id.sock | ANYWAY,
                };
            }
            program.test_run(options)?;
        }
        Ok(())
    }

    /// Has the kernel forget connections that are over, with the layer of plain text over them, where it knows that they are.
    ///
    /// # Errors
    /// As [`Net::report`].
    pub fn forget(&self, ids: &[ConnectionId]) -> Result<(), ProgramError> {
        let ids: Vec<_> = ids.iter().map(|&id| connection_of(id)).collect();
        self.report(&ids, Wanted::Moved)
    }

    /// Ends the travel of a connection's bytes, of which nothing can be made any more: from its next I/O call on they are counted only.
    pub fn give_up(&mut self, id: ConnectionId) {
        if self.connections.has(id) {
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
        let wanted = |function: Function| self.parents || function.action() != Action::Ask;
        uprobes::attach(&mut self.ebpf, &mut self.tls, file, targets, wanted)
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
        self.messages.mapped_bytes() + self.flows.mapped_bytes() + self.dns.mapped_bytes()
    }
}

/// The connection that a layer of plain text lies over, or that this is.
pub fn connection_of(id: ConnectionId) -> ConnectionId {
    ConnectionId {
        sock: id.sock & !PLAIN_TEXT,
        ..id
    }
}

/// Attaches the programs on accept(2) and connect(2) in the best way that works here.
///
/// Without them a connection has the process that first uses it, and a connect that fails before it begins is not seen.
fn attach_socket_calls(
    ebpf: &mut Ebpf,
    tap: Tap,
    kernel: &aya::Btf,
) -> Result<Option<SocketCalls>, Error> {
    for &calls in SocketCalls::of(tap) {
        match calls.attach(ebpf, kernel) {
            Ok(()) => return Ok(Some(calls)),
            Err(Error::Program { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The first kernel on whose tracepoints a task can be preempted (the one of the tested ones that does it).
const TRACEPOINTS_PREEMPTIBLE: (u32, u32) = (7, 0);

/// Whether the kernel that runs is this one or a later one.
fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = rustix::system::uname();
    let mut numbers = release
        .release()
        .to_str()
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}
