//! Replays the fuzz targets' corpus: what was once found stays fixed, on every test run and without a fuzzer. Beside each seed
//! itself this tries its cuts and some thousand mutations, the same on every run; `FATHOM_MUTATIONS` asks for more.

#[path = "../../fuzz/checks.rs"]
mod checks;

#[path = "../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn routes() {
    replay("route", checks::route);
}

#[test]
fn http1_heads() {
    replay("http1_head", checks::http1_head);
}

#[test]
fn message_records() {
    replay("messages", checks::messages);
}

#[test]
fn flow_records() {
    replay("flows", checks::flows);
}

#[test]
fn lists_of_sockets() {
    replay("sock_diag", checks::sock_diag);
}

#[test]
fn answers_of_conntrack() {
    replay("conntrack", checks::conntrack);
}

#[test]
fn files_that_may_hold_tls() {
    replay("tls", checks::tls);
}

#[test]
fn perf_records() {
    replay("perf_record", checks::perf_record);
}

#[test]
fn pipelines() {
    replay("pipeline", checks::pipeline);
}

#[test]
fn header_blocks() {
    replay("hpack", checks::hpack);
}

#[test]
fn dns_messages() {
    replay("dns", checks::dns);
}

#[test]
fn http2_connections() {
    replay("http2", checks::http2);
}

#[test]
fn files_of_profiles() {
    replay("profile_file", checks::profile_file);
}
