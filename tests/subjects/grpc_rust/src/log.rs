//! What was done, as JSON lines.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::SERVICE;

/// A log that many tasks write whole lines to.
#[derive(Clone)]
pub struct Log(Arc<Mutex<File>>);

impl Log {
    /// An empty one.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// A call that starts now.
    pub fn call(&self, side: &'static str, rpc: &str) -> Call {
        Call {
            log: self.clone(),
            side,
            rpc: rpc.to_owned(),
            code: "OK",
            start: monotonic(),
        }
    }
}

/// A call; it is logged when it is dropped, which is its end.
pub struct Call {
    log: Log,
    side: &'static str,
    rpc: String,
    code: &'static str,
    start: f64,
}

impl Call {
    /// Notes the status that it ends with.
    pub fn set_code(&mut self, code: tonic::Code) {
        self.code = match code {
            tonic::Code::Ok => "OK",
            tonic::Code::NotFound => "NOT_FOUND",
            // Nothing here answers otherwise: whoever reads the log takes it for a fault.
            _ => "UNEXPECTED",
        };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let line = json!({
            "side": self.side,
            "service": SERVICE,
            "rpc": self.rpc,
            "code": self.code,
            "start": self.start,
            "seconds": monotonic() - self.start,
        });
        let mut file = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that is missing shows in the comparison.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// `CLOCK_MONOTONIC`, seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since boot: nanoseconds of them fit a double for 100 days"
)]
fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
