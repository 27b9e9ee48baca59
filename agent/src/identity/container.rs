//! The container from a process's cgroups.

/// A container runtime's ids are 64 hexadecimal digits.
const ID_DIGITS: usize = 64;

/// The id in the text of `/proc/PID/cgroup`: the last path component that is one, bare (`…/<id>`), or in systemd's form
/// (`cri-containerd-<id>.scope`, `docker-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`).
pub fn id(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        // `hierarchy:controllers:path`; containerd without systemd puts colons into the path itself.
        let path = line.splitn(3, ':').nth(2)?;
        path.rsplit(['/', ':']).find_map(|component| {
            let name = component.strip_suffix(".scope").unwrap_or(component);
            let id = name.rsplit('-').next()?;
            (id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .then(|| id.to_owned())
        })
    })
}
