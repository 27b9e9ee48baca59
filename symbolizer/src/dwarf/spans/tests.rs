use super::Painter;

/// What a painter with a brush of one address would have done.
fn by_hand(ranges: &[(u64, u64)], address: u64) -> Option<u32> {
    let last = ranges
        .iter()
        .rposition(|&(low, high)| (low..high).contains(&address));
    last.map(|index| index as u32)
}

#[test]
fn what_is_painted_last_is_seen() {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut painter = Painter::default();
    for round in 0..2000 {
        let ranges: Vec<_> = (0..random(12))
            .map(|_| {
                let low = random(40);
                (low, low + random(20))
            })
            .collect();
        painter.clear();
        for (index, &(low, high)) in ranges.iter().enumerate() {
            painter.paint(low, high, index as u32);
        }
        let spans = painter.flatten(|address| u32::try_from(address).ok());
        for address in 0..70 {
            assert_eq!(
                spans.find(address as u32),
                by_hand(&ranges, address),
                "{address} in {ranges:?}, round {round}"
            );
        }
    }
}

#[test]
fn gaps_have_ends() {
    let mut painter = Painter::default();
    painter.paint(10, 20, 0);
    painter.paint(30, 40, 1);
    assert_eq!(painter.lowest(), Some(10));
    let spans = painter.flatten(Some);
    assert_eq!(spans.gap(5), Some((None, Some(10))));
    assert_eq!(spans.gap(15), None);
    assert_eq!(spans.gap(25), Some((Some(20), Some(30))));
    assert_eq!(spans.gap(40), Some((Some(40), None)));
}

#[test]
fn ranges_over_ranges_cost_no_more_than_they_are() {
    // Each begins behind those that lie over it.
    let mut painter = Painter::default();
    for number in (0..200_000_u64).rev() {
        painter.paint(number, u64::MAX - 1, number as u32);
    }
    let spans = painter.flatten(Some);
    assert_eq!(spans.find(5), Some(0));
}
