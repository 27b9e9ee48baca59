//! `fathom gpu`: the node's GPUs, once.

use serde_json::json;

use crate::{
    cli::Outcome,
    gpu::{Device, Gpus, Reading},
};

/// Flags of `fathom gpu`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Lists the devices.
///
/// # Errors
/// When there is no NVML, or it does not answer.
pub fn run(args: &Args) -> Outcome {
    let gpus = Gpus::start()?;
    let devices = gpus.devices();
    if args.json {
        println!("{:#}", document(&gpus.driver(), &devices));
        return Ok(());
    }
    println!("driver {}", gpus.driver());
    println!(
        "{:>3}  {:<28} {:>5} {:>19} {:>8} {:>6} {:>9} {:>9}",
        "GPU", "MODEL", "UTIL", "MEMORY", "POWER", "TEMP", "SM CLOCK", "MEM CLOCK"
    );
    for (device, reading) in &devices {
        println!("{}", line(device, reading));
    }
    Ok(())
}

fn line(device: &Device, reading: &Reading) -> String {
    let memory = reading.memory.map(|memory| {
        const MIB: u64 = 1024 * 1024;
        format!("{} / {} MiB", memory.used / MIB, memory.total / MIB)
    });
    format!(
        "{:>3}  {:<28} {:>5} {:>19} {:>8} {:>6} {:>9} {:>9}",
        device.index,
        device.name,
        shown(reading.utilization.map(|value| format!("{value} %"))),
        shown(memory),
        shown(
            reading
                .power
                .map(|milliwatts| format!("{} W", milliwatts / 1000))
        ),
        shown(reading.temperature.map(|value| format!("{value} °C"))),
        shown(reading.sm_clock.map(|value| format!("{value} MHz"))),
        shown(reading.memory_clock.map(|value| format!("{value} MHz"))),
    )
}

/// What a device does not support is a dash, never a zero.
fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn document(driver: &str, devices: &[(Device, Reading)]) -> serde_json::Value {
    let devices: Vec<_> = devices
        .iter()
        .map(|(device, reading)| {
            json!({
                "index": device.index,
                "uuid": device.uuid,
                "model": device.name,
                "pci_bus_id": device.pci_bus_id,
                "device": format!("nvidia{}", device.minor),
                "utilization_percent": reading.utilization,
                "memory_utilization_percent": reading.memory_utilization,
                "encoder_utilization_percent": reading.encoder_utilization,
                "decoder_utilization_percent": reading.decoder_utilization,
                "memory_total_bytes": reading.memory.map(|memory| memory.total),
                "memory_used_bytes": reading.memory.map(|memory| memory.used),
                "memory_free_bytes": reading.memory.map(|memory| memory.free),
                "memory_reserved_bytes": reading.memory.map(|memory| memory.reserved),
                "power_milliwatts": reading.power,
                "energy_millijoules": reading.energy,
                "temperature_celsius": reading.temperature,
                "sm_clock_megahertz": reading.sm_clock,
                "memory_clock_megahertz": reading.memory_clock,
                "pcie_replays": reading.pcie_replays,
                "failed_calls": reading.failed_calls,
            })
        })
        .collect();
    json!({ "driver": driver, "devices": devices })
}
