use super::*;

#[test]
fn a_length_that_leads_nowhere_is_the_end() {
    for length in [0_u16, 3, 200] {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([1, 0, 0, 0, 0, 0]);
        assert_eq!(attribute(&bytes, 2), None, "{length}");
    }
    for length in [0_u32, 15, 17, u32::MAX] {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(HEADER, 0);
        assert_eq!(split(&bytes), None, "{length}");
    }
}
