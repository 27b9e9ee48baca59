//! These make a BPF file system in a mount namespace of their own: they take root, and say so where they have none.

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::UnshareFlags,
};

use super::*;

/// Runs on a thread of its own with a BPF file system of its own.
fn with_bpffs(test: impl FnOnce(&Path) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only the mount namespace of this thread is unshared.
            if let Err(error) = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) } {
                eprintln!("skipped: no mount namespace: {error}");
                return;
            }
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )
            .unwrap();
            let folder = tempfile::tempdir().unwrap();
            mount("bpf", folder.path(), "bpf", MountFlags::empty(), None).unwrap();
            test(folder.path());
            rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::empty()).unwrap();
        });
        thread.join().unwrap();
    });
}

/// As another profiler opens it.
fn theirs(root: &Path) -> HashMap<MapData, u64, Value> {
    let data = MapData::from_pin(root.join("otel/traces_ctx_v1")).unwrap();
    HashMap::try_from(Map::from_map_data(data).unwrap()).unwrap()
}

#[test]
fn others_read_what_a_thread_is_at_and_find_nothing_of_it_afterwards() {
    with_bpffs(|root| {
        let mut ours = TraceContexts::open(root).unwrap();
        assert!(ours.bytes() > 0);
        let theirs = theirs(root);
        ours.set(1 << 32 | 2, [1; 16], [2; 8]).unwrap();
        let mut value = [1; 24];
        value[16..].fill(2);
        assert_eq!(theirs.get(&(1 << 32 | 2), 0).unwrap(), value);
        ours.clear(1 << 32 | 2, [3; 8]);
        assert_eq!(
            theirs.get(&(1 << 32 | 2), 0).unwrap(),
            value,
            "it ended another span's"
        );
        ours.clear(1 << 32 | 2, [2; 8]);
        assert!(theirs.get(&(1 << 32 | 2), 0).is_err());
        ours.set(7, [1; 16], [2; 8]).unwrap();
        drop(ours);
        assert_eq!(theirs.keys().count(), 0);
    });
}

#[test]
fn a_map_that_is_there_is_taken_and_outlives_us() {
    with_bpffs(|root| {
        drop(TraceContexts::open(root).unwrap());
        let mut theirs = theirs(root);
        theirs.insert(5, [5; 24], 0).unwrap();
        let mut ours = TraceContexts::open(root).unwrap();
        ours.set(6, [6; 16], [6; 8]).unwrap();
        drop(ours);
        assert_eq!(theirs.get(&5, 0).unwrap(), [5; 24], "what others wrote");
        assert!(theirs.get(&6, 0).is_err());
    });
}

#[test]
fn what_can_not_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = TraceContexts::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotBpffs(_)), "{error}");
    let error = TraceContexts::open(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    with_bpffs(|root| {
        fs::create_dir(root.join("otel")).unwrap();
        let other = aya_obj::Map::new_from_params(MapType::Hash as u32, 4, 4, 1, 0);
        let other = MapData::create(other, "other", None).unwrap();
        other.pin(root.join("otel/traces_ctx_v1")).unwrap();
        let error = TraceContexts::open(root).unwrap_err();
        assert!(matches!(error, Error::OtherForm { .. }), "{error}");
        assert!(
            error.to_string().contains("Hash of 4 to 4 bytes"),
            "{error}"
        );
    });
}
