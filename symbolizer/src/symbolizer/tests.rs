use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use super::*;
use crate::{Frame, Source};

fn own() -> PathBuf {
    std::env::current_exe().expect("a test has a file")
}

/// Functions of this test's own file, by `nm`: an address in the middle of each, and the names that it has.
fn functions() -> BTreeMap<u64, Vec<String>> {
    let output = Command::new("nm")
        .args(["-S", "--defined-only"])
        .arg(own())
        .output();
    let output = output.expect("nm is there (package binutils)");
    let mut functions = BTreeMap::<u64, Vec<String>>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let [address, size, "t" | "T", name] = line.split(' ').collect::<Vec<_>>()[..] {
            let parse = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
            let middle = parse(address) + parse(size) / 2;
            functions.entry(middle).or_default().push(name.to_owned());
        }
    }
    assert!(functions.len() > 1000);
    functions
}

fn linkage(frames: &Frames) -> String {
    let name = frames.outermost().and_then(|frame| frame.name.as_ref());
    name.expect("a name").linkage().to_owned()
}

#[test]
fn there_is_an_answer_for_each_address() {
    let symbolizer = Symbolizer::default();
    let functions = functions();
    let addresses: Vec<_> = functions.keys().copied().chain([1, u64::MAX]).collect();
    let answers = symbolizer
        .symbolize_file(own(), Gear::Names, &addresses)
        .expect("readable");
    assert_eq!(answers.len(), addresses.len());
    for (answer, names) in answers.iter().zip(functions.values()) {
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].source, Source::SymbolTable);
        assert!(names.contains(&linkage(answer)), "{answer:?} {names:?}");
    }
    assert!(answers[functions.len()].is_empty() && answers[functions.len() + 1].is_empty());
}

#[test]
fn memory_stays_within_the_budget_and_answers_stay_the_same() {
    let functions = functions();
    let unbound = Symbolizer::default();
    let module = unbound.open(own()).expect("opens");
    let ask = |symbolizer: &Symbolizer, module: &Module, address| {
        linkage(
            &symbolizer
                .symbolize(module, Gear::Names, address)
                .expect("readable"),
        )
    };
    let expected: Vec<_> = functions
        .keys()
        .map(|&address| ask(&unbound, &module, address))
        .collect();
    let needed = unbound.memory().bytes;
    let table = {
        let fresh = Symbolizer::default();
        let module = fresh.open(own()).expect("opens");
        ask(&fresh, &module, *functions.keys().next().expect("some"));
        fresh.memory().bytes
    };
    // Room for the table and a few of the answers.
    let budget = table + (needed - table) / 10;
    let bound = Symbolizer::new(Options {
        memory: budget,
        ..Options::default()
    });
    let module = bound.open(own()).expect("opens");
    for _ in 0..2 {
        for (&address, expected) in functions.keys().zip(&expected) {
            assert_eq!(&ask(&bound, &module, address), expected);
            assert!(bound.memory().bytes <= budget, "{:?}", bound.memory());
        }
    }
    assert!(bound.memory().evicted > 0);
}

#[test]
fn the_file_that_was_not_used_the_longest_goes() {
    let size = {
        let symbolizer = Symbolizer::default();
        symbolizer
            .symbolize_file(own(), Gear::Names, &[1])
            .expect("readable");
        symbolizer.memory().bytes
    };
    let folder = tempfile::tempdir().expect("a folder");
    let copies: Vec<_> = ["a", "b", "c"].map(|name| folder.path().join(name)).into();
    for copy in &copies {
        fs::copy(own(), copy).expect("copied");
    }
    let symbolizer = Symbolizer::new(Options {
        memory: 5 * size / 2,
        ..Options::default()
    });
    let modules: Vec<_> = copies
        .iter()
        .map(|copy| symbolizer.open(copy).expect("opens"))
        .collect();
    let ask = |index: usize| {
        symbolizer
            .symbolize(&modules[index], Gear::Names, 1)
            .expect("readable");
    };
    ask(0);
    ask(1);
    assert_eq!(
        (symbolizer.memory().files, symbolizer.memory().evicted),
        (2, 0)
    );
    ask(2);
    assert_eq!(
        (symbolizer.memory().files, symbolizer.memory().evicted),
        (2, 1)
    );
    assert_eq!(modules[0].bytes(), 0, "the first was not used the longest");
    assert!(modules[1].bytes() > 0 && modules[2].bytes() > 0);
}

#[test]
fn one_path_is_one_module_until_its_file_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("program");
    fs::copy("/bin/true", &path).expect("copied");
    let symbolizer = Symbolizer::default();
    let first = symbolizer.open(&path).expect("opens");
    assert!(symbolizer.open(&path).expect("opens").is(&first));
    fs::remove_file(&path).expect("it is ours");
    fs::copy(own(), &path).expect("copied");
    let second = symbolizer.open(&path).expect("opens");
    assert!(!second.is(&first));
    assert_ne!(first.build_id(), second.build_id());
    // The first is still answered from the file that it was.
    symbolizer
        .symbolize(&first, Gear::Names, 0x1000)
        .expect("still there");
}

#[test]
fn threads_share_one_symbolizer() {
    let functions = functions();
    let symbolizer = Symbolizer::new(Options {
        memory: 1 << 20,
        ..Options::default()
    });
    let (symbolizer, functions) = (&symbolizer, &functions);
    thread::scope(|scope| {
        for step in 1..5 {
            scope.spawn(move || {
                for (&address, names) in functions.iter().step_by(step) {
                    let answer = symbolizer.symbolize_file(own(), Gear::Names, &[address]);
                    let answer = answer.expect("readable").remove(0);
                    assert!(names.contains(&linkage(&answer)));
                }
            });
        }
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_open_is_an_error_that_names_the_part() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::copy(own(), file.path()).expect("copied");
    let symbolizer = Symbolizer::default();
    let module = symbolizer.open(file.path()).expect("opens");
    file.as_file().set_len(4096).expect("cut");
    let error = symbolizer
        .symbolize(&module, Gear::Names, 0x1000)
        .expect_err("cut short");
    assert!(error.to_string().contains("the section headers"), "{error}");
}

/// A store of debug files that is slow: it waits until the test lets it go on.
#[derive(Debug)]
struct Slow {
    asked: Mutex<mpsc::Sender<()>>,
    go_on: Mutex<mpsc::Receiver<()>>,
    times: AtomicUsize,
}

impl DebugFiles for Slow {
    fn debug_file(
        &self,
        _: &[u8],
    ) -> Result<Option<File>, Box<dyn std::error::Error + Send + Sync>> {
        self.times.fetch_add(1, Relaxed);
        self.asked.lock().expect("whole").send(())?;
        self.go_on.lock().expect("whole").recv()?;
        Ok(None)
    }
}

#[test]
fn a_file_that_takes_long_keeps_nobody_else_waiting_and_is_read_once() {
    let (asked, was_asked) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let store = Arc::new(Slow {
        asked: Mutex::new(asked),
        go_on: Mutex::new(goes_on),
        times: AtomicUsize::new(0),
    });
    let symbolizer = Symbolizer::new(Options {
        debug_directories: Vec::new(),
        debug_files: Some(store.clone()),
        ..Options::default()
    });
    let slow = symbolizer.open("/bin/true").expect("opens");
    let known = *functions().keys().next().expect("some");
    thread::scope(|scope| {
        // Nothing at these addresses is known, so that the store is asked.
        for address in [3, 4] {
            let (symbolizer, slow) = (&symbolizer, &slow);
            scope.spawn(move || {
                symbolizer
                    .symbolize(slow, Gear::Names, address)
                    .expect("no error")
            });
        }
        was_asked.recv().expect("it is asked");
        // While it is, another file is opened and answered, within memory that is counted.
        let answers = symbolizer.symbolize_file(own(), Gear::Names, &[known]);
        assert_eq!(answers.expect("readable")[0].len(), 1);
        assert!(symbolizer.memory().bytes > 0);
        go_on.send(()).expect("it waits");
    });
    assert_eq!(store.times.load(Relaxed), 1, "both threads asked");
}

#[test]
fn a_repeated_answer_is_made_of_the_same_texts() {
    let symbolizer = Symbolizer::default();
    let module = symbolizer.open(own()).expect("opens");
    let known = *functions().keys().next().expect("some");
    for gear in [Gear::Names, Gear::Lines] {
        let answer = || {
            symbolizer
                .symbolize(&module, gear, known)
                .expect("readable")
        };
        let (first, again) = (answer(), answer());
        assert_eq!(first, again);
        let texts = |frames: &Frames| -> Vec<(Option<*const u8>, Option<*const u8>)> {
            let name = |frame: &Frame| frame.name.as_ref().map(|name| name.as_str().as_ptr());
            let file = |frame: &Frame| frame.file.as_ref().map(|file| file.as_ptr());
            frames
                .iter()
                .map(|frame| (name(frame), file(frame)))
                .collect()
        };
        assert!(!texts(&first).is_empty());
        assert_eq!(texts(&first), texts(&again));
    }
}

/// Whatever is asked for at once, in whatever order and how often, each address has the answer that it has alone.
#[test]
fn many_at_once_are_answered_as_each_alone() {
    let known: Vec<u64> = functions().into_keys().take(3000).collect();
    let mut asked: Vec<u64> = known
        .iter()
        .rev()
        .flat_map(|&at| [at + 1, at, at])
        .collect();
    asked.extend([0, u64::MAX, known[0]]);
    for gear in [Gear::Names, Gear::Lines] {
        let (many, alone) = (Symbolizer::default(), Symbolizer::default());
        let module = many.open(own()).expect("opens");
        let other = alone.open(own()).expect("opens");
        // Some of them were asked before.
        many.symbolize(&module, gear, known[7]).expect("readable");
        let answers = many.symbolize_all(&module, gear, &asked).expect("readable");
        let located = many.locate_all(&module, gear, &asked);
        assert_eq!((answers.len(), located.len()), (asked.len(), asked.len()));
        for ((&address, frames), located) in asked.iter().zip(&answers).zip(&located) {
            let expected = alone.symbolize(&other, gear, address).expect("readable");
            assert_eq!(*frames, expected, "{address:#x}");
            assert_eq!((&located.frames, located.address), (&expected, address));
        }
        assert!(answers.iter().filter(|frames| !frames.is_empty()).count() >= known.len());
    }
}
