//! The four ways to see the bytes of a socket. The loader takes the best one that loads.

mod fentry;
mod kprobe;
mod raw_tracepoint;
mod syscalls;
mod tcp_calls;
