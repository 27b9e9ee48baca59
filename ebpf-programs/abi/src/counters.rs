//! What the kernel programs count: one `u64` for each CPU and index of the maps `NET_COUNTERS` and `PROFILE_COUNTERS`.
//!
//! For each ring buffer: attempted = delivered + lost to a full ring, exactly.

macro_rules! counters {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that metrics carry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}
pub(crate) use counters;

counters! {
    /// Indices of `NET_COUNTERS`.
    NetCounter {
        /// Flow records that the tap made.
        FlowAttempted = "flow_attempted",
        /// Flow records that the ring had no room for.
        FlowRingFull = "flow_ring_full",
        /// Resets that were sent on none of the connections that are known: in answer to what came to a closed port, for example.
        ResetUnbound = "reset_unbound",
        /// Message records that the tap made.
        MessageAttempted = "message_attempted",
        /// Message records that the ring had no room for.
        MessageRingFull = "message_ring_full",
        /// TCP I/O calls with at least one byte that the tap saw.
        IoSeen = "io_seen",
        /// I/O on a connection that the full CONNECTIONS map could not take.
        ConnectionsFull = "connections_full",
        /// I/O calls whose first bytes could not be read from user memory.
        UnreadableBuffer = "unreadable_buffer",
        /// First I/O calls of a message without a user buffer (sendfile, splice, io_uring).
        NoBuffer = "no_buffer",
        /// I/O calls that had no room in the INFLIGHT map between entry and return.
        InflightFull = "inflight_full",
        /// I/O calls whose return the kernel did not show: it has a limited number of return probes under way.
        ReturnMissed = "return_missed",
        /// I/O calls on a connection on which a program that was preempted was about to start a message.
        Interrupted = "interrupted",
        /// Requests that had no room in the ACTIVE map.
        ActiveFull = "active_full",
        /// Connections given up as not HTTP.
        GivenUp = "given_up",
        /// Connections that pipeline or speak HTTP/2 for which the FRAMINGS map had no room: they are counted only.
        FramingsFull = "framings_full",
        /// Directions of connections whose frames were lost track of: bytes could not be read, or one I/O call held too many.
        FramesLost = "frames_lost",
        /// Calls of TLS libraries that moved bytes.
        TlsSeen = "tls_seen",
        /// Those on an object whose connection is not known: their bytes are counted as the connection's, and not read.
        TlsUnbound = "tls_unbound",
        /// Those that preempted too many others on their CPU.
        TlsBusy = "tls_busy",
        /// Calls that had no room in the TLS_CALLS map.
        TlsCallsFull = "tls_calls_full",
        /// Objects that had no room in the TLS_OBJECTS map.
        TlsObjectsFull = "tls_objects_full",
        /// Datagrams that the tap saw.
        UdpSeen = "udp_seen",
        /// Datagrams for which the UDP_FLOWS map had no room: neither they nor their bytes are in any count but this.
        UdpFlowsFull = "udp_flows_full",
        /// Records of DNS messages that the tap made.
        DnsAttempted = "dns_attempted",
        /// Records of DNS messages that the ring had no room for.
        DnsRingFull = "dns_ring_full",
        /// DNS messages that could not be read from user memory.
        DnsUnreadable = "dns_unreadable",
    }
}

counters! {
    /// Indices of `PROFILE_COUNTERS`.
    ProfileCounter {
        /// Timer ticks that the program saw.
        Ticks = "ticks",
        /// Ticks on an idle CPU, which make no sample.
        Idle = "idle",
        /// Ticks of processes that the filter leaves out.
        Filtered = "filtered",
        /// Sample records that the program made.
        SampleAttempted = "sample_attempted",
        /// Sample records that the ring had no room for.
        SampleRingFull = "sample_ring_full",
        /// Samples that go without the copy of the user stack that they should have, because copies may take half of the ring at most.
        CopyRingFull = "copy_ring_full",
        /// Samples that go without that copy, because their process had one for an address in no mapping less than 100 ms before.
        CopyLimited = "copy_limited",
    }
}
