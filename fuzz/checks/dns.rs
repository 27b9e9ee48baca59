//! DNS messages, and lookups under a script of datagrams: `data` is a list of an operation, a length (two bytes, little endian) and so many bytes
//! of payload. The lowest bits of an operation say which way the datagram goes, the next ones its socket; the highest lets time go by.

use std::num::NonZeroUsize;

use fathom::l7::dns::{Lookups, Message, record};
use fathom_abi::{message::Direction, udp::DnsEvent};

pub fn dns(data: &[u8]) {
    message(data);
    let mut lookups = Lookups::new(const { NonZeroUsize::new(3).unwrap() });
    let (mut records, mut ended, mut now_ns) = (0, 0, 0);
    let mut rest = data;
    while let Some((&[operation, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (payload, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        message(payload);
        now_ns += 400_000_000 * u64::from(1 + (operation >> 7) * 9);
        let event = DnsEvent {
            sock: u64::from(operation >> 2 & 7),
            at_ns: now_ns,
            captured: payload.len() as u16,
            direction: Direction(operation & 3),
            ..DnsEvent::default()
        };
        records += 1;
        let mut emit = |_| ended += 1;
        lookups.record(&record::encode(&event, payload), &mut emit);
        lookups.expire(now_ns, &mut emit);
    }
    let counts = lookups.counts();
    assert_eq!(
        records,
        counts.queries()
            + counts.repeated()
            + counts.answers()
            + counts.unasked()
            + counts.served()
            + counts.malformed()
    );
    assert_eq!(
        counts.queries(),
        counts.answered() + counts.timed_out() + counts.forgotten() + lookups.open() as u64
    );
    assert_eq!(counts.answered() + counts.timed_out(), ended);
    assert!(lookups.open() <= 12);
}

fn message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    assert!(message.is_answer || (message.question.is_some() && message.addresses.is_empty()));
    assert!(message.addresses.len() <= data.len() / 16);
    if let Some(question) = &message.question {
        assert!(!question.name.is_empty() && question.name.len() <= 4 * 255);
        assert!(
            question
                .name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        );
    }
}
