//! Listening on all addresses, of either family.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_only_ipv4_is_heard_too() {
        let listener = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (called, heard) = tokio::join!(
            tokio::net::TcpStream::connect(("127.0.0.1", port)),
            listener.accept()
        );
        assert!(called.is_ok() && heard.is_ok());
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
