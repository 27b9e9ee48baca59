//! Uprobes on the functions of Go's `net/http` that say for whom a request is sent. Each goes on with a tail call to [`layer::nowhere`].

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use crate::{goroutine, layer};

/// `net/http.(*persistConn).roundTrip(req)`.
#[uprobe]
pub fn go_asks(ctx: ProbeContext) -> u32 {
    goroutine::asks(&ctx);
    layer::nowhere(&ctx);
    0
}

/// `net/http.(*persistConn).writeLoop()`.
#[uprobe]
pub fn go_writes(ctx: ProbeContext) -> u32 {
    goroutine::writes(&ctx);
    layer::nowhere(&ctx);
    0
}

/// Its return.
#[uprobe]
pub fn go_wrote(ctx: ProbeContext) -> u32 {
    goroutine::ends(&ctx);
    layer::nowhere(&ctx);
    0
}
