use super::*;

fn assert_kept(rule: Rule) {
    assert_eq!(decode(encode(rule)), rule);
}

#[test]
fn rules_without_operands_are_kept() {
    for rule in [Rule::None, Rule::End, Rule::FramePointer, Rule::SignalFrame] {
        assert_kept(rule);
    }
    for kind in Unsupported::ALL {
        assert_kept(Rule::Unsupported(kind));
    }
}

#[test]
fn a_value_of_zeros_is_no_rule() {
    assert_eq!(decode(abi::Rule::default()), Rule::None);
}

#[test]
fn every_part_of_a_frame_is_kept_up_to_its_bounds() {
    let registers = [
        Register::StackPointer,
        Register::FramePointer,
        Register::Other(0),
        Register::Other(16),
        Register::Other(255),
    ];
    let offsets = [i32::MIN, -16, 0, 8, i32::MAX];
    let mut cfas = vec![
        Cfa::Plt { pushed_at: 11 },
        Cfa::Deref {
            base: Register::Other(10),
            at: -8,
            plus: i32::MIN,
        },
    ];
    let mut places = vec![Saved::Same, Saved::Undefined];
    for register in registers {
        places.push(Saved::In(register));
        for offset in offsets {
            cfas.push(Cfa::Offset(register, offset));
            places.push(Saved::At(register, offset));
        }
    }
    places.extend(offsets.map(Saved::AtCfa));
    for &cfa in &cfas {
        for &frame_pointer in &places {
            for &return_address in &places {
                for is_signal in [false, true] {
                    assert_kept(Rule::Frame(Frame {
                        cfa,
                        frame_pointer,
                        return_address,
                        is_signal,
                    }));
                }
            }
        }
    }
}
