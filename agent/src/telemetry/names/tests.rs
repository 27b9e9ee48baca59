use super::*;

#[test]
fn names_keep_their_numbers_and_the_rest_is_counted() {
    let mut names = Names::new(2);
    let a = names.number("a", Claim::Likely).expect("room");
    let b = names.number("b", Claim::Likely).expect("room");
    assert_ne!(a, b);
    assert_eq!(names.number("c", Claim::Likely), None);
    assert_eq!(names.number("c", Claim::Likely), None);
    assert_eq!(
        names.number("a", Claim::Doubtful),
        Some(a),
        "known ones stay"
    );
    assert_eq!(names.refused(), 2);
    assert_eq!(names.name(b).map(AsRef::as_ref), Some("b"));
}

#[test]
fn what_is_not_there_leaves_room_for_what_is() {
    let mut names = Names::new(10);
    let taken = (0..100)
        .filter_map(|number| names.number(&format!("guess {number}"), Claim::Doubtful))
        .count();
    assert_eq!((taken, names.refused()), (5, 95));
    for number in 0..5 {
        let served = names.number(&format!("served {number}"), Claim::Likely);
        assert!(served.is_some(), "{number}");
    }
    assert_eq!(names.number("one more", Claim::Likely), None);
}

#[test]
fn what_the_user_asked_for_has_room_of_its_own() {
    let mut names = Names::new(1);
    assert!(names.number("user's", Claim::Certain).is_some());
    assert!(names.number("guessed", Claim::Likely).is_some());
    assert!(names.number("user's other", Claim::Certain).is_some());
    assert_eq!(names.number("guessed, too", Claim::Likely), None);
}
