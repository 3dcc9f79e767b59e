//! Where the other nodes are: a pattern that names them (their DNS names on
//! Kubernetes) or a file that lists them (processes on one machine).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use chord_types::Ordinal;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

/// The base URLs of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub client: String,
    pub peer: String,
}

/// Finds nodes by their ordinals.
pub enum AddressBook {
    /// `{ordinal}` stands for the number.
    Pattern { client: String, peer: String },
    /// A list in a file. (No lock of tokio's: nothing is awaited while it is held.)
    File(Mutex<AddressFile>),
}

/// A list in a file, and what was read of it.
pub struct AddressFile {
    path: PathBuf,
    seen: Option<Seen>,
    looked: Option<Instant>,
    known: BTreeMap<Ordinal, Address>,
}

/// What tells one writing of the file from the next: its time alone is too
/// coarse, and a file that is replaced has another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

#[derive(Deserialize)]
struct Listed {
    nodes: BTreeMap<String, ListedNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedNode {
    client_url: String,
    peer_url: String,
}

/// The file is looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl AddressBook {
    /// A book over a file of the form `{"nodes":{"0":{"clientUrl":…,"peerUrl":…}}}`.
    pub fn file(path: PathBuf) -> AddressBook {
        AddressBook::File(Mutex::new(AddressFile {
            path,
            seen: None,
            looked: None,
            known: BTreeMap::new(),
        }))
    }

    /// Where a node is, as far as is known.
    pub fn find(&self, ordinal: Ordinal) -> Option<Address> {
        match self {
            AddressBook::Pattern { client, peer } => {
                let fill = |pattern: &str| pattern.replace("{ordinal}", &ordinal.to_string());
                Some(Address {
                    client: fill(client),
                    peer: fill(peer),
                })
            }
            AddressBook::File(file) => {
                let mut file = file.lock();
                file.refresh();
                file.known.get(&ordinal).cloned()
            }
        }
    }
}

impl AddressFile {
    /// Reads the file again if it changed; what cannot be read leaves what was known.
    fn refresh(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let changed = std::fs::metadata(&self.path).ok().map(|m| Seen {
            inode: m.ino(),
            size: m.size(),
            changed: (m.mtime(), m.mtime_nsec()),
        });
        if changed.is_some() && changed == self.seen {
            return;
        }
        let Ok(text) = std::fs::read(&self.path) else {
            return;
        };
        match serde_json::from_slice::<Listed>(&text) {
            Ok(listed) => {
                self.seen = changed;
                self.known = listed
                    .nodes
                    .into_iter()
                    .filter_map(|(ordinal, node)| {
                        let address = Address {
                            client: node.client_url,
                            peer: node.peer_url,
                        };
                        Some((Ordinal(ordinal.parse().ok()?), address))
                    })
                    .collect();
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the list of nodes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_filled_in() {
        let book = AddressBook::Pattern {
            client: "http://files-{ordinal}.n.svc:8080".into(),
            peer: "http://files-{ordinal}.n.svc:8081".into(),
        };
        assert_eq!(
            book.find(Ordinal(7)).unwrap().peer,
            "http://files-7.n.svc:8081"
        );
    }

    #[test]
    fn a_file_replaced_within_one_tick_of_the_clock_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.json");
        let replace = |port: u16| {
            let text = format!(
                r#"{{"nodes":{{"1":{{"clientUrl":"http://a:{port}","peerUrl":"http://b:{port}"}}}}}}"#
            );
            let temporary = dir.path().join("nodes.tmp");
            std::fs::write(&temporary, text).unwrap();
            let file = std::fs::File::options()
                .write(true)
                .open(&temporary)
                .unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            // The old file is still there when the new one is made.
            std::fs::rename(&temporary, &path).unwrap();
        };
        replace(8081);
        let book = AddressBook::file(path.clone());
        assert_eq!(book.find(Ordinal(1)).unwrap().peer, "http://b:8081");
        replace(9081);
        if let AddressBook::File(file) = &book {
            file.lock().looked = None;
        }
        assert_eq!(book.find(Ordinal(1)).unwrap().peer, "http://b:9081");
    }

    #[test]
    fn a_half_written_file_leaves_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.json");
        std::fs::write(
            &path,
            r#"{"nodes":{"1":{"clientUrl":"http://a","peerUrl":"http://b","pid":3}}}"#,
        )
        .unwrap();
        let mut file = AddressFile {
            path: path.clone(),
            seen: None,
            looked: None,
            known: BTreeMap::new(),
        };
        file.refresh();
        assert_eq!(file.known[&Ordinal(1)].peer, "http://b");
        std::fs::write(&path, r#"{"nodes":{"#).unwrap();
        file.looked = None;
        file.seen = None;
        file.refresh();
        assert_eq!(file.known.len(), 1);
    }
}
