//! An observer that comes late says what is right, or that it does not know.

use super::{super::*, block, corpus, is};

#[test]
fn what_was_inserted_since_is_known() {
    let mut decoder = Decoder::joined();
    // Old entries are unknown: a field, and a name with a new value.
    assert_eq!(
        block(&mut decoder, b"\xbe\xc0\x82"),
        Ok(vec![
            (Name::Unknown, None),
            (Name::Unknown, None),
            is(Name::Method, "GET")
        ])
    );
    assert_eq!(
        block(&mut decoder, b"\x7e\x02/a\x44\x02/b"),
        Ok(vec![(Name::Unknown, None), is(Name::Path, "/b")])
    );
    // The newest is known, the one before has an unknown name, and those before are the old ones.
    assert_eq!(
        block(&mut decoder, b"\xbe\xbf\xc0"),
        Ok(vec![
            is(Name::Path, "/b"),
            (Name::Unknown, None),
            (Name::Unknown, None)
        ])
    );
}

#[test]
fn an_emptied_table_is_known_whole() {
    let mut decoder = Decoder::joined();
    block(&mut decoder, b"\x20\x3f\xe1\x1f\x44\x02/b").expect("a block");
    assert_eq!(block(&mut decoder, b"\xbe"), Ok(vec![is(Name::Path, "/b")]));
    assert_eq!(block(&mut decoder, b"\xbf"), Err(Error::Index(63)));
}

#[test]
fn a_story_read_from_anywhere_is_right_or_unknown() {
    let stories = corpus::stories();
    if stories.is_empty() {
        println!("skipped: a_story_read_from_anywhere_is_right_or_unknown (no corpus)");
        return;
    }
    let (mut known, mut unknown) = (0_u64, 0_u64);
    for (path, cases) in &stories {
        for start in [1, 2, 3, 5, 8, 20, 50] {
            let mut decoder = Decoder::joined();
            for (number, case) in cases.iter().enumerate().skip(start) {
                let read = block(&mut decoder, &case.wire).expect("a block");
                assert_eq!(read.len(), case.expected.len());
                for (read, expected) in read.iter().zip(&case.expected) {
                    if read.0 == Name::Unknown {
                        assert_eq!(read.1, None);
                        unknown += 1;
                    } else {
                        assert_eq!(read, expected, "{} case {number}", path.display());
                        known += 1;
                    }
                }
            }
        }
    }
    println!("{known} fields known, {unknown} unknown");
    assert!(known > unknown);
}
