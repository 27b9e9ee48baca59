//! The object's maps and constants, as this kernel and this memory budget want them.

use std::process;

use aya::{Ebpf, EbpfLoader};
use fathom_abi::{VERSION, message::GoOffsets};

use super::{GoProcesses, NetOptions, OBJECT, Tap};
use crate::probes::{Error, namespace, objects, offsets::Facts, sizes::NetSizes, tls::GoLayout};

/// Loads the object with maps of its own; no program yet.
pub(super) fn load(
    tap: Tap,
    options: &NetOptions,
    facts: &Facts,
    kernel: &aya::Btf,
) -> Result<Ebpf, Error> {
    let sizes = NetSizes::within(options.map_budget);
    let wake_at = u64::from(sizes.messages / 4);
    let wake_for_flows_at = u64::from(sizes.flows / 4);
    let watch_udp = u32::from(options.udp);
    let track_active = u32::from(options.track_active);
    let own = process::id();
    let go = GoRecord(go_offsets());
    let if_wanted = |wanted, size| if wanted { size } else { 1 };
    // A ring has a page at least.
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(64 << 10);
    let if_wanted_ring = |wanted, size| if wanted { size } else { page };
    let go_connections = if_wanted(options.parents, sizes.go_connections);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(kernel))
        .override_global("OFFSETS", &facts.offsets, true)
        .override_global("SELF_TGID", &own, true)
        .override_global("CAPTURE", &options.head_limit, true)
        .override_global("WAKE_AT", &wake_at, true)
        .override_global("WAKE_FOR_FLOWS_AT", &wake_for_flows_at, true)
        .override_global("HAS_TASK_PT_REGS", &facts.has_task_pt_regs, true)
        .override_global("REGS_FROM_STACK", &facts.regs_from_stack, true)
        .override_global("RECVMSG_ARGUMENTS", &facts.recvmsg_arguments, true)
        .override_global("ACCEPT_ARGUMENTS", &facts.accept_arguments, true)
        .override_global("ITER_IOVEC", &facts.iter_iovec, true)
        .override_global("ITER_UBUF", &facts.iter_ubuf, true)
        .override_global("TRACK_ACTIVE", &track_active, true)
        .override_global("WATCH_UDP", &watch_udp, true)
        .override_global("GO_LAYOUT", &go, true)
        .override_global("ABI_VERSION", &VERSION, false)
        .map_max_entries("TLS_CALLS", if_wanted(options.tls, sizes.tls_calls))
        .map_max_entries("TLS_OBJECTS", if_wanted(options.tls, sizes.tls_objects))
        .map_max_entries("TLS_THREADS", if_wanted(options.tls, sizes.tls_threads))
        .map_max_entries("UDP_FLOWS", if_wanted(options.udp, sizes.udp_flows))
        .map_max_entries("UDP_SOCKS", if_wanted(options.udp, sizes.udp_socks))
        .map_max_entries("DNS", if_wanted_ring(options.udp, sizes.dns))
        .map_max_entries("GO_LOOPS", go_connections)
        .map_max_entries("GO_ASKERS", go_connections)
        .map_max_entries("MESSAGES", sizes.messages)
        .map_max_entries("FLOWS", sizes.flows)
        .map_max_entries("CONNECTIONS", sizes.connections)
        .map_max_entries("FRAMINGS", sizes.framings)
        .map_max_entries(
            "INFLIGHT",
            if_wanted(tap.has_inflight_calls(), sizes.inflight),
        )
        .map_max_entries("ACTIVE", if_wanted(options.track_active, sizes.active))
        .map_max_entries(
            "GO_PROCESSES",
            if_wanted(options.track_active, GoProcesses::CAPACITY),
        );
    if options.track_active {
        for map in namespace::SHARED {
            loader.map_pin_path(map, namespace::pin(map));
        }
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
