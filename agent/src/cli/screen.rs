//! The terminal while a table is shown: another screen, without a cursor, and left as it was found.

use std::{
    io::{self, Write as _, stdin, stdout},
    panic,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize,
        tcsetattr,
    },
};

/// The alternate screen, no cursor, and no wrapping of lines that are too long (xterm's control sequences).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// `_POSIX_VDISABLE` of Linux: no key has this meaning.
const DISABLED: u8 = 0;

/// What a terminal that does not know its size is taken for.
const SIZE: Size = Size {
    rows: 24,
    columns: 80,
};

/// Of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Size {
    pub(in crate::cli) rows: usize,
    pub(in crate::cli) columns: usize,
}

/// The size of the terminal on standard output now.
pub(in crate::cli) fn size() -> Size {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Size {
            rows: size.ws_row.into(),
            columns: size.ws_col.into(),
        },
        _ => SIZE,
    }
}

/// The terminal, from its taking to its giving back.
pub(in crate::cli) struct Screen {
    /// How keys were read before, where there are any.
    keys: Option<Termios>,
}

impl Screen {
    /// Takes the terminal on standard output.
    ///
    /// # Errors
    /// Where it can't be written to.
    pub(in crate::cli) fn enter() -> io::Result<Self> {
        write(ENTER)?;
        // A build that aborts on a panic drops nothing.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = write(LEAVE);
            before(info);
        }));
        let keys = isatty(stdin()).then(|| tcgetattr(stdin()).ok()).flatten();
        if let Some(before) = &keys {
            let mut keys = before.clone();
            // Each key at once, and not shown; Ctrl-C stays what it is, and Ctrl-Z would leave the shell without a cursor.
            keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            keys.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
            let _ = tcsetattr(stdin(), OptionalActions::Now, &keys);
        }
        Ok(Self { keys })
    }

    /// Shows these lines, of which the one with the number `heading` stands out.
    ///
    /// # Errors
    /// Where the terminal can't be written to.
    pub(in crate::cli) fn draw(&self, lines: &[String], heading: usize) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                frame.push_str("\r\n");
            }
            // Each line is cleared behind its end: no flicker, unlike clearing all of them first.
            let (on, off) = if number == heading {
                ("\x1b[7m", "\x1b[0m")
            } else {
                ("", "")
            };
            frame.extend([on, line, off, "\x1b[K"]);
        }
        frame.push_str("\x1b[J");
        write(&frame)
    }

    /// Whether `q` was pressed.
    pub(in crate::cli) fn is_left(&self) -> bool {
        if self.keys.is_none() {
            return false;
        }
        let mut is_left = false;
        let mut bytes = [0; 64];
        while has_input() {
            match rustix::io::read(stdin(), &mut bytes) {
                Ok(length @ 1..) => {
                    is_left |= bytes
                        .iter()
                        .take(length)
                        .any(|key| matches!(key, b'q' | b'Q'));
                }
                _ => break,
            }
        }
        is_left
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
        if let Some(before) = &self.keys {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

fn has_input() -> bool {
    let input = stdin();
    let mut wait = [PollFd::new(&input, PollFlags::IN)];
    let at_once = Timespec::try_from(Duration::ZERO).ok();
    poll(&mut wait, at_once.as_ref()).is_ok_and(|ready| ready > 0)
        && wait[0].revents().contains(PollFlags::IN)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
