//! The four ways to see the bytes of a socket, of which the loader takes the best one that loads, the calls of TLS libraries, and those of Go's HTTP client.

mod fentry;
mod go_calls;
mod kprobe;
mod raw_tracepoint;
mod socket_calls;
mod syscalls;
pub mod tcp_calls;
mod tls_calls;
mod udp_calls;
