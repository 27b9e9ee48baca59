//! Parts of a table of strings that were read of late. Functions that lie side by side have names that do, or some rows of them that do: a
//! linker that works in parallel writes as many as it has threads.

/// What was read. It is small, and for a while: nothing is kept in it from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// Each at the one place that its offset leads to.
    places: Vec<Window>,
    was_asked: bool,
}

#[derive(Debug, Default)]
struct Window {
    /// Its number, counted from 1 on; 0 for none.
    number: u64,
    bytes: Vec<u8>,
}

const SIZE: u64 = 1 << 12;
/// Each has so much of the next one, so that most strings are whole.
const OVERLAP: u64 = 1 << 8;
const PLACES: usize = 64;

impl Windows {
    /// The string at an offset of a table of `size` bytes, up to its zero. `read` fills a buffer from an offset on. None for the first
    /// string of all, as whoever wants no other is better off without, and for one that is too long.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn string<E>(
        &mut self,
        at: u64,
        size: u64,
        read: impl FnOnce(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<&[u8]>, E> {
        if !std::mem::replace(&mut self.was_asked, true) || at >= size {
            return Ok(None);
        }
        self.places.resize_with(PLACES, Window::default);
        let number = at / SIZE;
        let window = &mut self.places[(number % PLACES as u64) as usize];
        if window.number != number + 1 {
            window.number = 0;
            let start = number * SIZE;
            let length = (size - start).min(SIZE + OVERLAP);
            window.bytes.resize(length as usize, 0);
            read(start, &mut window.bytes)?;
            window.number = number + 1;
        }
        let string = window.bytes.get((at % SIZE) as usize..).unwrap_or_default();
        Ok(memchr::memchr(0, string).map(|end| &string[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every string of a table of many windows, in an order that goes to and fro.
    #[test]
    fn strings_are_those_of_the_table() {
        let mut table = Vec::new();
        let mut strings = Vec::new();
        for length in (0..700).chain((0..700).rev()) {
            strings.push((table.len() as u64, length));
            table.extend((0..length).map(|at| b'a' + (at % 26) as u8));
            table.push(0);
        }
        let mut windows = Windows::default();
        let (mut found, mut reads) = (0, 0);
        for &(at, length) in strings.iter().chain(strings.iter().rev()) {
            let string = windows.string(at, table.len() as u64, |from, into| {
                reads += 1;
                let from = from as usize;
                into.copy_from_slice(table.get(from..from + into.len()).ok_or("beyond")?);
                Ok::<_, &str>(())
            });
            if let Some(string) = string.expect("within") {
                assert_eq!(string.len(), length);
                found += 1;
            }
        }
        assert!(found > 2 * strings.len() * 9 / 10, "{found}");
        assert!(reads < 2 * table.len() / SIZE as usize + 4, "{reads}");
    }

    #[test]
    fn what_can_not_be_read_is_not_taken_for_read() {
        let mut windows = Windows::default();
        assert_eq!(windows.string(0, 9, |_, _| Err("first")), Ok(None));
        assert_eq!(windows.string(0, 9, |_, _| Err("lost")), Err("lost"));
        let zeros = |_, into: &mut [u8]| -> Result<(), &str> {
            into.fill(0);
            Ok(())
        };
        assert_eq!(windows.string(0, 9, zeros), Ok(Some(&b""[..])));
        assert_eq!(windows.string(9, 9, zeros), Ok(None));
        assert_eq!(windows.string(u64::MAX, 9, zeros), Ok(None));
    }
}
