//! A data path and a node in memory, with faults to order.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::http::{
    FileEntry, FileList, PlacedPiece, RingState, Successor, Verification, Where,
};
use chord_api::problem::{Kind, Problem};
use chord_api::status::NodeStatus;
use chord_types::manifest;
use chord_types::report::{Inventory, NodeReport, Space};
use chord_types::view::Epoch;
use chord_types::{DiskId, FileName, Id, Manifest, Metadata, Ordinal, View};
use futures::{StreamExt, stream};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::files::error::Gap;
use crate::files::{Body, Error, Files, ListQuery, Put, PutDone};
use crate::http::this_node::ThisNode;
use chord_register::condition::{Condition, Verdict};

/// When every file was modified: Sun, 06 Nov 1994 08:49:37.5 GMT.
pub const MODIFIED_MS: u64 = 784_111_777_500;
pub const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, (Manifest, Bytes)>,
    pub versions: u64,
    /// When files that come are modified, where it is not [`MODIFIED_MS`].
    pub modified_ms: Option<u64>,
    pub full: bool,
    /// Reads fail after so many bytes.
    pub read_fails_after: Option<u64>,
    /// Reads give more than the file.
    pub read_too_long: bool,
    /// PUTs fail after so many bytes, the rest unread.
    pub put_fails_after: Option<usize>,
    /// PUTs stop asking at the length that the header gave.
    pub put_stops_at_length: bool,
    /// Reads and commits wait for a permit of this.
    pub gate: Option<Arc<Semaphore>>,
    pub panics: bool,
    pub dropped: BTreeMap<String, Bytes>,
    /// Bodies that ended with an error.
    pub refused: Vec<String>,
    /// What the node holds.
    pub local: Vec<String>,
    /// Local listings fail behind this name.
    pub local_fails_after: Option<String>,
    /// No local page is longer.
    pub local_page: Option<usize>,
    pub not_ready: Option<String>,
    pub supervised: bool,
    pub queries: Vec<ListQuery>,
}

impl Fake {
    pub fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.0.lock().unwrap())
    }

    /// Stores a file and gives its quoted entity tag.
    pub fn put_now(&self, name: &str, bytes: &[u8]) -> String {
        self.with(|state| {
            let put = Put {
                name: FileName::new(name).unwrap(),
                content_type: None,
                meta: Metadata::default(),
                length: None,
                condition: Condition::default(),
            };
            format!(
                "\"{}\"",
                store(state, &put, Bytes::copy_from_slice(bytes)).etag
            )
        })
    }

    pub fn content(&self, name: &str) -> Option<Bytes> {
        self.with(|state| state.files.get(name).map(|(_, bytes)| bytes.clone()))
    }

    async fn gate(&self) {
        if let Some(gate) = self.with(|state| state.gate.clone()) {
            gate.acquire().await.unwrap().forget();
        }
    }

    async fn collect(&self, put: &Put, mut body: Body) -> Result<Bytes, Error> {
        let (fails, stops) = self.with(|state| (state.put_fails_after, state.put_stops_at_length));
        let mut all = Vec::new();
        while !(stops && put.length == Some(all.len() as u64)) {
            let Some(piece) = body.next().await else {
                break;
            };
            match piece {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) => {
                    self.with(|state| state.refused.push(error.to_string()));
                    return Err(error);
                }
            }
            if fails.is_some_and(|limit| all.len() >= limit) {
                let name = put.name.clone();
                return Err(Error::NotBegun { name });
            }
        }
        Ok(all.into())
    }
}

fn store(state: &mut State, put: &Put, bytes: Bytes) -> PutDone {
    state.versions += 1;
    let version = state.versions;
    let manifest = Manifest {
        version,
        etag: format!("tag-{version}"),
        size: bytes.len() as u64,
        modified_ms: state.modified_ms.unwrap_or(MODIFIED_MS),
        content_type: put.content_type.clone(),
        meta: put.meta.clone(),
        body: manifest::Body::Inline(Bytes::new()),
    };
    let etag = manifest.etag.clone();
    let replaced = state
        .files
        .insert(put.name.to_string(), (manifest, bytes))
        .is_some();
    PutDone {
        version,
        etag,
        replaced,
    }
}

fn check(state: &State, name: &FileName, condition: &Condition) -> Result<(), Error> {
    let current = state.files.get(name.as_str()).map(|(manifest, _)| manifest);
    match condition.evaluate(
        current.map(|m| (m.etag.as_str(), m.modified_ms / 1000)),
        false,
    ) {
        Verdict::Proceed => Ok(()),
        _ => Err(Error::Precondition {
            name: name.clone(),
            current: current.map(|m| (m.etag.clone(), m.version)),
        }),
    }
}

impl Files for Fake {
    async fn stat(&self, name: &FileName) -> Result<Option<Manifest>, Error> {
        // Not under the lock, which the panic would poison.
        assert!(!self.with(|state| state.panics), "ordered by the test");
        Ok(self.with(|state| {
            state
                .files
                .get(name.as_str())
                .map(|(manifest, _)| manifest.clone())
        }))
    }

    fn read(&self, name: &FileName, _: &Manifest, range: Range<u64>) -> Body {
        let (bytes, fails, long) = self.with(|state| {
            let bytes = state.files[name.as_str()]
                .1
                .slice(range.start as usize..range.end as usize);
            (bytes, state.read_fails_after, state.read_too_long)
        });
        let mut pieces: Vec<Result<Bytes, Error>> = Vec::new();
        let good = fails.map_or(bytes.len(), |after| bytes.len().min(after as usize));
        let good = bytes.slice(..good);
        pieces.extend(good.chunks(100_000).map(|piece| Ok(good.slice_ref(piece))));
        if fails.is_some() {
            pieces.push(Err(Error::Uncovered(Gap::Silent)));
        }
        if long {
            pieces.push(Ok(Bytes::from_static(b"more")));
        }
        let fake = self.clone();
        stream::once(async move { fake.gate().await })
            .flat_map(move |()| stream::iter(std::mem::take(&mut pieces)))
            .boxed()
    }

    async fn admit(&self, put: &Put) -> Result<(), Error> {
        self.with(|state| {
            check(state, &put.name, &put.condition)?;
            if state.full {
                let name = put.name.clone();
                Err(Error::NoSpace { name, left: 0 })
            } else {
                Ok(())
            }
        })
    }

    async fn put(&self, put: Put, body: Body) -> Result<PutDone, Error> {
        let bytes = self.collect(&put, body).await?;
        self.gate().await;
        assert!(!self.with(|state| state.panics), "ordered by the test");
        self.with(|state| {
            check(state, &put.name, &put.condition)?;
            Ok(store(state, &put, bytes))
        })
    }

    async fn delete(&self, name: &FileName, condition: Condition) -> Result<u64, Error> {
        self.with(|state| {
            check(state, name, &condition)?;
            state
                .files
                .remove(name.as_str())
                .ok_or_else(|| Error::NotFound { name: name.clone() })?;
            state.versions += 1;
            Ok(state.versions)
        })
    }

    async fn list(&self, query: ListQuery) -> Result<FileList, Error> {
        self.with(|state| {
            state.queries.push(query);
            let files = state.files.iter().map(|(name, (manifest, _))| FileEntry {
                name: name.clone(),
                size: manifest.size,
                etag: manifest.etag.clone(),
                modified: "1994-11-06T08:49:37.5Z".into(),
                content_type: manifest.content_type.clone(),
            });
            Ok(FileList {
                files: files.collect(),
                prefixes: vec![],
                next: None,
            })
        })
    }

    async fn verify(&self, name: &FileName) -> Result<Verification, Error> {
        Ok(Verification {
            name: name.to_string(),
            version: 1,
            size: 0,
            copies: vec![],
            ok: true,
        })
    }

    async fn drop_here(&self, put: Put, body: Body) -> Result<(), Error> {
        let bytes = self.collect(&put, body).await?;
        self.with(|state| state.dropped.insert(put.name.to_string(), bytes));
        Ok(())
    }
}

impl ThisNode for Fake {
    async fn list_files(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, Problem> {
        self.with(|state| {
            let names: std::collections::BTreeSet<&String> = state.local.iter().collect();
            let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let limit = state.local_page.map_or(limit, |page| page.min(limit));
            let page: Vec<String> = names
                .range::<String, _>((from, Bound::Unbounded))
                .take(limit)
                .map(|name| (*name).clone())
                .collect();
            match &state.local_fails_after {
                Some(last) if page.first().is_none_or(|first| first > last) => {
                    Err(Problem::new(Kind::Overloaded, "the disk is slow"))
                }
                _ => Ok(page),
            }
        })
    }

    async fn file_exists(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.with(|state| state.local.iter().any(|held| held == name)))
    }

    async fn successor(&self, id: Id) -> Result<Successor, Problem> {
        Ok(Successor {
            id: id.to_string(),
            successor: "files-0".into(),
            owners: vec![],
            path: vec![],
            hops: vec![],
            epoch: Epoch(1),
        })
    }

    async fn ring(&self) -> RingState {
        RingState {
            node: "files-0".into(),
            ..Default::default()
        }
    }

    async fn view(&self) -> Option<View> {
        None
    }

    async fn status(&self) -> NodeStatus {
        NodeStatus {
            report: NodeReport {
                name: "files-0".into(),
                ordinal: Ordinal(0),
                disk: DiskId::random(),
                cluster: None,
                version: "0".into(),
                speaks: chord_types::Speaks::OURS,
                boot: 1,
                view: None,
                ready: false,
                space: Space::default(),
                files: 0,
                inventory: Inventory::default(),
                sync: chord_types::report::Sync {
                    epoch: Epoch(0),
                    hash: chord_types::view::ViewHash([0; 32]),
                    settled: false,
                    pending: 0,
                    waiting: None,
                },
                copies: chord_types::report::Copies {
                    epoch: Epoch(0),
                    complete: false,
                    missing: 0,
                    unrepaired: 0,
                    waiting: None,
                },
                refused_view: None,
                failure: None,
            },
            workers: vec![],
            members: vec![],
        }
    }

    async fn place(&self, name: &FileName) -> Result<Where, Problem> {
        let piece = PlacedPiece {
            piece: name.to_string(),
            size: 1,
            owners: vec!["files-0".into()],
        };
        Ok(Where {
            name: name.to_string(),
            version: 1,
            pieces: vec![piece],
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.with(|state| state.not_ready.clone().map_or(Ok(()), Err))
    }

    fn add_metrics(&self, registry: &mut Registry) {
        registry.register("chord_fake", "Of a fake", ConstGauge::new(1));
    }

    fn supervised(&self) -> bool {
        self.with(|state| state.supervised)
    }

    async fn supervisor(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(StatusCode, String, Bytes)> {
        let answer = format!("{method} {path} {}", String::from_utf8_lossy(&body));
        self.with(|state| state.supervised)
            .then(|| (StatusCode::OK, "text/plain".into(), answer.into()))
    }
}
