//! What one disk does: commits of the metadata, and chunks written and read.
//!
//! `cargo bench -p chord-node --bench store`, with words after `--`: how many
//! rounds. `CHORD_BENCH_DIR` names the file system to measure (below the folder
//! for temporary files by default). A figure is the median of the rounds, beside
//! the least and the greatest; each is also added as a line to
//! `target/bench/figures.jsonl`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_node::store::{ChunkMeta, Durability, Options, Store, Tier};
use chord_register::{Ballot, Value};
use chord_types::blocks::Root;
use chord_types::{ChunkId, Epoch, FileName, Id, Ordinal, UploadId};

/// How long one round of commits lasts.
const ROUND: Duration = Duration::from_secs(1);
/// Bytes of one chunk, and how many there are in a round.
const CHUNK: usize = 8 << 20;
const CHUNKS: u32 = 16;

#[tokio::main]
async fn main() {
    let rounds = std::env::args()
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(5);
    let base = std::env::var("CHORD_BENCH_DIR").map_or_else(|_| std::env::temp_dir(), Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    for durability in [Durability::Durable, Durability::Relaxed] {
        let name = format!("{durability:?}");
        let store = open(&dir.path().join(&name), durability);
        let (mut one, mut many, mut write, mut read) = (vec![], vec![], vec![], vec![]);
        for round in 0..rounds {
            one.push(commits(&store, 1).await);
            many.push(commits(&store, 64).await);
            let (to, from) = chunks(&store, round).await;
            write.push(to);
            read.push(from);
        }
        print_figure(&name, "commits", "1/s", one);
        print_figure(&name, "commits_of_64", "1/s", many);
        print_figure(&name, "chunks_written", "MiB/s", write);
        print_figure(&name, "chunks_read", "MiB/s", read);
    }
}

fn open(dir: &Path, durability: Durability) -> Store {
    let options = Options {
        dir: dir.to_path_buf(),
        capacity: None,
        cluster: None,
        durability,
    };
    Store::open(options).unwrap()
}

fn print_figure(durability: &str, what: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let (least, most) = (figures[0], figures[figures.len() - 1]);
    let median = figures[figures.len() / 2];
    println!("{durability:8} {what:16} {median:9.0} {unit:6} ({least:.0} to {most:.0})");
    let line = serde_json::json!({
        "figure": format!("store_{}_{what}", durability.to_lowercase()),
        "value": median,
        "unit": unit,
        "n": figures.len(),
        "min": least,
        "max": most,
    });
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("figures.jsonl"));
    writeln!(file.unwrap(), "{line}").unwrap();
}

/// Registers set by so many tasks for a while.
async fn commits(store: &Store, tasks: u64) -> f64 {
    let from = Instant::now();
    let setting = (0..tasks).map(|task| async move {
        let mut done = 0u64;
        while from.elapsed() < ROUND {
            let name = FileName::new(format!("file-{task}-{}", done % 1000)).unwrap();
            let ballot = Ballot {
                epoch: Epoch(1),
                counter: done,
                member: Ordinal(0),
                boot: 1,
            };
            let set = store.transact(move |txn| txn.set_register(&name, ballot, &Value::default()));
            set.await.unwrap();
            done += 1;
        }
        done
    });
    let done: u64 = futures::future::join_all(setting).await.into_iter().sum();
    done as f64 / from.elapsed().as_secs_f64()
}

/// Writes chunks, reads and removes them; MiB/s of writing and of reading.
async fn chunks(store: &Store, round: u8) -> (f64, f64) {
    let payload = Bytes::from(vec![round; CHUNK]);
    let root = Root::of(&payload).0;
    let meta = |part| {
        let upload = UploadId::from_bytes([round; 16]);
        let name = FileName::new("file").unwrap();
        ChunkMeta {
            id: ChunkId { upload, part },
            key: Id::of_part(&name, part, &upload),
            name,
            size: CHUNK as u32,
            root,
            committed: false,
        }
    };
    let mib = f64::from(CHUNKS) * CHUNK as f64 / f64::from(1 << 20);
    let from = Instant::now();
    for part in 0..CHUNKS {
        let mut writer = store.chunk_writer(meta(part), Tier::Clients).unwrap();
        for at in (0..CHUNK).step_by(64 << 10) {
            writer
                .write(payload.slice(at..at + (64 << 10)))
                .await
                .unwrap();
        }
        writer.finish_if(Box::new(|_| Ok(()))).await.unwrap();
    }
    let written = mib / from.elapsed().as_secs_f64();
    let from = Instant::now();
    for part in 0..CHUNKS {
        let meta = meta(part);
        for first in (0..meta.blocks()).step_by(16) {
            let read = store.chunk_read(meta.id, first..first + 16).await.unwrap();
            assert_eq!(read.data.len(), 1 << 20);
        }
    }
    let read = mib / from.elapsed().as_secs_f64();
    for part in 0..CHUNKS {
        store.chunk_remove(meta(part).id).await.unwrap();
    }
    (written, read)
}
