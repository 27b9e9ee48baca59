//! `fathom gpu` against a stand-in for NVML that this test builds.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn stand_in(folder: &Path) -> PathBuf {
    let library = folder.join("libstandin.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml_stand_in.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .expect("cc is installed by `cargo xtask setup`");
    assert!(built.success());
    library
}

fn fathom_gpu(library: &Path, variable: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    command
        .args(["gpu", "--json"])
        .env("FATHOM_NVML_LIBRARY", library);
    if let Some(variable) = variable {
        command.env(variable, "1");
    }
    command.output().expect("fathom starts")
}

#[test]
fn devices_and_values_are_those_of_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let output = fathom_gpu(&stand_in(folder.path()), None);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["driver"], "555.42.06");
    let a100 = &json["devices"][0];
    assert_eq!(a100["model"], "Stand-in A100");
    assert_eq!(a100["pci_bus_id"], "00000000:3B:00.0");
    assert_eq!(a100["utilization_percent"], 87);
    assert_eq!(a100["memory_used_bytes"], 300 << 20);
    assert_eq!(a100["power_milliwatts"], 251_500);
    assert_eq!(a100["energy_millijoules"], 123_456_789_012_u64);
    assert_eq!(a100["sm_clock_megahertz"], 1410);
    assert_eq!(a100["memory_clock_megahertz"], 1215);
    assert_eq!(a100["failed_calls"], 0);
    let t4 = &json["devices"][1];
    assert_eq!(t4["uuid"], "GPU-bbbb");
    assert!(
        t4["power_milliwatts"].is_null(),
        "not supported is not zero"
    );
    assert!(t4["utilization_percent"].is_null());
    assert_eq!(t4["failed_calls"], 1, "a lost GPU is counted");
}

#[test]
fn no_library_is_one_line_and_exit_code_1() {
    let output = fathom_gpu(Path::new("/nonexistent/libnvidia-ml.so.1"), None);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("/nonexistent/libnvidia-ml.so.1 can't be loaded")
            && stderr.contains("install its driver"),
        "{stderr}"
    );
}

#[test]
fn a_driver_that_is_not_loaded_is_said_in_nvmls_words() {
    let folder = tempfile::tempdir().unwrap();
    let output = fathom_gpu(&stand_in(folder.path()), Some("STAND_IN_NO_DRIVER"));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("nvmlInit_v2 failed with 9 (Driver Not Loaded)"),
        "{stderr}"
    );
}

#[test]
fn a_driver_that_hangs_does_not_hang_fathom() {
    let folder = tempfile::tempdir().unwrap();
    let output = fathom_gpu(&stand_in(folder.path()), Some("STAND_IN_HANGS"));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("did not answer within 5 s"), "{stderr}");
}
