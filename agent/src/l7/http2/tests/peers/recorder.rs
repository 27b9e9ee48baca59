//! Writes down what goes through one end of a connection.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{super::tape::Tape, Direction};

pub(super) struct Recorder {
    io: DuplexStream,
    tape: Arc<Mutex<Tape>>,
}

pub(super) fn recorded(io: DuplexStream) -> (Recorder, Arc<Mutex<Tape>>) {
    let tape = Arc::default();
    let recorder = Recorder {
        io,
        tape: Arc::clone(&tape),
    };
    (recorder, tape)
}

impl Recorder {
    fn record(&self, direction: Direction, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.tape.lock().expect("a tape").call(direction, bytes);
        }
    }
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.record(Direction::RECEIVED, &buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        self.record(Direction::SENT, &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
