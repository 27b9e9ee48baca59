//! Finding out what works here.

use super::{
    advice,
    facts::{self, Fact},
};
use crate::{
    gpu,
    probes::{
        Error, ProgramReport,
        btf::Btf,
        namespace,
        net::{Net, NetOptions, Tap},
        privileges::Privileges,
        profile::{Profile, ProfileOptions},
    },
};

/// What the maps of a trial may take; the sizes don't change whether a program loads.
const TRIAL_BUDGET: u64 = 2 << 20;

/// Whether a part of fathom works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it.
    Works,
    /// Its main part; the detail says what is missing.
    Degraded,
    /// Not at all.
    Off,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::Off => "off",
        }
    }
}

/// One of fathom's capabilities on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name, as `--capabilities` takes it.
    pub name: &'static str,
    /// Whether it works.
    pub state: State,
    /// How it works, or why it does not.
    pub detail: String,
    /// What to do so that all of it works.
    pub advice: Option<String>,
}

/// What came of loading one tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which.
    pub tap: Tap,
    /// Whether `--tap auto` takes it.
    pub chosen: bool,
    /// Why it does not work.
    pub refused: Option<String>,
    /// What to do about that.
    pub advice: Option<String>,
    /// What the verifier made of its programs.
    pub programs: Vec<ProgramReport>,
    /// Bytes that its maps took.
    pub map_bytes: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's architecture, as the kernel calls it.
    pub architecture: String,
    /// `net`, `profile` and `gpu`.
    pub capabilities: [Capability; 3],
    /// All taps, the best first.
    pub taps: Vec<Trial>,
    /// The program that samples CPUs, where it loads.
    pub sampler: Option<ProgramReport>,
    /// The rest.
    pub facts: Vec<Fact>,
}

impl Survey {
    /// Looks at this machine. To be called before any other thread exists, for the mount namespace's sake.
    pub fn make() -> Self {
        let system = rustix::system::uname();
        let privileges = Privileges::of_this_process().ok();
        let namespace = namespace::enter();
        let btf = Btf::kernel();
        let mut taps: Vec<_> = Tap::ALL
            .into_iter()
            .map(|tap| attempt(tap, privileges))
            .collect();
        if let Some(best) = taps.iter_mut().find(|trial| trial.refused.is_none()) {
            best.chosen = true;
        }
        let (profile, sampler) = profile(privileges);
        let capabilities = [
            net(&taps, privileges),
            profile,
            gpu_capability(gpu::probe()),
        ];
        let kernel = system.release().to_string_lossy().into_owned();
        let facts = facts::all(&kernel, &btf, &namespace, privileges);
        Self {
            kernel,
            architecture: system.machine().to_string_lossy().into_owned(),
            capabilities,
            taps,
            sampler,
            facts,
        }
    }

    /// The capability that is fathom's main job.
    pub fn net(&self) -> &Capability {
        &self.capabilities[0]
    }
}

/// Loads and attaches one tap, and lets it go.
fn attempt(tap: Tap, privileges: Option<Privileges>) -> Trial {
    let options = NetOptions {
        tap: Some(tap),
        map_budget: TRIAL_BUDGET,
        track_active: false,
        tls: true,
        parents: false,
        udp: true,
        head_limit: NetOptions::HEAD_LIMIT,
    };
    let mut trial = Trial {
        tap,
        chosen: false,
        refused: None,
        advice: None,
        programs: Vec::new(),
        map_bytes: 0,
    };
    match Net::load(&options) {
        Ok(mut net) => {
            if let Err(error) = net.load_tls() {
                trial.advice = Some(format!("what goes through TLS is not seen: {error}"));
            }
            trial.map_bytes = net.map_bytes();
            trial.programs = net.loaded();
        }
        Err(error) => {
            let reason = match error {
                Error::Tap(report) => report.reason().to_owned(),
                other => other.to_string(),
            };
            trial.advice = Some(advice::on_tap(tap, &reason, privileges));
            trial.refused = Some(reason);
        }
    }
    trial
}

pub(super) fn net(taps: &[Trial], privileges: Option<Privileges>) -> Capability {
    let capability = |state, detail, advice| Capability {
        name: "net",
        state,
        detail,
        advice,
    };
    let Some(trial) = taps.iter().find(|trial| trial.chosen) else {
        let advice = privileges
            .and_then(advice::on_privileges)
            .or_else(|| taps.last().and_then(|trial| trial.advice.clone()));
        return capability(
            State::Off,
            "no tap loads; each one's reason is below".to_owned(),
            advice,
        );
    };
    let tap = trial.tap;
    if privileges.is_some_and(|privileges| !privileges.in_initial_pid_namespace) {
        return capability(
            State::Degraded,
            format!("tap {tap}; processes can't be named: fathom is in a pid namespace"),
            Some("run it in the host's pid namespace (Kubernetes: hostPID: true; Docker: --pid=host)".to_owned()),
        );
    }
    if tap == Tap::Syscall {
        return capability(
            State::Degraded,
            "tap syscall: each system call of each process pays for it, and bytes sent by splice or io_uring are seen on flows only".to_owned(),
            Some("a kernel with fentry, with kprobes, or 6.3 and later lets a cheaper tap load".to_owned()),
        );
    }
    capability(State::Works, format!("tap {tap}"), None)
}

fn profile(privileges: Option<Privileges>) -> (Capability, Option<ProgramReport>) {
    let capability = |state, detail, advice| Capability {
        name: "profile",
        state,
        detail,
        advice,
    };
    let started = Profile::load(&ProfileOptions::default()).and_then(|mut profile| {
        profile.start()?;
        Ok(profile)
    });
    let loaded = match started {
        Ok(loaded) => loaded,
        Err(error) => {
            let advice = privileges.and_then(advice::on_privileges);
            return (capability(State::Off, error.to_string(), advice), None);
        }
    };
    let (cpus, program) = (loaded.cpus, loaded.program.clone());
    drop(loaded);
    let capability = |state, detail, advice| (capability(state, detail, advice), Some(program));
    let Some(privileges) = privileges else {
        return capability(State::Works, format!("{cpus} CPUs at 100 Hz"), None);
    };
    if !privileges.in_initial_pid_namespace {
        return capability(
            State::Degraded,
            format!("{cpus} CPUs at 100 Hz; processes and their files can't be found from within a pid namespace"),
            Some("run it in the host's pid namespace (Kubernetes: hostPID: true; Docker: --pid=host)".to_owned()),
        );
    }
    let missing: Vec<_> = privileges
        .missing()
        .filter(|privilege| {
            matches!(
                privilege.name,
                "CAP_SYS_PTRACE" | "CAP_DAC_READ_SEARCH" | "CAP_SYSLOG"
            )
        })
        .map(|privilege| privilege.name)
        .collect();
    if missing.is_empty() {
        return capability(State::Works, format!("{cpus} CPUs at 100 Hz"), None);
    }
    capability(
        State::Degraded,
        format!("{cpus} CPUs at 100 Hz; some functions stay addresses"),
        Some(format!("grant {}", missing.join(" and "))),
    )
}

pub(super) fn gpu_capability(
    probed: Result<(usize, String), impl std::fmt::Display>,
) -> Capability {
    let (state, detail, advice) = match probed {
        Ok((0, driver)) => (
            State::Off,
            format!("driver {driver} knows no device"),
            Some("`nvidia-smi -L` should list one; in a container, hand the devices in".to_owned()),
        ),
        Ok((devices, driver)) => (
            State::Works,
            format!("{devices} devices, driver {driver}"),
            None,
        ),
        Err(error) => (State::Off, error.to_string(), None),
    };
    Capability {
        name: "gpu",
        state,
        detail,
        advice,
    }
}
