//! A certificate for this run, which every program takes as its own root.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::process;
use crate::path::find;

/// A certificate for 127.0.0.1 and its key, PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        let mut openssl = process::command("openssl")?;
        openssl
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            // rustls takes no authority's certificate for a server's own.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        process::run(openssl)?;
        Ok(Self { certificate, key })
    }

    /// The version of this machine's OpenSSL, for programs that use the shared library and don't tell.
    pub fn openssl() -> Result<String> {
        let mut openssl = process::command("openssl")?;
        openssl.arg("version");
        let said = process::run(openssl)?;
        let mut words = said.split(' ').take(2);
        Ok(format!(
            "{} {}",
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default()
        ))
    }

    /// Why none can be made here.
    pub fn missing() -> Option<&'static str> {
        find("openssl").is_none().then_some("no openssl")
    }
}
