//! What the scenario `seen` watches in a guest: the programs of this machine, with all that they load, where they lie here.
//!
//! A program that this machine lacks is left out, and the scenario says so.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::image::Image;
use crate::shell;

/// Where Python looks for modules.
const PATHS: &str = "import sys\nfor path in sys.path: print(path)";

/// A module that is only in Debian's own Python.
const PYCURL: &str = "import pycurl\nprint(pycurl.__file__)";

/// Puts them in.
pub fn add(image: &mut Image) -> Result<()> {
    for name in ["h2load", "curl", "wget", "openssl"] {
        if let Some(file) = shell::find(name) {
            image.program(&file)?;
        }
    }
    openssl(image)?;
    if let Some(node) = shell::find("node") {
        image.same(&node)?;
    }
    python(image)?;
    // The scenarios look for their programs below the folder that they were built in.
    let tests = shell::root().join("tests");
    for folder in ["subjects", "python"] {
        image.same(&tests.join(folder))?;
    }
    image.same_directory(&tests.join("vm"));
    Ok(())
}

/// OpenSSL makes no certificate without its configuration.
fn openssl(image: &mut Image) -> Result<()> {
    let Some(openssl) = shell::find("openssl") else {
        return Ok(());
    };
    let said = shell::output(Command::new(openssl).args(["version", "-d"]))?;
    if let Some(dir) = said.split('"').nth(1) {
        let file = Path::new(dir).join("openssl.cnf");
        if file.exists() {
            image.same(&file)?;
        }
    }
    Ok(())
}

/// The interpreter with the tests' modules, and the system's with pycurl.
fn python(image: &mut Image) -> Result<()> {
    let own = env::var_os("FATHOM_TEST_PYTHON").map(PathBuf::from);
    let venv = shell::cache()?.join("venv");
    let interpreter = own.unwrap_or_else(|| venv.join("bin/python"));
    if interpreter.is_file() {
        modules(image, &interpreter, |_| true)?;
        if let Some(root) = interpreter.parent().and_then(Path::parent) {
            let settings = root.join("pyvenv.cfg");
            if settings.is_file() {
                image.same(&settings)?;
            }
        }
        image.setting("FATHOM_TEST_PYTHON", &interpreter.to_string_lossy());
    }
    let system = Path::new("/usr/bin/python3");
    if let Ok(found) = shell::output(Command::new(system).args(["-c", PYCURL])) {
        // Whatever else the distribution's packages have put there is left out.
        modules(image, system, |path| !path.ends_with("dist-packages"))?;
        image.same(Path::new(found.trim()))?;
    }
    Ok(())
}

fn modules(image: &mut Image, interpreter: &Path, wanted: fn(&Path) -> bool) -> Result<()> {
    image.same(interpreter)?;
    let paths = shell::output(Command::new(interpreter).args(["-c", PATHS]))?;
    for path in paths.lines().map(Path::new) {
        if path.is_absolute() && path.is_dir() && wanted(path) {
            image.same(path)?;
        }
    }
    Ok(())
}
