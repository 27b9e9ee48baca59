//! Where programs lie.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The program `name` in `PATH`, or in the folders for system programs, which are not in everyone's `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| Path::is_file(file))
}
