//! Where cgroups are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// The folder of all cgroups: they are in it, or in a folder for each hierarchy.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// The hierarchies: one with version 2; with version 1 one for each controller or more, and those of both where a node has both.
pub(super) struct Hierarchies {
    root: PathBuf,
    /// Where each is mounted.
    mounts: Vec<PathBuf>,
}

impl Hierarchies {
    /// Those of this node.
    ///
    /// # Errors
    /// When it can't be read what is mounted.
    pub(super) fn mounted() -> anyhow::Result<Self> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let mountinfo = fs::read(MOUNTS).with_context(|| format!("reading {MOUNTS}"))?;
        let mountinfo = String::from_utf8_lossy(&mountinfo);
        Ok(Self::of(Path::new(CGROUPS), &mountinfo))
    }

    /// Those below `root` that a `/proc/PID/mountinfo` names (proc_pid_mountinfo(5)).
    fn of(root: &Path, mountinfo: &str) -> Self {
        let mounts = mountinfo.lines().filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let kind = file_system.split(' ').next()?;
            let at = Path::new(mount.split(' ').nth(4)?);
            let is_hierarchy = matches!(kind, "cgroup" | "cgroup2") && at.starts_with(root);
            is_hierarchy.then(|| at.to_owned())
        });
        Self {
            root: root.to_owned(),
            mounts: mounts.collect(),
        }
    }

    /// A cgroup as `/proc/PID/cgroup` names it: from the root of its hierarchy on, with a slash before and none behind.
    ///
    /// # Errors
    /// When there is none, or it has everything.
    pub(super) fn find(&self, path: &Path) -> anyhow::Result<String> {
        let inner = self.inner(path);
        let text = inner
            .to_str()
            .with_context(|| format!("--cgroup {}: no text", path.display()))?
            .trim_matches('/');
        if text.is_empty() {
            bail!(
                "--cgroup {}: that is the whole node; leave the flag out",
                path.display()
            );
        }
        // Where each controller has its own hierarchy, any of them may have it.
        if !self.mounts.iter().any(|at| at.join(text).is_dir()) {
            bail!(
                "--cgroup {}: there is none in {} (systemd-cgls lists them)",
                path.display(),
                self.root.display()
            );
        }
        Ok(format!("/{text}"))
    }

    /// What of a path is below its hierarchy's mount.
    fn inner<'a>(&self, path: &'a Path) -> &'a Path {
        let Ok(below) = path.strip_prefix(&self.root) else {
            return path;
        };
        let mut rest = below.components();
        let Some(first) = rest.next() else {
            return below;
        };
        // `cpu` is a link to `cpu,cpuacct` on most nodes.
        let at = self.root.join(first).canonicalize();
        match at {
            Ok(at) if self.mounts.contains(&at) => rest.as_path(),
            _ => below,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn line(at: &Path, kind: &str) -> String {
        format!(
            "32 31 0:29 / {} rw,relatime shared:9 - {kind} {kind} rw\n",
            at.display()
        )
    }

    #[test]
    fn a_hierarchys_own_folder_is_no_part_of_a_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for cgroup in ["cpu,cpuacct/web", "pids/rv6", "unified/system.slice/a"] {
            fs::create_dir_all(root.join(cgroup)).unwrap();
        }
        symlink("cpu,cpuacct", root.join("cpu")).unwrap();
        let mounts = [
            line(&root, "tmpfs"),
            line(&root.join("cpu,cpuacct"), "cgroup"),
            line(&root.join("pids"), "cgroup"),
            line(&root.join("unified"), "cgroup2"),
        ];
        let hierarchies = Hierarchies::of(&root, &mounts.concat());
        let find = |path: &Path| hierarchies.find(path).map_err(|error| error.to_string());
        assert_eq!(find(&root.join("pids/rv6")).unwrap(), "/rv6");
        assert_eq!(find(&root.join("cpu/web/")).unwrap(), "/web");
        assert_eq!(
            find(&root.join("unified/system.slice/a")).unwrap(),
            "/system.slice/a"
        );
        assert_eq!(find(Path::new("/rv6")).unwrap(), "/rv6");
        assert!(find(Path::new("/pids/rv6")).is_err(), "nothing is in that");
        let whole = find(&root.join("pids")).unwrap_err();
        assert!(whole.contains("the whole node"), "{whole}");
    }

    #[test]
    fn one_hierarchy_has_all() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("system.slice/nginx.service")).unwrap();
        let hierarchies = Hierarchies::of(&root, &line(&root, "cgroup2"));
        let path = root.join("system.slice/nginx.service");
        assert_eq!(
            hierarchies.find(&path).unwrap(),
            "/system.slice/nginx.service"
        );
        assert!(hierarchies.find(Path::new("/nginx.service")).is_err());
        assert!(hierarchies.find(&root).is_err());
    }
}
