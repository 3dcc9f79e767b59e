//! The folder of `chord up`: one supervisor at a time, and what it keeps there.
//!
//! ```text
//! lock              held while any process of the cluster lives
//! cluster.yaml      the manifest in force
//! given.yaml        the manifest that was last given with -f
//! secret            of this cluster, for its own processes
//! nodes/N/          the disk of node N
//! operator/         the view, the status, what the operator remembers
//! run/              ports, and who runs; room for writing on a full disk
//! logs/
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chord_api::host::Ballast;
use chord_api::host::ballast::{LEAVE, NEW_DISK, free};
use chord_api::host::replace::replace;
use chord_api::human;
use chord_api::retry::{self, BackoffBuilder as _};
use chord_operator::crd::{ChordCluster, parse_cluster_manifest};
use chord_operator::local::files::StatusFile;
use rand::RngCore;

use super::cluster_manifest::KeptManifests;
use crate::failure::{Code, Failure};

/// How long processes of a supervisor that was killed may take to end.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(5);

/// What our ballast holds, and the operator's of its own: the largest file that is
/// replaced, and as much again.
const BALLAST_BYTES: u64 = 512 * 1024;
/// What a new folder takes, without its nodes' disks.
const NEW_FOLDER: u64 = 2 * BALLAST_BYTES + LEAVE;

/// What the lock of a folder of ours says.
const MARK: &str = "chord up keeps a cluster in this folder\n";

/// A folder that is ours alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
    ballast: Ballast,
}

/// Says that there is no room for a new folder with so many nodes, before anything of it
/// is made.
pub fn room_for_new(path: &Path, nodes: u32) -> Result<(), Failure> {
    let there = path.ancestors().find(|folder| folder.exists());
    // A relative folder of one part has an empty parent.
    let there = there.filter(|folder| !folder.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    let free = free(there).map_err(|e| cannot_read(there, &e))?;
    let needed = NEW_FOLDER + u64::from(nodes) * NEW_DISK;
    if free >= needed {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "cannot make the folder {}: {nodes} new nodes need {} there, and {} are free: make room, or choose another --dir",
        path.display(),
        human::size(needed),
        human::size(free)
    )))
}

impl Folder {
    /// Takes the folder for this process.
    pub async fn take(path: &Path) -> Result<Folder, Failure> {
        let cannot = |doing: &str, e: std::io::Error| {
            Failure::failed(format!("cannot {doing} the folder {}: {e}", path.display()))
        };
        std::fs::create_dir_all(path).map_err(|e| cannot("make", e))?;
        let path = path.canonicalize().map_err(|e| cannot("find", e))?;
        only_ours(&path)?;
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|e| cannot("lock", e))?;
        lock.write_all(MARK.as_bytes())
            .map_err(|e| cannot("lock", e))?;
        // As a port that is taken: with another one, or later, it works.
        let busy = |why: String| {
            let folder = path.display();
            let words = format!("the folder {folder} is {why}, or choose another --dir");
            Failure::new(Code::Unavailable, words)
        };
        let mut pauses = retry::soon(WAIT_FOR_LOCK).build();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let owner = std::fs::read_to_string(path.join("run/supervisor.pid"))
                        .unwrap_or_default();
                    let owner = owner.trim();
                    if runs(owner) {
                        return Err(busy(format!(
                            "in use by another `chord up` (process {owner}): stop that one"
                        )));
                    }
                    let Some(pause) = pauses.next() else {
                        return Err(busy("still in use by a process that a `chord up` left behind (run/nodes.json names the nodes'): end it".into()));
                    };
                    tokio::time::sleep(pause).await;
                }
                Err(TryLockError::Error(e)) => return Err(cannot("lock", e)),
            }
        }
        for part in ["nodes", "operator", "run", "logs"] {
            std::fs::create_dir_all(path.join(part)).map_err(|e| cannot("make a part of", e))?;
        }
        let ballast = Ballast::new(path.join("run/ballast"), BALLAST_BYTES);
        let folder = Folder {
            path,
            lock,
            ballast,
        };
        folder
            .refill()
            .map_err(|e| cannot("set room aside for a full disk in", e))?;
        folder.write(
            "run/supervisor.pid",
            format!("{}\n", std::process::id()).as_bytes(),
        )?;
        Ok(folder)
    }

    /// Lets every process that is started from here on hold the lock too: it goes
    /// with the last of them, so that no disk is ever opened twice.
    pub fn share_lock(&self) -> Result<(), Failure> {
        rustix::io::fcntl_setfd(&self.lock, rustix::io::FdFlags::empty()).map_err(|e| {
            Failure::failed(format!(
                "cannot lock the folder {}: {}",
                self.path.display(),
                std::io::Error::from(e)
            ))
        })
    }

    /// Does what needs some room, in that of the ballast where there is no other.
    pub fn with_room<T>(&self, work: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
        self.ballast.with(1, work)
    }

    /// Takes back what was given of the ballast, where there is room for it.
    pub fn refill(&self) -> std::io::Result<()> {
        self.ballast.fill().map(|_| ())
    }

    /// A path in the folder.
    pub fn at(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    /// The disk of a node.
    pub fn disk(&self, ordinal: u32) -> PathBuf {
        self.at("nodes").join(ordinal.to_string())
    }

    /// The manifests that were kept; `None` in a new folder.
    pub fn kept(&self) -> Result<Option<KeptManifests>, Failure> {
        let Some(current) = self.manifest("cluster.yaml")? else {
            if !self.disks()?.is_empty() {
                // A new identity would make strangers of the disks.
                return Err(Failure::failed(format!(
                    "{} holds disks of nodes but cluster.yaml, which says whose they are, is gone: put it back, or choose another --dir",
                    self.path.display()
                )));
            }
            return Ok(None);
        };
        if current.metadata.uid.is_none() {
            return Err(Failure::failed(format!(
                "{} is not the one that chord up wrote: it has no metadata.uid, which says whose the disks are; \
                 put that one back and give this one with -f, or choose another --dir",
                self.at("cluster.yaml").display()
            )));
        }
        let nodes = self.status()?.status.desired_nodes;
        Ok(Some(KeptManifests {
            current,
            given: self.manifest("given.yaml")?,
            nodes: (nodes > 0).then_some(nodes),
        }))
    }

    /// What the operator last wrote of the cluster's state; nothing where it has not, or
    /// where that makes no sense.
    pub fn status(&self) -> Result<StatusFile, Failure> {
        let path = self.at("operator/status.json");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(StatusFile::default()),
            Err(e) => Err(cannot_read(&path, &e)),
        }
    }

    /// The ordinals of which there is a disk. That the folder cannot be read is not that
    /// it is empty: whoever takes a disk for lost gives it up.
    pub fn disks(&self) -> Result<BTreeSet<u32>, Failure> {
        let path = self.at("nodes");
        let read = || -> std::io::Result<BTreeSet<u32>> {
            let mut disks = BTreeSet::new();
            for entry in std::fs::read_dir(&path)? {
                let name = entry?.file_name();
                disks.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
            }
            Ok(disks)
        };
        read().map_err(|e| cannot_read(&path, &e))
    }

    /// The manifest in force.
    pub fn current(&self) -> Result<ChordCluster, Failure> {
        self.manifest("cluster.yaml")?.ok_or_else(|| {
            Failure::failed(format!("{} is gone", self.at("cluster.yaml").display()))
        })
    }

    fn manifest(&self, part: &str) -> Result<Option<ChordCluster>, Failure> {
        let path = self.at(part);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(cannot_read(&path, &e)),
        };
        parse_cluster_manifest(&text)
            .map(Some)
            .map_err(|e| Failure::failed(format!("{} cannot be read:\n{e}", path.display())))
    }

    /// Stores a manifest.
    pub fn write_manifest(&self, part: &str, cluster: &ChordCluster) -> Result<(), Failure> {
        let text = serde_yaml::to_string(cluster)
            .map_err(|e| Failure::failed(format!("the manifest cannot be written: {e}")))?;
        self.write(part, text.as_bytes())
    }

    /// The secret of the cluster's own processes; made at the first start.
    pub fn secret(&self) -> Result<String, Failure> {
        let path = self.at("secret");
        match std::fs::read_to_string(&path) {
            Ok(secret) if secret.trim().len() >= 32 => return Ok(secret.trim().to_string()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(cannot_read(&path, &e)),
        }
        let mut bytes = [0u8; 32];
        // Fresh each time: a secret.
        rand::rng().fill_bytes(&mut bytes);
        let secret = hex::encode(bytes);
        self.write("secret", secret.as_bytes())?;
        Ok(secret)
    }

    /// Stores a file of the folder whole or not at all, for us alone to read.
    pub fn write(&self, part: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.at(part);
        replace(&path, bytes, 0o600, &self.ballast)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))
    }

    /// Deletes the disk of a node. It is renamed first, so that half of one is never
    /// taken for a disk.
    pub fn delete_disk(&self, ordinal: u32) -> std::io::Result<()> {
        let doomed = self.at("nodes").join(format!(
            ".deleted-{ordinal}-{}",
            uuid::Uuid::new_v4().simple()
        ));
        match std::fs::rename(self.disk(ordinal), &doomed) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        remove(&doomed)
    }

    /// Ends deletions that were cut short.
    pub fn finish_deletions(&self) {
        for entry in std::fs::read_dir(self.at("nodes"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(".deleted-") {
                let _ = remove(&entry.path());
            }
        }
    }
}

fn cannot_read(path: &Path, e: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {e}", path.display()))
}

/// Takes a folder away; of a link just the link, since what it leads to was put
/// there by somebody.
fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

/// A folder with other things in it is somebody's: `--dir .` must not scatter ours
/// among them, nor take a manifest that lies there for the one in force. Ours is one
/// whose lock says so; names alone (`logs`, `nodes`, `cluster.yaml`) say nothing.
fn only_ours(path: &Path) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| {
        Failure::failed(format!("cannot read the folder {}: {e}", path.display()))
    };
    match std::fs::read_to_string(path.join("lock")) {
        Ok(text) if text == MARK => return Ok(()),
        // Folders of before the lock said anything: the secret is as ours are.
        Ok(text) if text.is_empty() && has_secret(path) => return Ok(()),
        _ => {}
    }
    for entry in std::fs::read_dir(path).map_err(cannot)?.flatten() {
        let name = entry.file_name();
        // A start that was cut short may have left just an empty lock.
        let nothing = name == "lock" && entry.metadata().is_ok_and(|m| m.len() == 0);
        if !nothing && name != "lost+found" {
            return Err(Failure::failed(format!(
                "the folder {} holds other things ({}) and is none of chord up's: choose an empty or a new one with --dir",
                path.display(),
                name.to_string_lossy()
            )));
        }
    }
    Ok(())
}

fn has_secret(path: &Path) -> bool {
    std::fs::read_to_string(path.join("secret"))
        .is_ok_and(|s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a process of this number runs.
fn runs(pid: &str) -> bool {
    pid.parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| {
            // No right to signal it means that it is there.
            !matches!(
                rustix::process::test_kill_process(pid),
                Err(rustix::io::Errno::SRCH)
            )
        })
}
