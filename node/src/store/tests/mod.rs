//! The store on a real disk: what survives, what is refused, what is noticed.

mod chunks;
mod commits;
mod damage;
mod dropped;
mod index;
mod memory;
mod pages;
mod registers;
mod room;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chord_types::blocks::Root;
use chord_types::manifest::Body;
use chord_types::view::Member;
use chord_types::{
    ChunkId, ClusterUid, DiskId, Epoch, FileName, Id, Manifest, Ordinal, Table, Token, UploadId,
    View,
};

use super::platform::faulty::Faults;
use super::*;
use chord_register::{Ballot, Value};

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.join("data"),
        capacity: None,
        cluster: None,
        durability: Durability::Durable,
    }
}

/// A disk that panics instead of ending the process.
fn open(dir: &Path) -> Store {
    open_as(options(dir)).unwrap()
}

fn open_as(options: Options) -> Result<Store, OpenError> {
    Store::open_with(options, Arc::new(|e| panic!("the process would end: {e}")))
}

fn open_faulty(dir: &Path, fatal: Fatal) -> (Store, Faults) {
    let faults = Faults::default();
    let store = Store::open_on(faults.platform(), options(dir), fatal);
    (store.unwrap(), faults)
}

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

fn ballot(counter: u64) -> Ballot {
    Ballot {
        epoch: Epoch(1),
        counter,
        member: Ordinal(2),
        boot: 3,
    }
}

/// A value whose file is these bytes.
fn value(version: u64, body: impl Into<Bytes>) -> Value {
    let body = body.into();
    let current = Manifest {
        version,
        etag: format!("{version}-x"),
        size: body.len() as u64,
        modified_ms: 5,
        content_type: Some("text/plain".into()),
        meta: [("a", "b")].into_iter().collect(),
        body: Body::Inline(body),
    };
    let mut value = Value::default();
    (value.seq, value.version, value.current) = (version, version, Some(current));
    value
}

fn view(epochs: u64, cluster: &str) -> View {
    let member = |n: u32| Member {
        ordinal: Ordinal(n),
        disk: DiskId(uuid::Uuid::from_u128(u128::from(n))),
        tokens: vec![Token(u64::from(n) << 60)],
        zone: None,
        machine: None,
        out: false,
    };
    let table = Table {
        replication: 1,
        members: vec![member(1), member(2)],
    };
    let mut view = View::first(ClusterUid(cluster.into()), table.clone()).unwrap();
    for _ in 1..epochs {
        view = view.change_to(table.clone()).unwrap();
    }
    view
}

/// Bytes that no two seeds or places share.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut out);
    out
}

fn chunk(seed: u8, part: u32, payload: &[u8]) -> ChunkMeta {
    let id = ChunkId {
        upload: UploadId::from_bytes([seed; 16]),
        part,
    };
    let file = name(&format!("file-{seed}"));
    ChunkMeta {
        id,
        key: Id::of_part(&file, part, &id.upload),
        name: file,
        size: payload.len() as u32,
        root: Root::of(payload).0,
        committed: false,
    }
}

async fn put(store: &Store, meta: &ChunkMeta, payload: &[u8]) -> Result<(), ChunkError> {
    let mut writer = store.chunk_writer(meta.clone(), Tier::Clients)?;
    for piece in payload.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

/// Where a chunk's file is.
fn file_of(store: &Store, id: ChunkId) -> std::path::PathBuf {
    super::chunk::file::path(&store.shared().dir, id)
}

/// A copy of the data folder, as a crash at this moment would leave it.
fn copy_data(from: &Path, to: &Path) {
    for (path, _) in tree(&from.join("data")) {
        let to = to.join(Path::new(&path).strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&path, &to).unwrap();
    }
}

/// Every plain file below a folder, with its length.
fn tree(dir: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.insert(
                entry.path().display().to_string(),
                entry.metadata().unwrap().len(),
            );
        }
    }
    found
}
