//! The node's GPUs, through NVML where its library is there.
//!
//! The library belongs to the driver and a call into it can hang with a sick device, so that one thread of its own
//! makes all of them; everybody else reads the last [`Reading`]s, which age out.

mod metrics;
pub mod nvml;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use nvml::Nvml;
pub use nvml::{Device, Error, Reading};

use crate::telemetry::metric::{Metric, Source};

/// How often the devices are read.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// A reading older than this is not shown: a hung driver shows as a gap and not as a flat line.
const SHELF_LIFE: Duration = Duration::from_secs(15);

/// How long the first reading may take before the capability is given up as hung.
const FIRST_READING: Duration = Duration::from_secs(5);

/// What the thread last saw.
#[derive(Debug, Default)]
struct Latest {
    read_at: Option<Instant>,
    driver: String,
    devices: Vec<(Device, Reading)>,
    /// Calls that failed otherwise than with "not supported", since the start.
    failed_calls: u64,
}

/// Reads the GPUs for as long as it lives.
#[derive(Debug)]
pub struct Gpus {
    latest: Arc<Mutex<Latest>>,
    hostname: String,
    /// Dropped with this: the thread sees it and ends.
    _stop: mpsc::Sender<()>,
}

impl Gpus {
    /// Opens NVML and waits for the first reading, at most five seconds.
    ///
    /// # Errors
    /// When the library is missing or too old, the driver does not answer, or it hangs.
    pub fn start() -> Result<Self, Error> {
        let latest = Arc::new(Mutex::new(Latest::default()));
        let (stop, stopped) = mpsc::channel();
        let (ready, first) = mpsc::sync_channel(1);
        let shared = Arc::clone(&latest);
        thread::Builder::new()
            .name("fathom-gpu".to_owned())
            .spawn(move || read_until_stopped(&shared, &ready, &stopped))
            .map_err(Error::Thread)?;
        match first.recv_timeout(FIRST_READING) {
            Ok(opened) => opened?,
            Err(_) => return Err(Error::Hung(FIRST_READING)),
        }
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            latest,
            hostname,
            _stop: stop,
        })
    }

    /// The devices with their newest readings; none when the newest is too old.
    pub fn devices(&self) -> Vec<(Device, Reading)> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.read_at {
            Some(at) if at.elapsed() < SHELF_LIFE => latest.devices.clone(),
            _ => Vec::new(),
        }
    }

    /// The driver's version, as NVML says it.
    pub fn driver(&self) -> String {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.driver.clone()
    }
}

impl Source for Gpus {
    fn collect(&self, into: &mut Vec<Metric>) {
        let failed = {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.failed_calls
        };
        metrics::collect(
            &self.devices(),
            &self.driver(),
            &self.hostname,
            failed,
            into,
        );
    }
}

/// What `fathom doctor` says: the number of devices and the driver's version.
///
/// # Errors
/// As [`Gpus::start`].
pub fn probe() -> Result<(usize, String), Error> {
    let gpus = Gpus::start()?;
    Ok((gpus.devices().len(), gpus.driver()))
}

fn read_until_stopped(
    latest: &Mutex<Latest>,
    ready: &mpsc::SyncSender<Result<(), Error>>,
    stopped: &mpsc::Receiver<()>,
) {
    let nvml = match Nvml::open() {
        Ok(nvml) => nvml,
        Err(error) => {
            // A receiver that is gone has given up waiting: nobody is left to tell.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let devices = nvml.devices();
    loop {
        let mut failed = devices.failed_calls;
        let readings: Vec<_> = devices
            .list
            .iter()
            .map(|device| {
                let reading = nvml.read(device);
                failed += reading.failed_calls;
                (device.clone(), reading)
            })
            .collect();
        {
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.read_at = Some(Instant::now());
            latest.driver.clone_from(&devices.driver);
            latest.devices = readings;
            latest.failed_calls += failed;
        }
        let _ = ready.try_send(Ok(()));
        match stopped.recv_timeout(INTERVAL) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
