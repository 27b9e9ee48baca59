use super::*;

#[test]
fn only_rustls_itself_gives_its_version() {
    assert_eq!(
        rustls_version(b"0.23.12/src/conn.rs").as_deref(),
        Some("0.23.12")
    );
    assert_eq!(rustls_version(b"webpki-0.102.8/src/lib.rs"), None);
    assert_eq!(rustls_version(b"0.23.12"), None);
    assert_eq!(rustls_version(b"0.23\n/"), None);
    assert_eq!(rustls_version(b""), None);
}
