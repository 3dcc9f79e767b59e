//! Listening: on all addresses of either family, and without an end.

mod bounded;

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

pub use bounded::{Bounded, Connection};

/// The pause after a connection could not be accepted: others may end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is told that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Listens. `[::]` stands for every address of either family; on a machine without
/// IPv6 that is every address of the other one.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(e) => match without_ipv6(address, e.kind()) {
            Some(other) => TcpListener::bind(other).await.map_err(|_| e),
            None => Err(e),
        },
    }
}

/// Where to listen instead, where an address cannot be had for want of its family.
fn without_ipv6(address: SocketAddr, why: ErrorKind) -> Option<SocketAddr> {
    let other_reason = matches!(why, ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
    let all = address.is_ipv6() && address.ip().is_unspecified();
    (all && !other_reason)
        .then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
}

/// A port that goes on accepting, whatever becomes of single connections. A listening
/// socket does not break: an error is about the connection (it is gone already) or
/// about this process (it has no file descriptor left), and both pass.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    /// When the log last said that none can be accepted.
    warned: Option<Instant>,
}

impl Acceptor {
    /// Accepts what comes to this listener.
    pub fn new(listener: TcpListener) -> Acceptor {
        Acceptor {
            listener,
            warned: None,
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. Nothing is lost when this is dropped before it is done.
    pub async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(e) if is_gone(e.kind()) => {}
                Err(error) => {
                    if self.warned.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        self.warned = Some(Instant::now());
                        tracing::warn!(%error, "connections cannot be accepted at present");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether the connection went before it was accepted.
fn is_gone(why: ErrorKind) -> bool {
    matches!(
        why,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_only_ipv4_is_heard_too() {
        let listener = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut acceptor = Acceptor::new(listener);
        let (called, _heard) = tokio::join!(
            tokio::net::TcpStream::connect(("127.0.0.1", port)),
            acceptor.next()
        );
        assert!(called.is_ok());
    }

    #[test]
    fn only_want_of_ipv6_leads_elsewhere() {
        let instead = |address: &str, why| without_ipv6(address.parse().unwrap(), why);
        let all = "0.0.0.0:8080".parse().ok();
        assert_eq!(instead("[::]:8080", ErrorKind::AddrNotAvailable), all);
        assert_eq!(instead("[::]:8080", ErrorKind::Unsupported), all);
        assert_eq!(instead("[::]:8080", ErrorKind::AddrInUse), None);
        assert_eq!(instead("[::1]:8080", ErrorKind::AddrNotAvailable), None);
        assert_eq!(instead("10.0.0.1:80", ErrorKind::AddrNotAvailable), None);
    }
}
