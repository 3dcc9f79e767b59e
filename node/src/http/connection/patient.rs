//! A client's TCP connection, with two habits added.
//!
//! It ends slowly: after the last answer it is only closed for writing, and what
//! still comes is read away for a while. To close it at once while the client is
//! sending would make the kernel reset it, and the reset would take the answer
//! away before the client has read it. And it does not wait for ever for a
//! client that takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::bound::Leave;

/// How long a client may go on sending after the last answer.
const LINGER: Duration = Duration::from_secs(10);
/// How long it may send nothing then without ending the connection.
const LINGER_SILENCE: Duration = Duration::from_secs(1);

/// A connection with these habits.
pub(super) struct Patient {
    stream: TcpStream,
    /// How long a client may take nothing.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
    /// Somebody else waits for its place: it does not end slowly then.
    leave: Option<Arc<Leave>>,
}

struct Linger {
    until: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Patient {
    pub(super) fn new(stream: TcpStream, stall: Duration, leave: Option<Arc<Leave>>) -> Patient {
        Patient {
            stream,
            stall,
            stalled: None,
            linger: None,
            leave,
        }
    }

    /// Makes the end of this connection a reset, so that nobody takes what was
    /// sent for whole.
    pub(super) fn reset(&self) {
        // If it is gone already there is nothing left to reset.
        let _ = self.stream.set_zero_linger();
    }

    /// Notes what became of a write: a client that takes nothing for too long is given up.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing",
        )))
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            until: Instant::now() + LINGER,
            silence: Box::pin(tokio::time::sleep(LINGER_SILENCE)),
        });
        // A task may not read for ever without letting others run.
        for _ in 0..16 {
            let mut space = [0u8; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= linger.until {
                        return Poll::Ready(());
                    }
                    linger
                        .silence
                        .as_mut()
                        .reset(linger.until.min(now + LINGER_SILENCE));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return linger.silence.as_mut().poll(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.leave.as_ref().is_some_and(|leave| leave.is_asked()) {
            return Poll::Ready(Ok(()));
        }
        this.drain(cx).map(Ok)
    }
}
