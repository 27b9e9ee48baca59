//! The service's name from a process's environment (OpenTelemetry specification, "Environment Variable Specification" and
//! "Resource SDK"). No other variable is looked at, and nothing else of it is kept.

/// The longest name that is taken.
const MAX_NAME: usize = 255;

/// The name that `environ` (`NAME=value`, each ended by a zero byte) gives the service.
pub(super) fn service_name(environ: &[u8]) -> Option<String> {
    let variable = |name: &[u8]| {
        let mut variables = environ.split(|&byte| byte == 0);
        let value =
            variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))?;
        (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
    };
    let name = variable(b"OTEL_SERVICE_NAME").or_else(|| {
        let attributes = variable(b"OTEL_RESOURCE_ATTRIBUTES")?;
        let mut pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim() == "service.name")?;
        Some(percent_decoded(value.trim()))
    })?;
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Undoes percent-encoding; what is no valid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                digits
                    .bytes()
                    .all(|digit| digit.is_ascii_hexdigit())
                    .then(|| u8::from_str_radix(digits, 16).ok())?
            });
        decoded.push(escape.unwrap_or(byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
