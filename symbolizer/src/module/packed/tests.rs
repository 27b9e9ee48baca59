use super::*;

fn frame(name: Option<&Name>, source: Source, column: u32) -> Frame {
    Frame {
        name: name.cloned(),
        file: None,
        line: 7,
        column,
        inlined: source == Source::Dwarf,
        source,
    }
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let mut packed = Packed::default();
    let names = [Name::new("a"), Name::new("b")];
    let file = SourceFile::new("/f.c");
    let mut kept = Vec::new();
    for (at, &source) in SOURCES.iter().enumerate() {
        let mut inner = frame(names.get(at % 3), source, at as u32);
        inner.file = (at % 2 == 0).then(|| file.clone());
        let frames = [inner, frame(None, source, (1 << 24) - 1)];
        kept.push((packed.keep(&frames).expect("kept"), frames));
    }
    for (span, frames) in &kept {
        assert_eq!(packed.frames(*span)[..], frames[..]);
    }
    let nothing = packed.keep(&[]).expect("kept");
    assert!(packed.frames(nothing).is_empty());
}

#[test]
fn the_same_answer_again_takes_no_room() {
    let mut packed = Packed::default();
    let name = Name::new("a");
    let frames = [frame(Some(&name), Source::SymbolTable, 0)];
    packed.keep(&frames).expect("kept");
    let before = packed.frames.len();
    let again = packed.keep(&frames).expect("kept");
    assert_eq!(packed.frames.len(), before);
    assert_eq!(packed.frames(again)[..], frames[..]);
    // One that only begins in the same way is another one.
    let longer = [frames[0].clone(), frame(None, Source::Dwarf, 1)];
    let span = packed.keep(&longer).expect("kept");
    assert_eq!(packed.frames(span)[..], longer[..]);
}

#[test]
fn answers_share_the_frames_around_them() {
    let mut packed = Packed::default();
    let names: Vec<_> = ["inner", "middle", "outer"].map(Name::new).into();
    let chain = |line, middle| {
        let mut frames = [
            frame(Some(&names[0]), Source::Dwarf, 1),
            frame(Some(&names[1]), Source::Dwarf, middle),
            frame(Some(&names[2]), Source::SymbolTable, 3),
        ];
        frames[0].line = line;
        frames
    };
    let asked = [(1, 2), (5, 2), (5, 9), (6, 2), (6, 2)];
    let kept: Vec<_> = asked
        .iter()
        .map(|&(line, middle)| packed.keep(&chain(line, middle)).expect("kept"))
        .collect();
    for (span, (line, middle)) in kept.iter().zip(asked) {
        assert_eq!(packed.frames(*span)[..], chain(line, middle)[..]);
    }
    // Three, an innermost one, two behind the same outermost one, the same again, and nothing.
    assert_eq!(packed.frames.len(), 3 + 1 + 2 + 2);
    // The frame around all of them alone is an answer of its own.
    let alone = packed.keep(&chain(1, 2)[2..]).expect("kept");
    assert_eq!(packed.frames(alone)[..], chain(1, 2)[2..]);
    assert_eq!(packed.frames.len(), 8);
}

#[test]
fn what_does_not_fit_is_not_kept() {
    let mut packed = Packed::default();
    let name = Name::new("a");
    let wide = [
        frame(Some(&name), Source::Dwarf, 1 << 24),
        frame(Some(&name), Source::Dwarf, 1),
    ];
    assert!(packed.keep(&wide).is_none());
    // What comes next is not mixed up with the half of it.
    let fits = [wide[1].clone()];
    let span = packed.keep(&fits).expect("kept");
    assert_eq!(packed.frames(span)[..], fits[..]);
}

/// A name may have been kept elsewhere, or before what was kept had to go: its number there says nothing here.
#[test]
fn a_name_is_found_by_itself_and_not_by_its_number_elsewhere() {
    let (mut one, mut other) = (Packed::default(), Packed::default());
    let names = [Name::new("a"), Name::new("b")];
    let of = |name| [frame(Some(name), Source::SymbolTable, 0)];
    one.keep(&of(&names[0])).expect("kept");
    one.keep(&of(&names[1])).expect("kept");
    let span = other.keep(&of(&names[1])).expect("kept");
    let first = other.keep(&of(&names[0])).expect("kept");
    assert_eq!(other.frames(span)[..], of(&names[1])[..]);
    assert_eq!(other.frames(first)[..], of(&names[0])[..]);
}
