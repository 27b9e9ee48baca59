use fathom_symbolizer::unwind::Register;

use super::*;

const SP: Register = Register::StackPointer;
const FP: Register = Register::FramePointer;

/// Where the stacks of these tests begin.
const BASE: u64 = 0x7ffc_0000_0000;

fn frame(cfa: Cfa, frame_pointer: Saved) -> Rule {
    Rule::Frame(Frame {
        cfa,
        frame_pointer,
        return_address: Saved::AtCfa(-8),
        is_signal: false,
    })
}

/// A function that has `bytes` of stack below its return address.
fn plain(bytes: i32) -> Rule {
    frame(Cfa::Offset(SP, bytes + 8), Saved::Same)
}

/// A frame that is entered at `ip`, with its stack pointer at the start of the stack.
fn start(ip: u64, frame_pointer: u64) -> Unwinding {
    let mut registers = Registers::of_caller(ip, BASE, Some(frame_pointer));
    registers.set(3, BASE + 64);
    Unwinding {
        frames: vec![ip],
        registers,
        is_exact: true,
    }
}

fn stack(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn run(unwinding: &mut Unwinding, words: &[u64], mut way: impl FnMut(u64) -> Way) -> Stop {
    let bytes = stack(words);
    let copy = StackCopy {
        start: BASE,
        bytes: &bytes,
    };
    unwinding.run(&copy, &mut way)
}

fn end(end: UserEnd) -> Stop {
    Stop::End(Ending::As(end))
}

#[test]
fn callers_are_looked_up_by_their_calls_and_the_leaf_by_itself() {
    let mut unwinding = start(0x1000, 0);
    let mut asked = Vec::new();
    let stop = run(&mut unwinding, &[7, 0x2000, 0x3000], |address| {
        asked.push(address);
        Way::Rule(match address {
            0x1000 => plain(8),
            0x1fff => plain(0),
            _ => Rule::End,
        })
    });
    assert_eq!(stop, end(UserEnd::Root));
    assert_eq!(asked, [0x1000, 0x1fff, 0x2fff]);
    assert_eq!(unwinding.frames, [0x1000, 0x2000, 0x3000]);
}

#[test]
fn it_stops_at_a_table_that_is_not_there_and_goes_on_when_it_is() {
    let mut unwinding = start(0x1000, 0);
    let words = [0x2000, 5, 0x3000];
    let way = |address: u64| match address {
        0x1000 => Way::Rule(plain(0)),
        _ => Way::Wanted(9),
    };
    assert_eq!(run(&mut unwinding, &words, way), Stop::Wanted(9));
    assert_eq!(unwinding.frames, [0x1000, 0x2000]);
    let way = |address: u64| {
        Way::Rule(match address {
            0x1fff => plain(8),
            _ => Rule::End,
        })
    };
    assert_eq!(run(&mut unwinding, &words, way), end(UserEnd::Root));
    assert_eq!(unwinding.frames, [0x1000, 0x2000, 0x3000]);
}

#[test]
fn each_form_of_rule_leads_where_it_says() {
    // By the frame pointer, and what a frame has saved of it.
    let mut unwinding = start(0x1000, BASE + 8);
    let words = [0, BASE + 24, 0x2000, 0, 0, 0x3000];
    let stop = run(&mut unwinding, &words, |_| Way::Rule(Rule::FramePointer));
    assert_eq!(
        stop,
        end(UserEnd::NullReturn),
        "the outermost frame pointer is 0"
    );
    assert_eq!(unwinding.frames, [0x1000, 0x2000]);

    // A CFA that the stack holds, counted from another register, which only the leaf has.
    let deref = frame(
        Cfa::Deref {
            base: Register::Other(3),
            at: -48,
            plus: 8,
        },
        Saved::AtCfa(-16),
    );
    let mut unwinding = start(0x1000, 1);
    let words = [0, 0, BASE + 32, 77, 0x2000, 88, 0x3000];
    let stop = run(&mut unwinding, &words, |_| Way::Rule(deref));
    assert_eq!(stop, end(UserEnd::LostRegister));
    assert_eq!(unwinding.frames, [0x1000, 0x2000]);
    assert_eq!(unwinding.registers.get(FP), Ok(77));
    assert_eq!(unwinding.registers.get(SP), Ok(BASE + 40));

    // As vfork(3) keeps its return address, and nothing on the stack.
    let in_register = Rule::Frame(Frame {
        cfa: Cfa::Offset(SP, 0),
        frame_pointer: Saved::Same,
        return_address: Saved::In(Register::Other(3)),
        is_signal: false,
    });
    let mut unwinding = start(0x1000, 0);
    let way = |address| {
        Way::Rule(if address == 0x1000 {
            in_register
        } else {
            Rule::End
        })
    };
    assert_eq!(run(&mut unwinding, &[], way), end(UserEnd::Root));
    assert_eq!(unwinding.frames, [0x1000, BASE + 64]);

    // A stub before and behind its push.
    for (ip, words, caller) in [
        (0x1000, [0x2000, 0x3000], 0x2000),
        (0x100b, [0x2000, 0x3000], 0x3000),
    ] {
        let mut unwinding = start(ip, 0);
        let stub = frame(Cfa::Plt { pushed_at: 11 }, Saved::Same);
        let way = |address| Way::Rule(if address == ip { stub } else { Rule::End });
        assert_eq!(run(&mut unwinding, &words, way), end(UserEnd::Root));
        assert_eq!(unwinding.frames, [ip, caller]);
    }
}

/// The layout as the compiler of the C library has it: `ucontext_t` lies at the stack pointer.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_signals_frame_gives_back_all_registers() {
    let context = std::mem::offset_of!(libc::ucontext_t, uc_mcontext);
    let at = |register: i32| (context / 8) + register as usize;
    let mut words = vec![0; 64];
    words[at(libc::REG_RIP)] = 0x5000;
    words[at(libc::REG_RSP)] = BASE + 256;
    words[at(libc::REG_RBP)] = 11;
    words[at(libc::REG_RAX)] = 12;
    words[at(libc::REG_R15)] = 13;
    words[at(libc::REG_RCX)] = 14;
    words[32] = 0x6000;
    let mut unwinding = start(0x1000, 0);
    let mut asked = Vec::new();
    let stop = run(&mut unwinding, &words, |address| {
        asked.push(address);
        match asked.len() {
            1 => Way::Rule(Rule::SignalFrame),
            2 => Way::Rule(plain(0)),
            _ => Way::Wanted(0),
        }
    });
    assert_eq!(stop, Stop::Wanted(0));
    assert_eq!(
        unwinding.frames,
        [0x1000, 0x5001, 0x6000],
        "one behind what was interrupted, as behind a call: at a function's first instruction it is not the function before"
    );
    assert_eq!(
        asked,
        [0x1000, 0x5000, 0x5fff],
        "what was interrupted is no call"
    );

    let mut unwinding = start(0x1000, 0);
    run(&mut unwinding, &words, |address| match address {
        0x1000 => Way::Rule(Rule::SignalFrame),
        _ => Way::Wanted(0),
    });
    let other = |number| unwinding.registers.get(Register::Other(number));
    assert_eq!((other(0), other(15), other(2)), (Ok(12), Ok(13), Ok(14)));
    assert_eq!(unwinding.registers.get(FP), Ok(11));
}

#[test]
fn stacks_that_contradict_the_rules_end() {
    // A CFA below the frame, memory that is not there, behind the copy and far away.
    let below = frame(Cfa::Offset(SP, -8), Saved::Same);
    for (rule, expected) in [
        (below, end(UserEnd::StackOrder)),
        (plain(1000), Stop::End(Ending::CopyEnds)),
        (plain(1 << 30), end(UserEnd::BadMemory)),
        (
            frame(Cfa::Offset(FP, 16), Saved::Same),
            end(UserEnd::StackOrder),
        ),
        (Rule::None, end(UserEnd::NoRule)),
    ] {
        let mut unwinding = start(0x1000, 1);
        assert_eq!(
            run(&mut unwinding, &[0; 8], |_| Way::Rule(rule)),
            expected,
            "{rule:?}"
        );
        assert_eq!(unwinding.frames, [0x1000]);
    }
}

#[test]
fn there_are_no_more_frames_than_a_record_holds() {
    let mut unwinding = start(0x1000, 0);
    let words: Vec<u64> = (0..400).map(|word| 0x2000 + word).collect();
    let stop = run(&mut unwinding, &words, |_| Way::Rule(plain(0)));
    assert_eq!(stop, end(UserEnd::Limit));
    assert_eq!(unwinding.frames.len(), MAX_FRAMES);
}

/// Any bytes and any rules: it ends, within the frames that there may be, and the stack pointer has only grown.
#[test]
fn random_stacks_end() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..2000 {
        let words: Vec<u64> = (0..random() % 64)
            .map(|_| match random() % 3 {
                0 => BASE + random() % 512,
                1 => random() % 0x10_0000,
                _ => random(),
            })
            .collect();
        let rules: Vec<Rule> = (0..16)
            .map(|_| {
                let offset = (random() % 128) as i32 - 16;
                let register =
                    [SP, FP, Register::Other((random() % 256) as u8)][(random() % 3) as usize];
                let saved = [
                    Saved::Same,
                    Saved::Undefined,
                    Saved::AtCfa(-offset),
                    Saved::At(register, offset),
                    Saved::In(register),
                ][(random() % 5) as usize];
                match random() % 6 {
                    0 => Rule::FramePointer,
                    1 => frame(Cfa::Plt { pushed_at: 7 }, saved),
                    2 => frame(
                        Cfa::Deref {
                            base: register,
                            at: offset,
                            plus: 8,
                        },
                        saved,
                    ),
                    _ => frame(Cfa::Offset(register, offset), saved),
                }
            })
            .collect();
        let mut unwinding = start(random(), BASE + random() % 512);
        let mut steps = 0;
        run(&mut unwinding, &words, |address| {
            steps += 1;
            Way::Rule(rules[address as usize % rules.len()])
        });
        assert!(steps <= MAX_FRAMES && unwinding.frames.len() == steps);
    }
}
