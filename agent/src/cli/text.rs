//! Numbers and names as they fit into a column.

/// An amount of bytes with three digits that count.
pub(in crate::cli) fn size(bytes: f64) -> String {
    let mut amount = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        // What would be rounded to four digits has the next unit.
        if amount < 999.5 {
            return match unit {
                "B" => format!("{amount:.0} B"),
                _ if amount < 9.995 => format!("{amount:.2} {unit}"),
                _ if amount < 99.95 => format!("{amount:.1} {unit}"),
                _ => format!("{amount:.0} {unit}"),
            };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// How long ago something was, in two units.
pub(in crate::cli) fn age(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 60 {
        format!("{seconds}s")
    } else if hours == 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else if days == 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{days}d{:02}h", hours % 24)
    }
}

/// A name without characters that a terminal would obey: a service is called what its environment says.
pub(in crate::cli) fn printable(name: &str) -> String {
    name.chars()
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect()
}

/// Not more than so many characters; where it is cut, the last is an ellipsis.
pub(in crate::cli) fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain((width > 0).then_some('…'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "0.98 KiB"),
            (1536.0, "1.50 KiB"),
            (10_240.0, "10.0 KiB"),
            (104_448.0, "102 KiB"),
            (1_048_576.0, "1.00 MiB"),
            (5e9, "4.66 GiB"),
            (5e12, "4.5 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn ages_have_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3_661, "1h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(age(seconds * 1_000_000_000), text);
        }
    }

    #[test]
    fn names_can_neither_command_nor_overflow() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb?");
        assert_eq!(clip("nginx", 5), "nginx");
        assert_eq!(clip("nginx", 4), "ngi…");
        assert_eq!(clip("nginx", 0), "");
    }
}
