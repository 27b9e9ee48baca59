use std::fs;

use super::{
    advice, document,
    facts::{self, Fact},
    survey::{self, Capability, State, Survey, Trial},
    text,
};
use crate::probes::{ProgramReport, net::Tap, privileges::Privileges};

fn trial(tap: Tap, refused: Option<&str>) -> Trial {
    Trial {
        tap,
        chosen: false,
        refused: refused.map(str::to_owned),
        advice: refused.map(|reason| advice::on_tap(tap, reason, None)),
        programs: vec![ProgramReport {
            name: "sock_send".to_owned(),
            verified_instructions: Some(1234),
            instructions: Some(900),
        }],
        map_bytes: 1 << 20,
    }
}

fn off(name: &'static str) -> Capability {
    Capability {
        name,
        state: State::Off,
        detail: "no driver".to_owned(),
        advice: None,
    }
}

fn survey(taps: Vec<Trial>) -> Survey {
    Survey {
        kernel: "6.18.44".to_owned(),
        architecture: "x86_64".to_owned(),
        capabilities: [survey::net(&taps, None), off("profile"), off("gpu")],
        taps,
        sampler: None,
        facts: vec![Fact {
            name: "lockdown",
            value: "none".to_owned(),
            remark: None,
        }],
    }
}

#[test]
fn the_best_tap_that_loads_makes_net_work() {
    let mut taps = vec![
        trial(
            Tap::Fentry,
            Some("sendmsg_entry: Operation not permitted (os error 1)"),
        ),
        trial(Tap::RawTracepoint, None),
    ];
    taps[1].chosen = true;
    let survey = survey(taps);
    assert_eq!(survey.net().state, State::Works);
    assert_eq!(survey.net().detail, "tap raw-tracepoint");
    let page = text::page(&survey);
    assert!(page.contains("raw-tracepoint  chosen      instructions verified: sock_send 1234\n"));
    assert!(page.contains("fentry          refused     sendmsg_entry: Operation not permitted"));
    assert!(page.contains("what to do: nothing: this kernel has no BPF trampolines"));
    assert!(page.lines().all(|line| line.chars().count() <= 110));
    let document = document(&survey);
    assert_eq!(document["taps"][1]["chosen"], true);
    assert_eq!(document["taps"][0]["works"], false);
    assert_eq!(document["capabilities"][0]["state"], "works");
}

#[test]
fn without_a_tap_net_is_off_and_says_what_to_do() {
    let reason = "sys_exit: No such file or directory (os error 2)";
    let survey = survey(vec![trial(Tap::Syscall, Some(reason))]);
    assert_eq!(survey.net().state, State::Off);
    assert!(
        survey
            .net()
            .advice
            .as_deref()
            .is_some_and(|advice| advice.contains("mount tracefs"))
    );
}

#[test]
fn the_dearest_tap_is_called_degraded() {
    let mut taps = vec![trial(Tap::Syscall, None)];
    taps[0].chosen = true;
    assert_eq!(survey(taps).net().state, State::Degraded);
}

#[test]
fn a_gpu_without_devices_is_off() {
    let none = survey::gpu_capability(Ok::<_, std::fmt::Error>((0, "580.1".to_owned())));
    assert_eq!(none.state, State::Off);
    let two = survey::gpu_capability(Ok::<_, std::fmt::Error>((2, "580.1".to_owned())));
    assert_eq!(
        (two.state, two.detail.as_str()),
        (State::Works, "2 devices, driver 580.1")
    );
}

#[test]
fn settings_that_stand_in_the_way_carry_a_remark() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    };
    write(
        "sys/kernel/security/lockdown",
        "none integrity [confidentiality]\n",
    );
    write("proc/sys/kernel/kptr_restrict", "2\n");
    write("proc/sys/kernel/perf_event_paranoid", "3\n");
    let facts = facts::settings(root.path());
    assert_eq!(facts[0].value, "confidentiality");
    assert!(facts[0].remark.is_some() && facts[1].remark.is_some());
    assert_eq!((facts[2].value.as_str(), &facts[2].remark), ("3", &None));
}

#[test]
fn only_old_kernels_count_maps_against_memlock() {
    assert!(facts::counts_memlock("5.10.0-46-cloud-amd64"));
    assert!(!facts::counts_memlock("5.11.0"));
    assert!(!facts::counts_memlock("6.1.0-56-cloud-amd64"));
}

/// The loader's own word on this machine: as root, a tap must load; the page must hold every tap.
#[test]
fn this_machine_can_be_surveyed() {
    let privileges = Privileges::of_this_process().expect("/proc");
    // In a thread of its own, so that the mount namespace stays there.
    let survey = std::thread::spawn(Survey::make).join().expect("no panic");
    let page = text::page(&survey);
    for tap in Tap::ALL {
        assert!(page.contains(tap.name()), "{page}");
    }
    if privileges.missing().any(|privilege| privilege.essential)
        || !privileges.in_initial_user_namespace
    {
        assert_eq!(survey.net().state, State::Off, "{page}");
    }
    assert_eq!(
        survey.net().state == State::Off,
        survey.taps.iter().all(|trial| trial.refused.is_some())
    );
}
