//! The four ways to see the bytes of a socket, of which the loader takes the best one that loads, and the calls of TLS libraries.

mod fentry;
mod kprobe;
mod raw_tracepoint;
mod syscalls;
mod tcp_calls;
mod tls_calls;
