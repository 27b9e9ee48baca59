use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{atomic::Ordering::Relaxed, mpsc},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use super::{
    remembered::{LOOKS_APART, MAX_PROCESSES, TRUST},
    *,
};
use crate::{
    Options, Source,
    process::status::{Identity, own_pid, started, time_of_start},
    root::open_in,
};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// One line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says one");
        line
    }
}

fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Option<Running> {
    let child = Command::new(program.as_ref())
        .args(arguments)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn();
    child.ok().map(Running)
}

/// A program that says where its function is, and waits.
const PROGRAM: &str = "
#include <stdio.h>
__attribute__((noinline)) void waiting_here(void) { __asm__ volatile(\"\"); }
int main(void) { printf(\"%p\\n\", (void *)waiting_here); fflush(stdout); waiting_here(); return getchar(); }
";

fn build(folder: &Path, test: &str) -> Option<PathBuf> {
    let source = folder.join("main.c");
    fs::write(&source, PROGRAM).expect("written");
    let program = folder.join("program");
    let status = Command::new("gcc")
        .arg("-g")
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED {test}: no gcc here");
        return None;
    }
    Some(program)
}

fn address(line: &str) -> u64 {
    u64::from_str_radix(line.trim().trim_start_matches("0x"), 16).expect("an address")
}

fn name(located: &Located) -> Option<&str> {
    let frame = located.frames.first()?;
    Some(frame.name.as_ref()?.as_str())
}

fn ask(symbolizer: &Symbolizer, pid: u32, address: u64) -> Located {
    let located = symbolizer.symbolize_process(pid, Gear::Lines, &[address]);
    located.expect("it is known").remove(0)
}

#[test]
fn a_process_that_is_gone_is_answered_from_what_was_seen_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = "a_process_that_is_gone_is_answered_from_what_was_seen_of_it";
    let Some(program) = build(folder.path(), test) else {
        return;
    };
    let mut running = start(&program, &[]).expect("it was built");
    let (pid, at) = (running.pid(), address(&running.line()));
    let symbolizer = Symbolizer::default();
    symbolizer.capture(pid).expect("it lives");
    // Nothing is left of it but what was captured.
    drop(running);
    fs::remove_file(&program).expect("it is ours");
    let located = ask(&symbolizer, pid, at);
    assert_eq!(name(&located), Some("waiting_here"), "{located:?}");
    assert_eq!(located.frames[0].line, 3);
    assert!(located.module.expect("a file").build_id().is_some());
    let error = Symbolizer::default().capture(pid).expect_err("it is gone");
    assert!(error.to_string().contains("/maps"), "{error}");
}

#[test]
fn the_mapped_file_answers_when_another_is_in_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = "the_mapped_file_answers_when_another_is_in_its_place";
    let Some(program) = build(folder.path(), test) else {
        return;
    };
    let mut running = start(&program, &[]).expect("it was built");
    let at = address(&running.line());
    fs::remove_file(&program).expect("it is ours");
    fs::copy("/bin/true", &program).expect("copied");
    let located = ask(&Symbolizer::default(), running.pid(), at);
    match &located.error {
        // Without the right to map_files the mapped file is out of reach, and the other one is no answer.
        Some(error) => assert!(located.frames.is_empty(), "{error}"),
        None => assert_eq!(name(&located), Some("waiting_here")),
    }
}

/// In a mount namespace with a root of its own, and a pid namespace: what a container is.
#[test]
fn a_container_is_seen_by_its_own_paths_and_numbers() {
    // Of it the kernel keeps 15 bytes, the last of which is half a letter.
    const NAME: &str = "/its_program_at\u{fc}";
    let test = "a_container_is_seen_by_its_own_paths_and_numbers";
    let folder = tempfile::tempdir().expect("a folder");
    let program = {
        fs::write(folder.path().join("main.c"), PROGRAM).expect("written");
        let built = Command::new("gcc")
            .args(["-g", "-static", "main.c", "-o", &NAME[1..]])
            .current_dir(folder.path())
            .status();
        if !built.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED {test}: no gcc here");
            return;
        }
        NAME
    };
    fs::create_dir(folder.path().join("tmp")).expect("made");
    let root = folder.path().to_str().expect("text");
    let arguments = [
        "--fork",
        "--pid",
        "--kill-child",
        "--mount",
        "--root",
        root,
        program,
    ];
    let Some(mut outer) = start("unshare", &arguments) else {
        eprintln!("SKIPPED {test}: no unshare here");
        return;
    };
    let line = outer.line();
    if line.is_empty() {
        eprintln!("SKIPPED {test}: no right to make namespaces");
        return;
    }
    let children = format!("/proc/{0}/task/{0}/children", outer.pid());
    let children = fs::read_to_string(children).expect("it has a child");
    let pid = children.trim().parse().expect("one child");
    assert_eq!(own_pid(pid), 1);
    let symbolizer = Symbolizer::default();
    let located = ask(&symbolizer, pid, address(&line));
    assert_eq!(name(&located), Some("waiting_here"));
    assert!(
        located
            .module
            .as_ref()
            .expect("a file")
            .name()
            .ends_with(program)
    );
    assert!(
        symbolizer
            .open_in_process(pid, program)
            .expect("opens")
            .is(located.module.as_ref().expect("a file"))
    );

    // Its compiler names the map by the number that it has for itself. A link out of its root leads nowhere else.
    let heap = mappings(pid)
        .expect("it lives")
        .into_iter()
        .find(|mapping| mapping.executable);
    let code = heap.expect("it has code");
    let map = folder.path().join("tmp/perf-1.map");
    fs::write(
        &map,
        format!("{:x} {:x} compiled\n", code.start, code.end - code.start),
    )
    .expect("written");
    let started = started(pid).expect("it lives");
    let jit = Process::new(pid, Identity::of_start(started), Vec::new(), 1 << 20);
    let found = jit.compiled([code.start + 1].into_iter()).remove(0);
    let frames = found.expect("readable");
    assert_eq!(frames[0].source, Source::PerfMap);
    assert_eq!(
        frames[0].name.as_ref().map(|name| name.as_str()),
        Some("compiled")
    );
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("tmp/link")).expect("made");
    let inside = PathBuf::from(format!("/proc/{pid}/root"));
    let error = open_in(&inside, Path::new("/tmp/link")).expect_err("there is no such file in it");
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

/// Numbers of processes are used again, and maps stay where they are.
#[test]
fn a_map_of_an_earlier_process_is_none() {
    let pid = std::process::id();
    let started = started(pid).expect("it lives");
    let process = Process::new(pid, Identity::of_start(started), Vec::new(), 1 << 20);
    let map = tempfile::NamedTempFile::new().expect("a file");
    assert!(process.may_have_written(map.as_file()));
    let start = time_of_start(started).expect("a time");
    let since = start.elapsed().expect("before now");
    assert!(since < Duration::from_secs(3600), "{since:?}");
    for (before, is_ours) in [(1, true), (10, false)] {
        let written = start - Duration::from_secs(before);
        map.as_file().set_modified(written).expect("set");
        assert_eq!(process.may_have_written(map.as_file()), is_ours);
    }
}

/// As compilers do that write beside the place and move it there.
#[test]
fn a_map_that_was_replaced_is_opened_anew() {
    let other = start("cat", &[]).expect("cat is there");
    let process = Process::new(other.pid(), Identity::of_start(0), Vec::new(), 1 << 20);
    let map = PathBuf::from(format!("/tmp/perf-{}.map", other.pid()));
    let beside = tempfile::NamedTempFile::new_in("/tmp").expect("a file");
    fs::write(&map, "1000 10 first\n").expect("written");
    let name = || {
        let found = process.compiled([0x1000].into_iter()).remove(0);
        let frames = found.expect("readable");
        frames.first().map(|frame| frame.to_string())
    };
    let before = name();
    fs::write(beside.path(), "1000 10 other\n2000 10 more\n").expect("written");
    beside.persist(&map).expect("it is moved there");
    let after = name();
    fs::remove_file(&map).expect("it is ours");
    // One that is gone is answered from what was read of it.
    assert_eq!(
        [before, after, name()],
        ["first", "other", "other"].map(|name| Some(name.to_owned()))
    );
}

#[test]
fn a_process_has_a_few_dumps_open_and_says_which_was_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mapped = (0..6).map(|number| {
        let path = folder.path().join(format!("jit-{number}.dump"));
        fs::write(&path, []).expect("written");
        let inode = fs::metadata(&path).expect("it is there").ino();
        let mapping = Mapping {
            start: 0x1000 * (number + 1),
            end: 0x1000 * (number + 2),
            offset: 0,
            executable: true,
            kind: MappingKind::File {
                id: FileId {
                    device: (0, 0),
                    inode,
                },
                path: path.to_str().expect("text").to_owned(),
                deleted: false,
            },
        };
        let module = Err(Error::NotRegular {
            file: mapping.name(),
        });
        Mapped::new(mapping, module)
    });
    let process = Process::new(
        std::process::id(),
        Identity::of_start(0),
        mapped.collect(),
        1 << 20,
    );
    for _ in 0..2 {
        let found = process.compiled([0x1000].into_iter()).remove(0);
        let error = found.expect_err("two were left out");
        assert!(
            matches!(error, Error::TooManyFiles { limit: 4, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("/jit-4.dump: "), "{error}");
    }
}

/// The file may be on a file system that hangs.
#[test]
fn a_process_whose_map_is_being_read_keeps_no_other_waiting() {
    let symbolizer = Symbolizer::default();
    let pid = std::process::id();
    let slow = symbolizer.process(pid).expect("it lives");
    // So much that it would have to be forgotten.
    slow.jit_bytes.store(1 << 40, Relaxed);
    let is_read = slow.jit();
    let other = start("cat", &[]).expect("cat is there");
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| done.send(symbolizer.capture(other.pid()).is_ok()));
        let answer = is_done.recv_timeout(Duration::from_secs(30));
        drop(is_read);
        assert_eq!(answer, Ok(true));
    });
    let known = symbolizer.processes.get(pid).expect("it is remembered");
    assert!(Arc::ptr_eq(&known, &slow));
    assert_eq!(slow.jit_bytes.load(Relaxed), 1 << 40);
}

/// A process of which nothing is known but what it takes.
fn taking(pid: u32, mapped: usize, compiled: usize) -> Arc<Process> {
    let process = Process::new(pid, Identity::of_start(0), Vec::new(), 1 << 20);
    process.mapped_bytes.store(mapped, Relaxed);
    process.jit_bytes.store(compiled, Relaxed);
    Arc::new(process)
}

#[test]
fn what_was_not_asked_the_longest_goes_and_no_more_than_has_to() {
    let processes = Processes::default();
    let all = [1, 2, 3, 4].map(|pid| taking(pid, 100, 30));
    for process in &all {
        processes.insert(process);
    }
    let compiled = || all.each_ref().map(|known| known.jit_bytes.load(Relaxed));
    let remembered = || {
        let mut pids: Vec<u32> = processes.lock().keys().copied().collect();
        pids.sort_unstable();
        pids
    };
    // There is as much as may be of the mappings, which takes no functions away.
    assert_eq!(processes.keep_within(400, &all[3]), 4 * 130);
    assert_eq!(compiled(), [30; 4]);
    processes.get(1).expect("it is remembered");
    all[3].jit_bytes.store(350, Relaxed);
    assert_eq!(processes.keep_within(400, &all[3]), 400 + 380);
    assert_eq!(compiled(), [30, 0, 0, 350]);
    assert_eq!(remembered(), [1, 2, 3, 4]);
    all[3].mapped_bytes.store(250, Relaxed);
    assert_eq!(processes.keep_within(400, &all[3]), 350 + 380);
    assert_eq!(remembered(), [1, 4]);
    // The one that is in use stays, whatever it takes.
    assert_eq!(processes.keep_within(10, &all[3]), 250 + 350);
    assert_eq!(remembered(), [4]);
}

#[test]
fn of_too_many_processes_the_first_is_forgotten() {
    let processes = Processes::default();
    let mut last = taking(0, 1, 0);
    processes.insert(&last);
    for pid in (1..).take(MAX_PROCESSES) {
        last = taking(pid, 1, 0);
        processes.insert(&last);
    }
    assert_eq!(processes.keep_within(1 << 20, &last), MAX_PROCESSES);
    assert!(processes.get(0).is_none() && processes.get(1).is_some());
}

/// By turns of all files, from the last address to the first, with others that are in none.
#[test]
fn addresses_of_one_file_are_looked_up_together_and_answered_in_their_order() {
    let pid = std::process::id();
    let (many, alone) = (Symbolizer::default(), Symbolizer::default());
    let mapped = many.mapped(pid).expect("own mappings");
    let mut asked = Vec::new();
    for step in 0..50 {
        asked.extend(mapped.iter().map(|mapped| {
            let Mapping { start, end, .. } = mapped.mapping;
            end - 1 - step * ((end - start) / 50)
        }));
        asked.extend([1, u64::MAX]);
    }
    let last_use = || {
        let modules = mapped
            .iter()
            .filter_map(|mapped| mapped.module.as_ref().ok());
        modules.map(Module::used).max().expect("there are some")
    };
    let before = last_use();
    let located = many
        .symbolize_process(pid, Gear::Names, &asked)
        .expect("it lives");
    // Each look at a file is a use of it.
    let looks = last_use() - before;
    assert!(looks <= mapped.len() as u64, "{looks}");
    assert_eq!(located.len(), asked.len());
    for (located, &address) in located.iter().zip(&asked) {
        let expected = alone.symbolize_process(pid, Gear::Names, &[address]);
        let expected = expected.expect("it lives").remove(0);
        let file = |located: &Located| {
            located
                .module
                .as_ref()
                .map(|module| module.name().to_owned())
        };
        assert_eq!(file(located), file(&expected), "{address:#x}");
        assert_eq!(located.address, expected.address, "{address:#x}");
        assert_eq!(located.error.is_some(), expected.error.is_some());
        let name = |located: &Located| name(located).map(str::to_owned);
        assert_eq!(name(located), name(&expected), "{address:#x}");
    }
    let named = located.iter().filter(|located| name(located).is_some());
    assert!(named.count() > 50);
}

/// Broken stacks are full of such addresses.
#[test]
fn a_process_is_not_looked_at_over_and_over_for_what_it_has_not_mapped() {
    let pid = std::process::id();
    let symbolizer = Symbolizer::default();
    let process = symbolizer.process(pid).expect("it lives");
    // As if that had been just now, however long this test is kept from going on.
    *process.looked() = (Instant::now() + Duration::from_secs(3600), Duration::ZERO);
    let is_looked_at = || {
        let before = process.mapped();
        ask(&symbolizer, pid, 1);
        !Arc::ptr_eq(&before, &process.mapped())
    };
    assert!(is_looked_at());
    *process.missed() = Some(Instant::now() + Duration::from_secs(3600));
    assert!(!is_looked_at());
    *process.missed() = Instant::now().checked_sub(LOOKS_APART);
    assert!(is_looked_at());
}

/// Nothing is where it was, and the number and the start of the process are the same.
#[test]
fn a_process_that_ran_another_program_since_is_that_one() {
    let test = "a_process_that_ran_another_program_since_is_that_one";
    let folder = tempfile::tempdir().expect("a folder");
    let source = |name: &str, then: &str| {
        format!(
            "#include <stdio.h>\n#include <unistd.h>\n\
             __attribute__((noinline)) void {name}(void) {{ __asm__ volatile(\"\"); }}\n\
             int main(int count, char **given) {{ printf(\"%p\\n\", (void *){name}); fflush(stdout); {name}(); getchar(); {then} return 0; }}\n"
        )
    };
    let build = |name: &str, then: &str| {
        fs::write(folder.path().join("main.c"), source(name, then)).expect("written");
        let built = Command::new("gcc")
            .args(["-static", "-no-pie", "main.c", "-o", name])
            .current_dir(folder.path())
            .status();
        built.is_ok_and(|status| status.success())
    };
    if !build("before", "execl(given[1], given[1], (char *)0);") || !build("after_", "") {
        eprintln!("SKIPPED {test}: no gcc here");
        return;
    }
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let mut running = start(path("before"), &[&path("after_")]).expect("it was built");
    let symbolizer = Symbolizer::default();
    let pid = running.pid();
    let before = address(&running.line());
    assert_eq!(name(&ask(&symbolizer, pid, before)), Some("before"));
    let known = symbolizer.processes.get(pid).expect("it is remembered");
    *known.looked() = (Instant::now() + Duration::from_secs(3600), Duration::ZERO);
    let input = running.0.stdin.as_mut().expect("piped");
    input.write_all(b"\n").expect("it reads");
    let after = address(&running.line());
    assert!(mapping_at(&known.mapped(), after).is_some());
    assert_eq!(name(&ask(&symbolizer, pid, after)), Some("after_"));
    // What ended and was not waited for has no program, and is the same process.
    running.0.kill().expect("it lives");
    let is_zombie =
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    for _ in 0..500 {
        if is_zombie() {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    assert!(is_zombie());
    let known = symbolizer.processes.get(pid).expect("it is remembered");
    *known.looked() = (Instant::now() - TRUST, Duration::ZERO);
    // In none of its mappings.
    ask(&symbolizer, pid, 1);
    assert_eq!(name(&ask(&symbolizer, pid, after)), Some("after_"));
}

/// What `dlclose` and `dlopen` do, with one library where another one was.
#[test]
fn what_was_mapped_in_place_of_something_else_is_seen_in_time() {
    let symbolizer = Symbolizer::default();
    let pid = std::process::id();
    let process = symbolizer.process(pid).expect("it lives");
    let at = ask as fn(_, _, _) -> _ as usize as u64;
    let mut other = process.mapped().to_vec();
    for mapped in &mut other {
        mapped.module = Err(Error::NotRegular {
            file: String::new(),
        });
    }
    process.set_mapped(other);
    *process.looked() = (Instant::now() + Duration::from_secs(3600), Duration::ZERO);
    assert_eq!(name(&ask(&symbolizer, pid, at)), None);
    // A look that took long is not repeated as soon.
    let before = Instant::now()
        .checked_sub(2 * TRUST)
        .expect("up long enough");
    *process.looked() = (before, TRUST);
    assert_eq!(name(&ask(&symbolizer, pid, at)), None);
    *process.looked() = (before, Duration::ZERO);
    assert!(name(&ask(&symbolizer, pid, at)).is_some());
    assert!(process.looked().0 > before);
}

/// node writes a map of what it compiles, while it does.
#[test]
fn what_node_compiles_has_its_names() {
    let script = "
        function spinning(n) { let x = 0; for (let i = 0; i < n; i++) { x += i % 7; } return x; }
        for (let i = 0; i < 200; i++) { spinning(1e5); }
        console.log('ready');
        setInterval(() => spinning(1e5), 10);";
    // It also writes a log, and would where it stands.
    let folder = tempfile::tempdir().expect("a folder");
    let log = format!("--logfile={}", folder.path().join("v8.log").display());
    let arguments = [
        "--perf-basic-prof",
        "--no-logfile-per-isolate",
        &log,
        "-e",
        script,
    ];
    let Some(mut node) = start("node", &arguments) else {
        eprintln!("SKIPPED what_node_compiles_has_its_names: no node here");
        return;
    };
    let pid = node.pid();
    let map = PathBuf::from(format!("/tmp/perf-{pid}.map"));
    assert_eq!(node.line(), "ready\n");
    let mut text = String::new();
    for _ in 0..200 {
        text = fs::read_to_string(&map).unwrap_or_default();
        if text.contains("*spinning") && text.ends_with('\n') {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    // The last that was written at a place counts: it is in no line behind it.
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (start, rest) = line.split_once(' ')?;
            let (size, name) = rest.split_once(' ')?;
            let start = u64::from_str_radix(start, 16).ok()?;
            Some((start, start + u64::from_str_radix(size, 16).ok()?, name))
        })
        .collect();
    let &(start, end, expected) = lines
        .iter()
        .rfind(|(_, _, name)| name.contains("*spinning"))
        .expect("it was compiled");
    let symbolizer = Symbolizer::default();
    let located = ask(&symbolizer, pid, (start + end) / 2);
    let _ = fs::remove_file(map);
    assert_eq!(located.frames[0].source, Source::PerfMap);
    assert_eq!(
        located.frames[0].name.as_ref().map(|name| name.linkage()),
        Some(expected)
    );
    assert!(symbolizer.memory().bytes > 100 * lines.len());
}

#[test]
fn files_beyond_the_limit_are_said_to_be_too_many() {
    let symbolizer = Symbolizer::new(Options {
        files: 1,
        ..Options::default()
    });
    let mapped = symbolizer.mapped(std::process::id()).expect("own mappings");
    let failed = mapped
        .iter()
        .filter(|mapped| matches!(mapped.module, Err(Error::TooManyFiles { limit: 1, .. })));
    assert!(failed.count() > 0);
    assert_eq!(
        mapped
            .iter()
            .filter(|mapped| mapped
                .module
                .as_ref()
                .is_ok_and(|module| module.file().is_some()))
            .count(),
        1
    );
    drop(mapped);
    // Nobody holds the first any more.
    symbolizer.open("/bin/true").expect("there is room");
}

#[test]
fn a_number_without_a_process_is_an_error() {
    let symbolizer = Symbolizer::default();
    let error = symbolizer
        .symbolize_process(4_194_305, Gear::Names, &[1])
        .expect_err("no process");
    assert!(
        error.to_string().starts_with("/proc/4194305/maps: "),
        "{error}"
    );
}
