//! Who a disk is: read, counted as opened once more, and repaired, in one commit.

use std::path::Path;
use std::sync::Arc;

use chord_types::view::BadView;
use chord_types::{ClusterUid, DiskId, View};
use redb::Database;

use super::sweep::{Sweep, Trust, last_boot};
use crate::store::error::{OpenError, StoreError, Why};
use crate::store::meta::database::storage;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::{Cached, Txn};
use crate::store::platform::FileSystem;
use crate::store::records::{Single, single};
use crate::store::types::{Durability, Options};

/// The format of the whole data folder.
const FORMAT: u32 = 1;

/// What a disk that is about to be used is.
pub(super) struct Identified {
    pub disk: DiskId,
    pub boot: u64,
    pub cached: Cached,
    /// What chunks and dropped files take.
    pub bytes: u64,
}

/// What a disk says of itself.
struct Identity {
    disk: DiskId,
    boot: u64,
    cached: Cached,
    /// It was `Relaxed` and has not been closed.
    unclean: bool,
}

/// Reads who the disk is, counts the boot, and repairs what a crash left: all in
/// one synced commit.
pub(super) fn identify(
    files: &dyn FileSystem,
    db: &Database,
    options: &Options,
) -> Result<Identified, OpenError> {
    let dir = options.dir.as_path();
    let open = |e: StoreError| OpenError::of(dir, e);
    let mut wtx = db.begin_write().map_err(|e| open(storage(e)))?;
    wtx.set_two_phase_commit(true);
    let mut txn = Txn::new(&wtx, Cached::default(), true).map_err(open)?;
    let known = read_identity(&txn, options)?;
    let trust = match &known {
        Some(known) if !known.unclean => Trust::Index,
        _ => Trust::Adopt,
    };
    let mut identity = match known {
        Some(identity) if identity.unclean => anew(files, &mut txn, identity).map_err(open)?,
        Some(identity) => identity,
        None => Identity {
            disk: files.new_disk(),
            // Dropped files of before must stay older than those to come.
            boot: last_boot(files, dir).map_err(open)?,
            cached: Cached::default(),
            unclean: false,
        },
    };
    identity.boot += 1;
    if let (None, Some(cluster)) = (&identity.cached.cluster, &options.cluster) {
        identity.cached.cluster = Some(cluster.clone());
    }
    write_identity(&mut txn, &identity, options.durability).map_err(open)?;
    let sweep = Sweep {
        files,
        dir,
        txn: &mut txn,
        trust,
    };
    let bytes = sweep.run().map_err(open)?;
    drop(txn);
    wtx.commit().map_err(|e| open(storage(e)))?;
    Ok(Identified {
        disk: identity.disk,
        boot: identity.boot,
        cached: identity.cached,
        bytes,
    })
}

/// A disk whose writes were not synced does not know what it has promised: another
/// disk is made of it, in the same cluster.
fn anew(
    files: &dyn FileSystem,
    txn: &mut Txn<'_>,
    identity: Identity,
) -> Result<Identity, StoreError> {
    tracing::warn!(
        "disk {} was not closed and its writes were not synced: it is another disk from now on, without registers",
        identity.disk
    );
    // Everything that votes.
    for table in [T::Registers, T::Keys, T::Promises, T::Hints, T::Bodies] {
        txn.clear(table)?;
    }
    txn.take_single(Single::View)?;
    Ok(Identity {
        disk: files.new_disk(),
        cached: Cached {
            view: None,
            cluster: identity.cached.cluster,
        },
        ..identity
    })
}

fn write_identity(
    txn: &mut Txn<'_>,
    identity: &Identity,
    durability: Durability,
) -> Result<(), StoreError> {
    txn.put_single(Single::Format, &u64::from(FORMAT).to_le_bytes())?;
    txn.put_single(Single::Disk, identity.disk.to_string().as_bytes())?;
    txn.put_single(Single::Boot, &identity.boot.to_le_bytes())?;
    let open: &[u8] = match durability {
        Durability::Durable => b"durable",
        Durability::Relaxed => b"relaxed",
    };
    txn.put_single(Single::Open, open)?;
    if let Some(cluster) = &identity.cached.cluster {
        txn.put_single(Single::Cluster, cluster.0.as_bytes())?;
    }
    Ok(())
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String, StoreError> {
    String::from_utf8(bytes)
        .map_err(|_| StoreError::Damaged(format!("the {what} is not text").into()))
}

fn number(bytes: &[u8], what: &str) -> Result<u64, StoreError> {
    let bytes = <[u8; 8]>::try_from(bytes)
        .map_err(|_| StoreError::Damaged(format!("the {what} is not a number").into()))?;
    Ok(u64::from_le_bytes(bytes))
}

/// `None`: the disk is new.
fn read_identity(txn: &Txn<'_>, options: &Options) -> Result<Option<Identity>, OpenError> {
    let dir = options.dir.as_path();
    let open = |e: StoreError| OpenError::of(dir, e);
    let damaged = |why: &str| open(StoreError::Damaged(why.into()));
    let read = |which| single(txn, which).map_err(open);
    let Some(format) = read(Single::Format)? else {
        for table in T::ALL {
            if txn.len(table).map_err(open)? > 0 {
                return Err(damaged("it has contents and no identity"));
            }
        }
        return Ok(None);
    };
    let format = number(&format, "format").map_err(open)?;
    if format > u64::from(FORMAT) {
        return Err(newer(dir, u32::try_from(format).unwrap_or(u32::MAX)));
    }
    let disk = read(Single::Disk)?.ok_or_else(|| damaged("its identity is gone"))?;
    let disk: DiskId = text(disk, "disk id")
        .map_err(open)?
        .parse()
        .map_err(|e: String| damaged(&e))?;
    let boot = read(Single::Boot)?.ok_or_else(|| damaged("its boot number is gone"))?;
    let boot = number(&boot, "boot number").map_err(open)?;
    let cluster = match read(Single::Cluster)? {
        Some(bytes) => Some(ClusterUid(text(bytes, "cluster").map_err(open)?)),
        None => None,
    };
    if let (Some(found), Some(wanted)) = (&cluster, &options.cluster)
        && found != wanted
    {
        return Err(OpenError::WrongCluster {
            dir: dir.to_path_buf(),
            found: found.clone(),
            wanted: wanted.clone(),
        });
    }
    let view = match read(Single::View)?.map(|bytes| View::decode(&bytes)) {
        None => None,
        Some(Ok(view)) => Some(Arc::new(view)),
        Some(Err(BadView::Format(found))) => return Err(newer(dir, u32::from(found))),
        Some(Err(e)) => return Err(open(StoreError::Damaged(Why::new("its view", e)))),
    };
    let unclean = read(Single::Open)?.as_deref() == Some(b"relaxed");
    Ok(Some(Identity {
        disk,
        boot,
        cached: Cached { view, cluster },
        unclean,
    }))
}

fn newer(dir: &Path, found: u32) -> OpenError {
    OpenError::NewerFormat {
        dir: dir.to_path_buf(),
        found,
        known: FORMAT,
    }
}
