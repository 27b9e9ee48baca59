use super::*;
use crate::net::sockets::Listed;

#[test]
fn only_what_is_not_shown_is_told_of() {
    assert_eq!(Unshown::default().texts().count(), 0);
    let counts = existing::Counts {
        unlisted: 5,
        listed: Listed {
            incomplete: 2,
            ..Listed::default()
        },
        ..existing::Counts::default()
    };
    let unshown = Unshown {
        beyond: 7,
        ..Unshown::of(&counts)
    };
    let texts: Vec<String> = unshown.texts().collect();
    for (text, (start, part)) in texts.iter().zip([
        ("5 connections from before ", " 32768 are listed "),
        ("2 network namespaces ", " in full, and "),
        ("7 connections are shown ", " 131072 open ones "),
    ]) {
        assert!(text.starts_with(start) && text.contains(part), "{text}");
    }
    assert_eq!(texts.len(), 3);
}
