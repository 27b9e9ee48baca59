//! The few functions of NVML that fathom calls, found at run time.
//!
//! Signatures, structs and numbers are those of `nvml.h` (NVML API reference, "Device Queries"). The library is never
//! linked: a node without a GPU has none.

use std::{
    env,
    ffi::{CStr, OsString, c_char, c_int, c_uint, c_ulonglong, c_void},
    fmt, io,
    time::Duration,
};

use libloading::Library;

/// The name under which the driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Names another library, for the tests' stand-in and for drivers in unusual places.
const LIBRARY_VARIABLE: &str = "FATHOM_NVML_LIBRARY";

const SUCCESS: c_int = 0;
const ERROR_NOT_SUPPORTED: c_int = 3;
const TEMPERATURE_GPU: c_uint = 0;
const CLOCK_SM: c_uint = 1;
const CLOCK_MEM: c_uint = 2;
/// `NVML_DEVICE_UUID_V2_BUFFER_SIZE`, `NVML_DEVICE_NAME_V2_BUFFER_SIZE`: 96; the driver's version has 80.
const TEXT: usize = 96;

type Handle = *mut c_void;
type Numbers2 = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint) -> c_int;
type Number = unsafe extern "C" fn(Handle, *mut c_uint) -> c_int;
type NumberOf = unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int;
type Text = unsafe extern "C" fn(Handle, *mut c_char, c_uint) -> c_int;

/// `nvmlUtilization_t`, in percent.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_v2_t`, in bytes.
#[repr(C)]
#[derive(Default)]
struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlMemory_v2`: the struct's size and its version.
#[expect(
    clippy::cast_possible_truncation,
    reason = "40 bytes, by the header's own formula"
)]
const MEMORY_VERSION: c_uint = size_of::<Memory>() as c_uint | (2 << 24);

/// `nvmlPciInfo_t`.
#[repr(C)]
#[derive(Default)]
struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

/// Why there is no NVML.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library is not there: the usual case on a node without a GPU.
    #[error("{} can't be loaded: {error}; on a node with an NVIDIA GPU, install its driver or mount its libraries into the container", path.display())]
    Library {
        /// What was tried.
        path: std::path::PathBuf,
        /// What the dynamic linker said.
        error: libloading::Error,
    },
    /// The library has no such function.
    #[error("{library} has no function {function}: it is no NVML, or one of before driver 450")]
    Function {
        /// The library.
        library: String,
        /// The function.
        function: &'static str,
    },
    /// NVML answered a call that must work with an error.
    #[error("{function} failed with {code} ({text}); `nvidia-smi` should say the same")]
    Call {
        /// The function.
        function: &'static str,
        /// `nvmlReturn_t`.
        code: i32,
        /// NVML's own words.
        text: String,
    },
    /// No answer in time.
    #[error("NVML did not answer within {} s: the driver hangs; see `dmesg` for Xid errors", .0.as_secs())]
    Hung(Duration),
    /// The thread that reads could not start.
    #[error("the thread that reads the GPUs could not start: {0}")]
    Thread(io::Error),
}

macro_rules! functions {
    ($($field:ident: $ty:ty = $symbol:literal,)+) => {
        /// The functions that every supported driver has.
        struct Functions { $($field: $ty,)+ }

        impl Functions {
            fn find(library: &Library, path: &str) -> Result<Self, Error> {
                Ok(Self { $($field: {
                    // SAFETY: the type is that of the function of this name in nvml.h, and `Nvml` keeps the
                    // library loaded for as long as the pointer lives.
                    let symbol = unsafe { library.get::<$ty>($symbol) };
                    *symbol.map_err(|_| Error::Function { library: path.to_owned(), function: $symbol })?
                },)+ })
            }
        }
    };
}

functions! {
    init: unsafe extern "C" fn() -> c_int = "nvmlInit_v2",
    shutdown: unsafe extern "C" fn() -> c_int = "nvmlShutdown",
    error_string: unsafe extern "C" fn(c_int) -> *const c_char = "nvmlErrorString",
    driver_version: unsafe extern "C" fn(*mut c_char, c_uint) -> c_int = "nvmlSystemGetDriverVersion",
    count: unsafe extern "C" fn(*mut c_uint) -> c_int = "nvmlDeviceGetCount_v2",
    handle: unsafe extern "C" fn(c_uint, *mut Handle) -> c_int = "nvmlDeviceGetHandleByIndex_v2",
    name: Text = "nvmlDeviceGetName",
    uuid: Text = "nvmlDeviceGetUUID",
    minor: Number = "nvmlDeviceGetMinorNumber",
    pci: unsafe extern "C" fn(Handle, *mut PciInfo) -> c_int = "nvmlDeviceGetPciInfo_v3",
    utilization: unsafe extern "C" fn(Handle, *mut Utilization) -> c_int = "nvmlDeviceGetUtilizationRates",
    encoder: Numbers2 = "nvmlDeviceGetEncoderUtilization",
    decoder: Numbers2 = "nvmlDeviceGetDecoderUtilization",
    memory: unsafe extern "C" fn(Handle, *mut Memory) -> c_int = "nvmlDeviceGetMemoryInfo_v2",
    power: Number = "nvmlDeviceGetPowerUsage",
    energy: unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int = "nvmlDeviceGetTotalEnergyConsumption",
    temperature: NumberOf = "nvmlDeviceGetTemperature",
    clock: NumberOf = "nvmlDeviceGetClockInfo",
    pcie_replays: Number = "nvmlDeviceGetPcieReplayCounter",
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// NVML's index.
    pub index: u32,
    /// `GPU-…`; empty where the device does not say.
    pub uuid: String,
    /// The model.
    pub name: String,
    /// `00000000:3B:00.0`.
    pub pci_bus_id: String,
    /// The N of `/dev/nvidiaN`.
    pub minor: u32,
}

/// What one device says now. A value that it does not support is `None`, never zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Percent of the last period in which a kernel ran.
    pub utilization: Option<u32>,
    /// Percent of the last period in which memory was read or written.
    pub memory_utilization: Option<u32>,
    /// Percent.
    pub encoder_utilization: Option<u32>,
    /// Percent.
    pub decoder_utilization: Option<u32>,
    /// Bytes.
    pub memory: Option<MemoryReading>,
    /// Milliwatts.
    pub power: Option<u32>,
    /// Millijoules since the driver was loaded.
    pub energy: Option<u64>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Megahertz.
    pub sm_clock: Option<u32>,
    /// Megahertz.
    pub memory_clock: Option<u32>,
    /// Retries on the PCIe bus.
    pub pcie_replays: Option<u32>,
    /// Calls of this reading that failed, not counting "not supported".
    pub failed_calls: u64,
}

/// A device's memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReading {
    /// All of it.
    pub total: u64,
    /// What the driver keeps to itself.
    pub reserved: u64,
    /// What can be had.
    pub free: u64,
    /// What is in use.
    pub used: u64,
}

/// The devices that NVML lists.
#[derive(Debug, Default)]
pub struct Devices {
    /// The devices.
    pub list: Vec<Device>,
    /// The driver's version.
    pub driver: String,
    /// Calls that failed, not counting "not supported".
    pub failed_calls: u64,
}

/// NVML, opened and initialized.
pub struct Nvml {
    functions: Functions,
    /// Last: the functions above are inside of it.
    _library: Library,
}

impl fmt::Debug for Nvml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nvml")
    }
}

/// Collects one reading: "not supported" is no failure, anything else is counted.
struct Calls<'a> {
    failed: &'a mut u64,
}

impl Calls<'_> {
    fn get<T: Default>(&mut self, call: impl FnOnce(&mut T) -> c_int) -> Option<T> {
        let mut value = T::default();
        match call(&mut value) {
            SUCCESS => Some(value),
            ERROR_NOT_SUPPORTED => None,
            _ => {
                *self.failed += 1;
                None
            }
        }
    }

    fn text(&mut self, call: impl FnOnce(*mut c_char, c_uint) -> c_int) -> String {
        let buffer = self.get(|buffer: &mut Chars| {
            #[expect(clippy::cast_possible_truncation, reason = "96")]
            call(buffer.0.as_mut_ptr(), TEXT as c_uint)
        });
        buffer
            .map(|chars| chars_to_string(&chars.0))
            .unwrap_or_default()
    }
}

struct Chars([c_char; TEXT]);

impl Default for Chars {
    fn default() -> Self {
        Self([0; TEXT])
    }
}

impl Nvml {
    /// Loads the library and initializes it.
    ///
    /// # Errors
    /// When it is not there, lacks a function, or its driver does not answer.
    pub fn open() -> Result<Self, Error> {
        let path = env::var_os(LIBRARY_VARIABLE).unwrap_or_else(|| OsString::from(LIBRARY));
        // SAFETY: loading runs the library's initializers. It is the driver's own library, or one that whoever
        // starts fathom, and so may run any code as it, has named.
        let library = unsafe { Library::new(&path) }.map_err(|error| Error::Library {
            path: path.clone().into(),
            error,
        })?;
        let functions = Functions::find(&library, &path.to_string_lossy())?;
        let nvml = Self {
            functions,
            _library: library,
        };
        // SAFETY: no arguments; may be called at any time.
        let code = unsafe { (nvml.functions.init)() };
        nvml.check("nvmlInit_v2", code)?;
        Ok(nvml)
    }

    fn check(&self, function: &'static str, code: c_int) -> Result<(), Error> {
        if code == SUCCESS {
            return Ok(());
        }
        // SAFETY: takes any number; returns a static string, or null.
        let text = unsafe { (self.functions.error_string)(code) };
        let text = if text.is_null() {
            String::new()
        } else {
            // SAFETY: not null, and NVML's strings are static and end with a zero.
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned()
        };
        Err(Error::Call {
            function,
            code,
            text,
        })
    }

    /// The devices that are there now.
    pub fn devices(&self) -> Devices {
        let mut devices = Devices::default();
        let f = &self.functions;
        let mut calls = Calls {
            failed: &mut devices.failed_calls,
        };
        // SAFETY: (this and the calls below) the pointers are to live values of the types that nvml.h names, the
        // lengths are theirs, and a handle comes from NVML.
        devices.driver = calls.text(|to, len| unsafe { (f.driver_version)(to, len) });
        // SAFETY: as above.
        let count = calls.get(|to: &mut c_uint| unsafe { (f.count)(to) });
        for index in 0..count.unwrap_or(0) {
            let Some(handle) = self.handle(index, &mut calls) else {
                continue;
            };
            devices.list.push(Device {
                index,
                // SAFETY: as above.
                uuid: calls.text(|to, len| unsafe { (f.uuid)(handle, to, len) }),
                // SAFETY: as above.
                name: calls.text(|to, len| unsafe { (f.name)(handle, to, len) }),
                pci_bus_id: calls
                    // SAFETY: as above.
                    .get(|to: &mut PciInfo| unsafe { (f.pci)(handle, to) })
                    .map(|pci| chars_to_string(&pci.bus_id))
                    .unwrap_or_default(),
                minor: calls
                    // SAFETY: as above.
                    .get(|to: &mut c_uint| unsafe { (f.minor)(handle, to) })
                    .unwrap_or(index),
            });
        }
        devices
    }

    fn handle(&self, index: u32, calls: &mut Calls<'_>) -> Option<Handle> {
        struct Out(Handle);
        impl Default for Out {
            fn default() -> Self {
                Self(std::ptr::null_mut())
            }
        }
        calls
            // SAFETY: `to` is a live handle to be filled.
            .get(|to: &mut Out| unsafe { (self.functions.handle)(index, &raw mut to.0) })
            .map(|out| out.0)
    }

    /// What a device says now.
    pub fn read(&self, device: &Device) -> Reading {
        let mut failed = 0;
        let mut calls = Calls {
            failed: &mut failed,
        };
        let f = &self.functions;
        // A handle is asked for each time: after a device fell off the bus, the old one may not be used.
        let Some(gpu) = self.handle(device.index, &mut calls) else {
            return Reading {
                failed_calls: failed.max(1),
                ..Reading::default()
            };
        };
        // SAFETY: (this and all calls below) `gpu` is NVML's handle of just now, and `to` is a live value of the
        // type that nvml.h names for that function.
        let rates = calls.get(|to: &mut Utilization| unsafe { (f.utilization)(gpu, to) });
        let mut period = 0;
        // SAFETY: as above.
        let encoder = calls.get(|to| unsafe { (f.encoder)(gpu, to, &raw mut period) });
        // SAFETY: as above.
        let decoder = calls.get(|to| unsafe { (f.decoder)(gpu, to, &raw mut period) });
        let memory = calls.get(|to: &mut Memory| {
            to.version = MEMORY_VERSION;
            // SAFETY: as above; the version tells the struct's size.
            unsafe { (f.memory)(gpu, to) }
        });
        // SAFETY: as above.
        let power = calls.get(|to| unsafe { (f.power)(gpu, to) });
        // SAFETY: as above.
        let energy = calls.get(|to| unsafe { (f.energy)(gpu, to) });
        // SAFETY: as above.
        let temperature = calls.get(|to| unsafe { (f.temperature)(gpu, TEMPERATURE_GPU, to) });
        // SAFETY: as above.
        let sm_clock = calls.get(|to| unsafe { (f.clock)(gpu, CLOCK_SM, to) });
        // SAFETY: as above.
        let memory_clock = calls.get(|to| unsafe { (f.clock)(gpu, CLOCK_MEM, to) });
        // SAFETY: as above.
        let pcie_replays = calls.get(|to| unsafe { (f.pcie_replays)(gpu, to) });
        Reading {
            utilization: rates.as_ref().map(|rates| rates.gpu),
            memory_utilization: rates.as_ref().map(|rates| rates.memory),
            encoder_utilization: encoder,
            decoder_utilization: decoder,
            memory: memory.map(|memory| MemoryReading {
                total: memory.total,
                reserved: memory.reserved,
                free: memory.free,
                used: memory.used,
            }),
            power,
            energy,
            temperature,
            sm_clock,
            memory_clock,
            pcie_replays,
            failed_calls: failed,
        }
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: initialized in `open` (or refused there, which shutdown answers with an error that has no effect).
        unsafe { (self.functions.shutdown)() };
    }
}

/// A C string in a fixed buffer, up to its zero or the buffer's end.
fn chars_to_string(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c.to_ne_bytes()[0])
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
