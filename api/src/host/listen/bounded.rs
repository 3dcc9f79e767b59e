//! A port that is shared by few and must not be taken by one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::Acceptor;
use crate::host::Descriptors;

/// The share of this process's file descriptors that its connections may take.
const SHARE_PERCENT: u64 = 10;
/// How long a connection may say nothing. Short, so that those who only hold one do not
/// keep the others out.
const SILENCE: Duration = Duration::from_secs(10);

/// A port for a few short requests, as of probes: with no more connections at once than
/// there are file descriptors for, of which those that say nothing end soon. More wait.
#[derive(Debug)]
pub struct Bounded {
    acceptor: Acceptor,
    address: SocketAddr,
    places: Arc<Semaphore>,
}

impl Bounded {
    /// Accepts what comes to this listener, `most` at once.
    pub fn new(listener: TcpListener, most: usize) -> io::Result<Bounded> {
        let connections = Descriptors::now().connections(SHARE_PERCENT, 1, most);
        Ok(Bounded {
            address: listener.local_addr()?,
            acceptor: Acceptor::new(listener),
            places: Arc::new(Semaphore::new(connections)),
        })
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed, so there is a place in the end.
        let place = self.places.clone().acquire_owned().await.ok();
        let stream = self.acceptor.next().await;
        let address = stream.peer_addr().unwrap_or(self.address);
        let connection = Connection {
            stream,
            silence: Box::pin(sleep(SILENCE)),
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection that ends when it has been silent for too long.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                let until = Instant::now() + SILENCE;
                self.silence.as_mut().reset(until);
                Poll::Ready(read)
            }
            Poll::Pending if self.silence.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn who_only_holds_connections_does_not_keep_the_probes_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bounded = Bounded::new(listener, 2).unwrap();
        let address = bounded.address;
        let app = axum::Router::new().route("/livez", axum::routing::get(async || "ok"));
        tokio::spawn(async move { axum::serve(bounded, app).await });
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        probe.write_all(request).await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
    }
}
