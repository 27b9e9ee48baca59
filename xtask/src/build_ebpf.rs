//! `cargo xtask build-ebpf`: the kernel objects, into `target/bpf`.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    shell,
    toolchain::{self, TARGET, Toolchain},
};

/// The objects, one a capability.
pub const OBJECTS: [&str; 2] = ["net", "profile"];

/// Builds each object and puts it where the agent's build script finds it.
pub fn run() -> Result<()> {
    shell::run(&mut Toolchain::find()?.build()?)?;
    let built = toolchain::build_dir().join(TARGET).join("release");
    let objects = shell::objects();
    fs::create_dir_all(&objects).with_context(|| format!("cannot create {}", objects.display()))?;
    for object in OBJECTS {
        let from = built.join(object);
        let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let to = objects.join(object);
        // An object that did not change keeps its time stamp, so that the agent is not built anew.
        if fs::read(&to).ok().as_deref() != Some(bytes.as_slice()) {
            fs::write(&to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}
