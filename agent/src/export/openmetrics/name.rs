//! Prometheus names from OpenTelemetry's.

use std::borrow::Cow;

/// What Prometheus calls a unit in UCUM; `None` when it has no place in the name (`{connection}`, `1` of a counter).
pub(super) fn unit(ucum: &str, is_gauge: bool) -> Option<Cow<'static, str>> {
    if let Some((amount, per)) = ucum.split_once('/') {
        let (amount, per) = (word(amount), word(per).map(singular));
        return match (amount, per) {
            (Some(amount), Some(per)) => Some(format!("{amount}_per_{per}").into()),
            (None, Some(per)) => Some(format!("per_{per}").into()),
            _ => None,
        };
    }
    match ucum {
        "1" if is_gauge => Some("ratio".into()),
        "1" => None,
        _ => word(ucum),
    }
}

/// A unit without `/`.
fn word(ucum: &str) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match ucum {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" | "kBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "" | "1" => return None,
        // An annotation says what is counted, which the name does already.
        _ if ucum.starts_with('{') => return None,
        _ => return Some(Cow::Owned(identifier(ucum))),
    }))
}

fn singular(word: Cow<'static, str>) -> Cow<'static, str> {
    match word.strip_suffix('s') {
        Some(stem) if word != "celsius" => stem.to_owned().into(),
        _ => word,
    }
}

/// A metric's family name, without what its type appends, and its unit when the name ends with it.
pub(super) fn family(
    name: &str,
    ucum: &str,
    is_counter: bool,
    is_gauge: bool,
) -> (String, Option<Cow<'static, str>>) {
    let mut family = identifier(name);
    if is_counter && let Some(stem) = family.strip_suffix("_total") {
        family.truncate(stem.len());
    }
    let unit = unit(ucum, is_gauge);
    if let Some(unit) = &unit
        && !ends_with_word(&family, unit)
    {
        family.push('_');
        family.push_str(unit);
    }
    (family, unit)
}

fn ends_with_word(name: &str, word: &str) -> bool {
    name.strip_suffix(word)
        .is_some_and(|stem| stem.is_empty() || stem.ends_with('_'))
}

/// A metric's or label's name with letters, digits, `_` only, not beginning with a digit, and no two `_` in a row.
pub(super) fn identifier(name: &str) -> String {
    let mut identifier = String::with_capacity(name.len());
    for character in name.chars() {
        let fits = character.is_ascii_alphanumeric();
        if fits {
            if identifier.is_empty() && character.is_ascii_digit() {
                identifier.push('_');
            }
            identifier.push(character);
        } else if !identifier.ends_with('_') {
            identifier.push('_');
        }
    }
    identifier
}
