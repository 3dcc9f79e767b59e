//! Looking up names: the hosts file, `localhost`, then the name servers.
//!
//! Not with the system's `getaddrinfo`: the binaries of the images are static, and
//! glibc's loads libraries when it is called, which such a binary cannot do safely.
//! And not with hickory's resolver alone, which asks the name servers for whatever
//! family the hosts file does not name: what is in that file has to be found while no
//! name server can be reached.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::host::descriptors;

/// The most that a look-up takes, however patient a client is.
const AT_MOST: Duration = Duration::from_secs(5);

/// Looks names up for one client.
#[derive(Clone)]
pub struct Resolver(Arc<State>);

struct State {
    within: Duration,
    hosts_file: PathBuf,
    servers_file: PathBuf,
    /// parking_lot's mutexes, and not tokio's: nothing is awaited while they are held.
    hosts: Mutex<Option<(Seen, Arc<Hosts>)>>,
    servers: Mutex<Option<(Option<Seen>, Servers)>>,
}

/// What tells one writing of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

#[derive(Clone)]
struct Servers {
    resolver: TokioResolver,
    /// For people.
    names: String,
}

/// Why a name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up {name}: {why}")]
struct LookupFailed {
    name: String,
    why: String,
    /// Kept where it is about this process and not about the name.
    source: Option<io::Error>,
}

impl Resolver {
    /// One that has answered before a client which takes `connect` to connect gives
    /// up, so that the error says what was wrong.
    pub fn within(connect: Duration) -> Resolver {
        Resolver::with_files(connect, "/etc/hosts", "/etc/resolv.conf")
    }

    fn with_files(
        connect: Duration,
        hosts: impl Into<PathBuf>,
        servers: impl Into<PathBuf>,
    ) -> Resolver {
        Resolver(Arc::new(State {
            within: (connect * 4 / 5).min(AT_MOST),
            hosts_file: hosts.into(),
            servers_file: servers.into(),
            hosts: Mutex::default(),
            servers: Mutex::default(),
        }))
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, LookupFailed> {
        let host = name.trim_end_matches('.').to_ascii_lowercase();
        let found = self.0.in_hosts(&host);
        if !found.is_empty() {
            return Ok(found);
        }
        // RFC 6761: it is this machine, and no name server is asked.
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.0.ask(name).await
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

impl State {
    /// What the hosts file says of a name, in either family.
    fn in_hosts(&self, host: &str) -> Vec<IpAddr> {
        let Some(hosts) = self.hosts() else {
            return Vec::new();
        };
        let Ok(name) = host.parse::<DnsName>() else {
            return Vec::new();
        };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|family| hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|found| {
                let addresses = found.answers().iter().filter_map(|r| r.data.ip_addr());
                addresses.collect::<Vec<_>>()
            })
            .collect()
    }

    /// The hosts file as it is now. One that cannot be read leaves what was known.
    fn hosts(&self) -> Option<Arc<Hosts>> {
        let mut known = self.hosts.lock();
        let before = known.as_ref().map(|(_, hosts)| hosts.clone());
        let Some(now) = Seen::of(&self.hosts_file) else {
            return before;
        };
        match &*known {
            Some((seen, hosts)) if *seen == now => return Some(hosts.clone()),
            _ => {}
        }
        let Ok(text) = std::fs::read(&self.hosts_file) else {
            return before;
        };
        let mut hosts = Hosts::default();
        // A strange byte in a comment is no reason to know nobody.
        let text = String::from_utf8_lossy(&text);
        if hosts.read_hosts_conf(text.as_bytes()).is_err() {
            return before;
        }
        let hosts = Arc::new(hosts);
        *known = Some((now, hosts.clone()));
        Some(hosts)
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, LookupFailed> {
        let failed = |why: String, source| LookupFailed {
            name: name.to_string(),
            why,
            source,
        };
        let servers = self.servers().map_err(|e| {
            let why = format!("reading {}: {e}", self.servers_file.display());
            failed(why, scarce(&e))
        })?;
        let asked = &servers.names;
        match tokio::time::timeout(self.within, servers.resolver.lookup_ip(name)).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            Ok(Err(e)) if e.is_no_records_found() => {
                let why = format!("the name server ({asked}) knows no address of it");
                Err(failed(why, None))
            }
            Ok(Err(e)) => {
                let why = format!("asking the name server ({asked}): {e}");
                Err(failed(why, scarce(&e)))
            }
            Err(_) => {
                let why = format!(
                    "the name server ({asked}) does not answer within {} s, and {} does not name it",
                    self.within.as_secs_f32(),
                    self.hosts_file.display()
                );
                Err(failed(why, None))
            }
        }
    }

    /// The name servers as the system names them now: a machine that is carried to
    /// another network has others.
    fn servers(&self) -> io::Result<Servers> {
        let mut known = self.servers.lock();
        let now = Seen::of(&self.servers_file);
        match &*known {
            Some((seen, servers)) if *seen == now => return Ok(servers.clone()),
            _ => {}
        }
        let (config, mut options) = configuration(&self.servers_file)?;
        let names: Vec<String> = config
            .name_servers()
            .iter()
            .map(|server| server.ip.to_string())
            .collect();
        // The look-up has a time limit: one try must leave time for the others.
        options.timeout = options.timeout.min(self.within / 2);
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let servers = Servers {
            resolver: builder.build().map_err(io::Error::other)?,
            names: names.join(", "),
        };
        *known = Some((now, servers.clone()));
        Ok(servers)
    }
}

/// Whom to ask, and how. Where the file names no server, or is not there, that is the
/// one of this machine (resolv.conf(5)); certainly none that belongs to strangers.
fn configuration(file: &Path) -> io::Result<(ResolverConfig, ResolverOpts)> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let names_one = String::from_utf8_lossy(&text)
        .lines()
        .any(|line| line.trim_start().starts_with("nameserver"));
    if names_one {
        return parsed(&text);
    }
    let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
    let config = ResolverConfig::from_parts(None, vec![], vec![local]);
    Ok((config, ResolverOpts::default()))
}

#[cfg(not(target_vendor = "apple"))]
fn parsed(text: &[u8]) -> io::Result<(ResolverConfig, ResolverOpts)> {
    hickory_resolver::system_conf::parse_resolv_conf(text).map_err(io::Error::other)
}

/// There the file is a copy for people; the system is asked.
#[cfg(target_vendor = "apple")]
fn parsed(_: &[u8]) -> io::Result<(ResolverConfig, ResolverOpts)> {
    hickory_resolver::system_conf::read_system_conf().map_err(io::Error::other)
}

/// The error of want of file descriptors, if it is one: whoever asked for the name
/// has to know that it says nothing about the name.
fn scarce(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    descriptors::caused_by_exhaustion(error).then(|| io::Error::from(rustix::io::Errno::MFILE))
}

impl Seen {
    fn of(path: &Path) -> Option<Seen> {
        let found = std::fs::metadata(path).ok()?;
        Some(Seen {
            inode: found.ino(),
            size: found.size(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("within", &self.0.within)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server that nobody hears: packets to it are lost.
    const NOWHERE: &str = "nameserver 192.0.2.53\n";

    fn with(hosts: &str) -> (tempfile::TempDir, Resolver) {
        let dir = tempfile::tempdir().unwrap();
        let (file, servers) = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
        std::fs::write(&file, hosts).unwrap();
        std::fs::write(&servers, NOWHERE).unwrap();
        let resolver = Resolver::with_files(Duration::from_millis(500), file, servers);
        (dir, resolver)
    }

    async fn found(resolver: &Resolver, name: &str) -> Vec<String> {
        let found = resolver.look_up(name).await.unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn what_the_hosts_file_names_is_asked_of_nobody() {
        let text = "# \u{fc}\n10.0.0.7 files files.example # two names\n\
                    ::7 both\n10.0.0.8 both my_service\nnonsense line\n";
        let (_dir, resolver) = with(text);
        assert_eq!(found(&resolver, "files").await, ["10.0.0.7"]);
        assert_eq!(found(&resolver, "Files.Example.").await, ["10.0.0.7"]);
        assert_eq!(found(&resolver, "both").await, ["10.0.0.8", "::7"]);
        assert_eq!(found(&resolver, "my_service").await, ["10.0.0.8"]);
    }

    #[tokio::test]
    async fn the_hosts_file_is_read_again_when_it_changes() {
        let (dir, resolver) = with("10.0.0.7 files\n");
        assert_eq!(found(&resolver, "files").await, ["10.0.0.7"]);
        std::fs::write(dir.path().join("hosts"), "10.0.0.77 files\n").unwrap();
        assert_eq!(found(&resolver, "files").await, ["10.0.0.77"]);
        std::fs::remove_file(dir.path().join("hosts")).unwrap();
        assert_eq!(found(&resolver, "files").await, ["10.0.0.77"]);
    }

    #[tokio::test]
    async fn localhost_is_this_machine_whatever_the_files_say() {
        let (_dir, resolver) = with("\u{0}\u{1}");
        assert_eq!(found(&resolver, "localhost").await, ["127.0.0.1", "::1"]);
        assert_eq!(found(&resolver, "a.localhost").await, ["127.0.0.1", "::1"]);
        let nothing = Resolver::with_files(Duration::from_secs(1), "/none", "/none");
        assert_eq!(found(&nothing, "LocalHost").await, ["127.0.0.1", "::1"]);
    }

    #[tokio::test]
    async fn a_name_server_that_nobody_hears_is_named_in_the_error() {
        let (_dir, resolver) = with("10.0.0.7 files\n");
        let error = resolver.look_up("other.test").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("other.test"), "{text}");
        assert!(text.contains("192.0.2.53"), "{text}");
    }

    #[test]
    fn without_a_name_server_only_this_machine_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        let asked = || {
            let (config, _) = configuration(&file).unwrap();
            let servers = config.name_servers().iter().map(|s| s.ip.to_string());
            servers.collect::<Vec<_>>()
        };
        assert_eq!(asked(), ["127.0.0.1"]);
        std::fs::write(&file, "\u{0}search ..\n# nameserver\n").unwrap();
        assert_eq!(asked(), ["127.0.0.1"]);
    }
}
