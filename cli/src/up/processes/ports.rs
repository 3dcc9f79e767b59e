//! Ports of nodes: chosen once, kept, and chosen anew only where somebody else has
//! taken one in the meantime.
//!
//! They are taken from below the range from which systems give ports to outgoing
//! connections, so that a node that restarts finds its own still free.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use chord_api::host::descriptors;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Ephemeral ports begin at 32768 on Linux, at 49152 on macOS.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
const TRIES: usize = 500;

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

/// The ports of all nodes that ever were; `run/ports.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortBook(BTreeMap<u32, Ports>);

impl PortBook {
    /// What an ordinal has.
    pub fn get(&self, ordinal: u32) -> Option<Ports> {
        self.0.get(&ordinal).copied()
    }

    /// The ports for a node that is about to start: its own where they are free.
    /// True when they are other ones than before.
    pub fn claim(&mut self, ordinal: u32) -> std::io::Result<(Ports, bool)> {
        if let Some(ports) = self.get(ordinal)
            && is_free(ports.client)?
            && is_free(ports.peer)?
        {
            return Ok((ports, false));
        }
        let next = || self.pick(ordinal);
        let client = next()?;
        let mut peer = next()?;
        while peer == client {
            peer = next()?;
        }
        let ports = Ports { client, peer };
        self.0.insert(ordinal, ports);
        Ok((ports, true))
    }

    /// A free port that no other node has.
    fn pick(&self, ordinal: u32) -> std::io::Result<u16> {
        let taken = |port: u16| {
            self.0
                .iter()
                .any(|(other, p)| *other != ordinal && (p.client == port || p.peer == port))
        };
        // Fresh each time: ports that others hardly try.
        let mut rng = rand::rng();
        for _ in 0..TRIES {
            let port = rng.random_range(RANGE);
            if !taken(port) && is_free(port)? {
                return Ok(port);
            }
        }
        Err(std::io::Error::other(format!(
            "no free port between {} and {}",
            RANGE.start, RANGE.end
        )))
    }
}

/// Whether nobody listens on a port. That this process cannot look is no answer: a node
/// would be given other ports for it.
fn is_free(port: u16) -> std::io::Result<bool> {
    match TcpListener::bind(loopback(port)) {
        Ok(_) => Ok(true),
        Err(e) if descriptors::exhausted(&e) => Err(e),
        Err(_) => Ok(false),
    }
}

/// An address on loopback.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_until_somebody_else_has_them() {
        let mut book = PortBook::default();
        let (first, new) = book.claim(0).unwrap();
        assert!(new);
        assert_ne!(first.client, first.peer);
        let (other, _) = book.claim(1).unwrap();
        let all =
            std::collections::BTreeSet::from([first.client, first.peer, other.client, other.peer]);
        assert_eq!(all.len(), 4);
        assert_eq!(book.claim(0).unwrap(), (first, false));
        let _squatter = TcpListener::bind(loopback(first.client)).unwrap();
        let (second, new) = book.claim(0).unwrap();
        assert!(new);
        assert_ne!(second.client, first.client);
    }
}
