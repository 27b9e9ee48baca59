//! The `net` object: TCP flows and the heads of messages.
#![no_std]
#![no_main]
use aya_ebpf::{
    Global, helpers::bpf_ktime_get_ns, macros::map, macros::raw_tracepoint, maps::HashMap,
    programs::RawTracePointContext,
};
#[unsafe(no_mangle)]
static SELF: Global<u32> = Global::new(0);
#[map]
static M: HashMap<u64, u64> = HashMap::with_max_entries(10, 0);
/// x
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state(ctx: RawTracePointContext) -> i32 {
    let s: u64 = ctx.arg(0);
    if SELF.load() == 1 {
        return 0;
    }
    let v = unsafe { bpf_ktime_get_ns() };
    let _ = M.insert(&s, &v, 0);
    0
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
