//! What the relay reads of an IP packet, and the one packet that it makes itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;
const ICMP: u8 = 1;

/// The fixed headers of IPv4 and IPv6.
const V4: usize = 20;
const V6: usize = 40;

/// Where a packet goes, and whether a TCP segment with data is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its sender.
    pub from: IpAddr,
    /// Its receiver.
    pub to: IpAddr,
    /// Bytes of TCP payload; none of anything else.
    pub data: usize,
}

/// Reads a packet; none of what is no whole packet of IPv4 or IPv6. Headers of extensions are not looked behind: TCP between two hosts of Linux has none.
pub fn read(packet: &[u8]) -> Option<Packet> {
    match packet.first()? >> 4 {
        4 => {
            let head = usize::from(packet[0] & 15) * 4;
            let length = usize::from(number(packet, 2)?);
            let address =
                |at: usize| -> Option<[u8; 4]> { packet.get(at..at + 4)?.try_into().ok() };
            Some(Packet {
                from: Ipv4Addr::from(address(12)?).into(),
                to: Ipv4Addr::from(address(16)?).into(),
                data: match *packet.get(9)? {
                    TCP => data(packet.get(head..length)?)?,
                    _ => 0,
                },
            })
        }
        6 => {
            let length = usize::from(number(packet, 4)?);
            let address =
                |at: usize| -> Option<[u8; 16]> { packet.get(at..at + 16)?.try_into().ok() };
            Some(Packet {
                from: Ipv6Addr::from(address(8)?).into(),
                to: Ipv6Addr::from(address(24)?).into(),
                data: match *packet.get(6)? {
                    TCP => data(packet.get(V6..V6 + length)?)?,
                    _ => 0,
                },
            })
        }
        _ => None,
    }
}

/// Bytes behind the header of a TCP segment.
fn data(segment: &[u8]) -> Option<usize> {
    segment
        .len()
        .checked_sub(usize::from(segment.get(12)? >> 4) * 4)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The answer that the host of `packet` can't be reached (RFC 792: type 3, code 1), from the one that it was sent to; none for what is not IPv4.
pub fn host_unreachable(packet: &[u8]) -> Option<Vec<u8>> {
    let head = usize::from(packet.first()? & 15) * 4;
    if packet[0] >> 4 != 4 {
        return None;
    }
    // The header and eight bytes of what it refers to.
    let cause = packet.get(..head + 8)?;
    let mut icmp = vec![3, 1, 0, 0, 0, 0, 0, 0];
    icmp.extend_from_slice(cause);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut answer = vec![0x45, 0];
    answer.extend_from_slice(&u16::try_from(V4 + icmp.len()).ok()?.to_be_bytes());
    answer.extend_from_slice(&[0, 0, 0, 0, 64, ICMP, 0, 0]);
    answer.extend_from_slice(&packet[16..20]);
    answer.extend_from_slice(&packet[12..16]);
    let sum = checksum(&answer);
    answer[10..12].copy_from_slice(&sum.to_be_bytes());
    answer.extend_from_slice(&icmp);
    Some(answer)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to sixteen bits above.
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::{checksum, host_unreachable, read};

    /// A segment of `data` bytes from 10.0.0.1 to 10.0.0.2.
    fn segment(data: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend_from_slice(&u16::try_from(40 + data).expect("small").to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend_from_slice(&[0; 12]);
        packet.extend_from_slice(&[5 << 4, 0, 0, 0, 0, 0, 0, 0]);
        packet.resize(40 + data, 0);
        packet
    }

    #[test]
    fn data_is_what_lies_behind_both_headers() {
        for data in [0, 1, 1400] {
            let packet = read(&segment(data)).expect("a packet");
            assert_eq!(packet.data, data);
            assert_eq!(packet.to.to_string(), "10.0.0.2");
        }
        let whole = segment(9);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn the_answer_goes_back_and_its_sums_are_right() {
        let answer = host_unreachable(&segment(0)).expect("of IPv4");
        let packet = read(&answer).expect("a packet");
        assert_eq!(packet.from.to_string(), "10.0.0.2");
        assert_eq!(packet.to.to_string(), "10.0.0.1");
        assert_eq!((answer[20], answer[21]), (3, 1));
        // A sum over bytes that hold their sum is nothing.
        assert_eq!((checksum(&answer[..20]), checksum(&answer[20..])), (0, 0));
    }
}
