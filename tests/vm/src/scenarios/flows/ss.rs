//! What `ss -ti` says of a connection: the kernel's own `struct tcp_info`, read by somebody else.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::note::Note;

/// What is compared. Times in microseconds.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// The smoothed round-trip time.
    pub srtt_us: u64,
    /// The shortest one.
    pub min_rtt_us: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Segments that were sent, those among them.
    pub segments_sent: u64,
    /// Segments that came.
    pub segments_received: u64,
    /// Bytes that are not acknowledged.
    pub unacknowledged: u64,
}

/// Why `ss` can't say it here; none when it can. Without the module `tcp_diag` it falls back to /proc, where none of it is.
pub fn missing() -> Option<String> {
    let Ok(output) = Command::new("ss").args(["-tinOH", "-a"]).output() else {
        return Some("no ss (iproute2)".to_owned());
    };
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success() || said.contains("RTNETLINK"))
        .then(|| format!("ss can't ask this kernel (tcp_diag): {}", said.trim()))
}

/// Asks for the socket with these ends in the calling thread's network namespace.
pub fn ask(local: SocketAddr, remote: SocketAddr) -> Result<Info> {
    let output = Command::new("ss")
        .args([
            "-tinOH",
            "src",
            &local.to_string(),
            "dst",
            &remote.to_string(),
        ])
        .output()
        .context("cannot start ss: install iproute2")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.lines().count() == 1,
        "ss knows {} sockets from {local} to {remote}, not one: {text}",
        text.lines().count()
    );
    parse(&text).with_context(|| format!("not what ss says of a connection: {text}"))
}

impl Info {
    /// Notes it as what fathom must say of a connection that has done nothing since but be reset: a RST changes neither the times nor the
    /// retransmits, and is a segment itself.
    pub fn note(&self, note: &mut Note) {
        note.bound("srtt_us", self.srtt_us, self.srtt_us);
        note.bound("min_rtt_us", self.min_rtt_us, self.min_rtt_us);
        note.bound("retransmits", self.retransmits, self.retransmits);
        note.bound("segments_sent", self.segments_sent, self.segments_sent + 1);
        note.bound(
            "segments_received",
            self.segments_received,
            self.segments_received + 1,
        );
    }
}

/// Words such as `rtt:100.25/3.5` (milliseconds), `retrans:0/3` (now and in all), `segs_out:12`. What is zero is left out.
fn parse(line: &str) -> Option<Info> {
    let word = |name: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
    };
    let count = |name: &str| word(name).map_or(Some(0), |value| value.parse().ok());
    Some(Info {
        srtt_us: micros(word("rtt")?.split('/').next()?)?,
        min_rtt_us: micros(word("minrtt")?)?,
        retransmits: word("retrans")
            .map_or(Some(0), |value| value.split_once('/')?.1.parse().ok())?,
        segments_sent: count("segs_out")?,
        segments_received: count("segs_in")?,
        unacknowledged: count("unacked")?,
    })
}

/// Milliseconds with a fraction, as whole microseconds.
fn micros(millis: &str) -> Option<u64> {
    let (whole, fraction) = millis.split_once('.').unwrap_or((millis, ""));
    let fraction: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::{Info, parse};

    #[test]
    fn a_line_is_read() {
        let line = "ESTAB 0 0 10.77.0.1:40000 10.77.0.3:80 cubic wscale:7,7 rto:304 rtt:100.25/3.5 mss:1448 cwnd:7 bytes_sent:102896 bytes_retrans:2896 \
                    segs_out:80 segs_in:61 data_segs_out:77 send 811kbps retrans:0/2 rcv_space:14480 minrtt:100.017 snd_wnd:64256";
        let info = Info {
            srtt_us: 100_250,
            min_rtt_us: 100_017,
            retransmits: 2,
            segments_sent: 80,
            segments_received: 61,
            unacknowledged: 0,
        };
        assert_eq!(parse(line), Some(info));
        assert_eq!(parse("ESTAB 0 0 10.77.0.1:40000 10.77.0.3:80"), None);
    }
}
