//! Offsets of kernel struct members, in bytes. The loader resolves them from the running kernel's BTF and hands each
//! object the whole table as the global `OFFSETS`. A member that the kernel does not have is [`ABSENT`].

/// The offset of a member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident = $path:literal,)+) => {
        /// The table of offsets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets { $($(#[$doc])* #[doc = concat!("`", $path, "`")] pub $field: u32,)+ }

        impl Offsets {
            /// A table in which nothing is known.
            pub const UNKNOWN: Self = Self { $($field: ABSENT,)+ };

            /// Each member's name in this table and its path in the kernel: `struct.member.member`.
            pub const PATHS: &'static [(&'static str, &'static str)] = &[$((stringify!($field), $path),)+];

            /// Fills the table from a function that resolves a path.
            pub fn resolve(mut find: impl FnMut(&'static str) -> Option<u32>) -> Self {
                Self { $($field: find($path).unwrap_or(ABSENT),)+ }
            }
        }
    };
}

offsets! {
    sk_family = "sock.__sk_common.skc_family",
    sk_num = "sock.__sk_common.skc_num",
    sk_dport = "sock.__sk_common.skc_dport",
    sk_daddr = "sock.__sk_common.skc_daddr",
    sk_rcv_saddr = "sock.__sk_common.skc_rcv_saddr",
    sk_v6_daddr = "sock.__sk_common.skc_v6_daddr",
    sk_v6_rcv_saddr = "sock.__sk_common.skc_v6_rcv_saddr",
    sk_state = "sock.__sk_common.skc_state",
    sk_flags = "sock.__sk_common.skc_flags",
    sk_net = "sock.__sk_common.skc_net.net",
    sk_protocol = "sock.sk_protocol",
    sk_type = "sock.sk_type",
    sk_err = "sock.sk_err",
    inet_sport = "inet_sock.inet_sport",
    sk_socket = "sock.sk_socket",
    sk_cgroup = "sock.sk_cgrp_data.cgroup",
    /// Before 5.15 the pointer shared a word with a mark.
    sk_cgroup_old = "sock.sk_cgrp_data.val",
    cgroup_kn = "cgroup.kn",
    kn_id = "kernfs_node.id",
    net_inum = "net.ns.inum",
    tp_bytes_sent = "tcp_sock.bytes_sent",
    tp_bytes_retrans = "tcp_sock.bytes_retrans",
    tp_bytes_received = "tcp_sock.bytes_received",
    tp_write_seq = "tcp_sock.write_seq",
    tp_copied_seq = "tcp_sock.copied_seq",
    tp_srtt_us = "tcp_sock.srtt_us",
    tp_total_retrans = "tcp_sock.total_retrans",
    tp_rtt_min = "tcp_sock.rtt_min",
    tp_segs_in = "tcp_sock.segs_in",
    tp_segs_out = "tcp_sock.segs_out",
    tp_rcv_nxt = "tcp_sock.rcv_nxt",
    task_flags = "task_struct.flags",
    task_mm = "task_struct.mm",
    task_exit_code = "task_struct.exit_code",
    task_stack = "task_struct.stack",
    task_files = "task_struct.files",
    files_fdt = "files_struct.fdt",
    fdt_fd = "fdtable.fd",
    fdt_max_fds = "fdtable.max_fds",
    file_private_data = "file.private_data",
    socket_file = "socket.file",
    socket_sk = "socket.sk",
    socket_state = "socket.state",
    msg_name = "msghdr.msg_name",
    msg_iter = "msghdr.msg_iter",
    iter_type = "iov_iter.iter_type",
    /// Before 5.14 the type shared a word with the direction.
    iter_type_old = "iov_iter.type",
    iter_iov = "iov_iter.__iov",
    /// Before 6.4.
    iter_iov_old = "iov_iter.iov",
    iter_ubuf = "iov_iter.ubuf",
    iter_nr_segs = "iov_iter.nr_segs",
    iter_iov_offset = "iov_iter.iov_offset",
    regs_di = "pt_regs.di",
    regs_si = "pt_regs.si",
    regs_dx = "pt_regs.dx",
    regs_r10 = "pt_regs.r10",
    regs_r8 = "pt_regs.r8",
    regs_orig_ax = "pt_regs.orig_ax",
}
