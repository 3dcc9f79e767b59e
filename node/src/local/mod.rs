//! What this node itself knows and holds, for the client port.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::http::{PlacedPiece, RingPeer, RingState, Successor, VnodeState, Where};
use chord_api::problem::{Kind, Problem};
use chord_api::status::{MemberStatus, NodeStatus};
use chord_ring::{Host, Peer, Vnode};
use chord_types::name::MAX_NAME_BYTES;
use chord_types::{Epoch, FileName, Id, Ordinal, View};

use crate::http::Local;
use crate::node::Node;
use crate::quorum::drive;
use crate::ring::lookup;
use crate::store::{ReadTxn, StoreError};

/// The node as its client port asks it.
#[derive(Clone)]
pub struct Own {
    node: Arc<Node>,
    http: reqwest::Client,
}

/// How long the supervisor may take.
const SUPERVISOR_LIMIT: Duration = Duration::from_secs(10);
/// How long members may take for a status.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

impl Own {
    /// The answers of one node.
    pub fn new(node: Arc<Node>) -> Result<Own, reqwest::Error> {
        let http = chord_api::client::builder::to_supervisor(SUPERVISOR_LIMIT)?;
        Ok(Own { node, http })
    }
}

fn failed(error: StoreError) -> Problem {
    Problem::new(
        Kind::Overloaded,
        format!("this node cannot read its disk: {error}"),
    )
}

/// The longest file name that `text` begins with: no file's name that comes after
/// `text` comes before it. `NAME-partN` of a long name is too long for a name.
fn floor(text: &str) -> Option<FileName> {
    let text = text.split('\0').next().unwrap_or_default();
    FileName::new(&text[..text.floor_char_boundary(MAX_NAME_BYTES)]).ok()
}

/// Names of whole files on this disk, votes and hints alike, after `after`.
fn whole_names(
    txn: &ReadTxn,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let asked = |name: &FileName| after.is_none_or(|after| name.as_str() > after);
    let mut names = BTreeSet::new();
    let mut from = after.and_then(floor);
    loop {
        let page = txn.list("", from.as_ref().map(FileName::as_str), limit)?;
        for listed in page.items {
            if listed.current.is_some() && asked(&listed.name) {
                names.insert(listed.name.as_str().to_string());
            }
        }
        from = page.next;
        if from.is_none() || names.len() >= limit {
            break;
        }
    }
    let mut from = after.and_then(floor);
    let mut hints = 0;
    loop {
        let page = txn.hints(from.as_ref(), limit)?;
        for hint in page.items {
            if hint.value.current.is_some() && asked(&hint.name) {
                hints += 1;
                names.insert(hint.name.as_str().to_string());
            }
        }
        from = page.next;
        if from.is_none() || hints >= limit {
            break;
        }
    }
    Ok(names.into_iter().take(limit).collect())
}

/// The file and the part that `NAME-partN` means, spelled as the listing spells it.
fn part_of(name: &str) -> Option<(FileName, u32)> {
    let (stem, part) = name.rsplit_once("-part")?;
    let (stem, part) = (FileName::new(stem).ok()?, part.parse().ok()?);
    (stem.part(part) == name).then_some((stem, part))
}

/// The ring's pointers as `GET /ring` shows them.
fn pointers(
    ring: &Host,
    node: Ordinal,
    epoch: Option<Epoch>,
    name: impl Fn(Ordinal) -> String,
) -> RingState {
    let peer = |p: &Peer| RingPeer {
        id: p.id.to_string(),
        node: name(p.ordinal),
    };
    let vnode = |v: &Vnode| VnodeState {
        id: v.me().id.to_string(),
        state: if v.is_member() { "member" } else { "joining" }.to_string(),
        predecessor: v.pred().as_ref().map(peer),
        successors: v.successors().iter().map(peer).collect(),
        fingers: v.fingers().map(peer).collect(),
    };
    RingState {
        node: name(node),
        epoch,
        vnodes: ring.vnodes().map(vnode).collect(),
    }
}

impl Local for Own {
    async fn list_files(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, Problem> {
        let limit = limit.clamp(1, 1000);
        let store = &self.node.store;
        let from = after.clone();
        let whole = store
            .read(move |txn| whole_names(txn, from.as_deref(), limit))
            .await
            .map_err(failed)?;
        let mut names: BTreeSet<String> = whole.into_iter().collect();
        names.extend(self.parts_after(after.as_deref(), limit).await?);
        let mut dropped_after = None;
        loop {
            let page = store
                .dropped_list(dropped_after, 256)
                .await
                .map_err(failed)?;
            names.extend(page.items.into_iter().map(|d| d.name.as_str().to_string()));
            dropped_after = page.next;
            if dropped_after.is_none() {
                break;
            }
        }
        Ok(names
            .into_iter()
            .filter(|n| after.as_ref().is_none_or(|a| n > a))
            .take(limit)
            .collect())
    }

    async fn file_exists(&self, name: &str) -> Result<bool, Problem> {
        let store = &self.node.store;
        if let Ok(whole) = FileName::new(name) {
            let held = store
                .read(move |txn| {
                    let live = |found: Option<(_, chord_register::Value)>| {
                        found.is_some_and(|(_, value)| value.current.is_some())
                    };
                    Ok(live(txn.register(&whole)?) || live(txn.hint(&whole)?))
                })
                .await
                .map_err(failed)?;
            if held {
                return Ok(true);
            }
        }
        if let Some((stem, part)) = part_of(name)
            && self.has_part(&stem, part).await?
        {
            return Ok(true);
        }
        let mut after = None;
        loop {
            let page = store.dropped_list(after, 256).await.map_err(failed)?;
            if page.items.iter().any(|d| d.name.as_str() == name) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    async fn successor(&self, id: Id) -> Result<Successor, Problem> {
        let Some(current) = self.node.current() else {
            return Err(Problem::new(
                Kind::NoQuorum,
                "this node has no view yet, and so no ring",
            ));
        };
        let mut path: Vec<Ordinal> = vec![self.node.ordinal];
        // What the view says is in `owners`. Given out as the successor it would be
        // taken for what the ring found, be it dead or given up.
        let found = lookup(&self.node, id).await.map_err(|error| {
            Problem::new(
                Kind::NoQuorum,
                format!(
                    "{} cannot find the successor of {id} on the ring: {error}; try again, or ask another node",
                    self.node.name
                ),
            )
        })?;
        path.extend(found.path.iter().map(|p| p.ordinal));
        let stops = found.path.iter().chain([&found.successor]);
        let hops = stops.map(|p| RingPeer {
            id: p.id.to_string(),
            node: self.node.name_of(p.ordinal),
        });
        let hops = hops.collect();
        let successor = found.successor.ordinal;
        path.push(successor);
        path.dedup();
        Ok(Successor {
            id: id.to_string(),
            successor: self.node.name_of(successor),
            owners: current
                .placements
                .target()
                .owners(&id)
                .map(|m| self.node.name_of(m.ordinal))
                .collect(),
            path: path.into_iter().map(|o| self.node.name_of(o)).collect(),
            hops,
            epoch: current.reference.epoch,
        })
    }

    async fn ring(&self) -> RingState {
        let epoch = self.node.current().map(|c| c.reference.epoch);
        let ring = self.node.ring.lock().unwrap_or_else(|p| p.into_inner());
        pointers(&ring, self.node.ordinal, epoch, |ordinal| {
            self.node.name_of(ordinal)
        })
    }

    async fn view(&self) -> Option<View> {
        self.node.current().map(|c| c.view.clone())
    }

    async fn status(&self) -> NodeStatus {
        let members = match self.node.current() {
            None => Vec::new(),
            Some(current) => {
                let (old, new) = (current.view.old(), current.view.new_table());
                let asked = current.view.members().into_iter().map(|member| async move {
                    let mine = member.disk == self.node.disk();
                    let report = if mine {
                        Some(self.node.report())
                    } else {
                        let asked = tokio::time::timeout(
                            STATUS_LIMIT,
                            self.node.peers.report(member.ordinal),
                        )
                        .await;
                        asked
                            .ok()
                            .and_then(Result::ok)
                            .filter(|r| r.disk == member.disk)
                    };
                    let address = self.node.peers.address(member.ordinal);
                    MemberStatus {
                        ordinal: member.ordinal,
                        name: self.node.name_of(member.ordinal),
                        disk: member.disk,
                        address: address.map(|a| a.client).unwrap_or_default(),
                        alive: report.is_some(),
                        out: member.out,
                        in_old: old.by_disk(member.disk).is_some(),
                        in_new: new.by_disk(member.disk).is_some(),
                        report,
                    }
                });
                futures::future::join_all(asked).await
            }
        };
        NodeStatus {
            report: self.node.report(),
            workers: self.node.workers.states(),
            members,
        }
    }

    async fn place(&self, name: &FileName) -> Result<Where, Problem> {
        let value = drive::read(&self.node, name).await?;
        let (Some(manifest), Some(current)) = (value.and_then(|v| v.current), self.node.current())
        else {
            return Err(Problem::new(
                Kind::NotFound,
                format!("there is no file {name:?}"),
            ));
        };
        let owners = |key: &Id| -> Vec<String> {
            current
                .placements
                .target()
                .owners(key)
                .map(|m| self.node.name_of(m.ordinal))
                .collect()
        };
        let mut pieces = vec![PlacedPiece {
            piece: name.as_str().into(),
            size: manifest.size,
            owners: owners(&Id::of_file(name)),
        }];
        let chunks: Vec<_> = manifest.chunks(name).collect();
        if chunks.len() > 1 {
            pieces.extend(chunks.iter().map(|c| PlacedPiece {
                piece: name.part(c.id.part),
                size: u64::from(c.size),
                owners: owners(&c.key),
            }));
        }
        Ok(Where {
            name: name.as_str().into(),
            version: manifest.version,
            pieces,
        })
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(failure) = self.node.store.failure() {
            return Err(failure.to_string());
        }
        if self.node.is_member() {
            return Ok(());
        }
        Err(match self.node.current() {
            None => format!(
                "{} has no view: the cluster has not been formed, or does not know this node yet",
                self.node.name
            ),
            Some(current) => format!(
                "{} with disk {} is not a member in view {}",
                self.node.name,
                self.node.disk(),
                current.reference.epoch
            ),
        })
    }

    async fn metrics(&self) -> String {
        let report = self.node.report();
        let mut out = String::new();
        let mut gauge = |name: &str, help: &str, value: f64| {
            let _ = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
            );
        };
        gauge(
            "chord_view_epoch",
            "Epoch of the view that this node holds.",
            report.view.map_or(0.0, |v| v.epoch.0 as f64),
        );
        gauge(
            "chord_member",
            "Whether this node is a member of its view.",
            f64::from(u8::from(report.ready)),
        );
        gauge(
            "chord_disk_capacity_bytes",
            "Bytes that this node may use.",
            report.space.capacity as f64,
        );
        gauge(
            "chord_disk_used_bytes",
            "Bytes allocated by this node's files.",
            report.space.used as f64,
        );
        gauge(
            "chord_disk_available_bytes",
            "Bytes that clients may still write.",
            report.space.available as f64,
        );
        gauge(
            "chord_files_primary",
            "Files of which this node is the primary.",
            report.files as f64,
        );
        gauge(
            "chord_registers",
            "Registers that this node votes with.",
            report.inventory.registers as f64,
        );
        gauge(
            "chord_hints",
            "Registers left over from other ranges.",
            report.inventory.hints as f64,
        );
        gauge(
            "chord_chunks",
            "Chunks on this disk.",
            report.inventory.chunks as f64,
        );
        gauge(
            "chord_dropped_files",
            "Files dropped here and not taken over yet.",
            report.inventory.dropped as f64,
        );
        gauge(
            "chord_copies_missing",
            "Copies known to be missing.",
            report.copies.missing as f64,
        );
        gauge(
            "chord_sync_pending",
            "Registers and chunks that a change of view still moves.",
            report.sync.pending as f64,
        );
        for (name, help, pick) in [
            ("chord_worker_rounds_total", "Rounds of a worker.", 0),
            ("chord_worker_done_total", "Things that a worker did.", 1),
            ("chord_worker_errors_total", "Errors of a worker.", 2),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for worker in self.node.workers.states() {
                let value = [worker.rounds, worker.done, worker.errors][pick];
                let _ = writeln!(out, "{name}{{worker=\"{}\"}} {value}", worker.name);
            }
        }
        out.push_str(&self.node.ring_admission.metrics());
        out
    }

    fn supervised(&self) -> bool {
        self.node.args.supervisor.is_some()
    }

    async fn supervisor(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(StatusCode, String, Bytes)> {
        let base = self.node.args.supervisor.as_ref()?;
        let request = self
            .http
            .request(method, format!("{base}{path}"))
            .timeout(SUPERVISOR_LIMIT)
            .header(
                http::header::AUTHORIZATION,
                chord_api::client::bearer(&self.node.secret),
            )
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        let unavailable = |why: String| {
            let problem = Problem::new(
                Kind::Overloaded,
                format!("the supervisor does not answer: {why}"),
            );
            let body = serde_json::to_vec(&problem.body()).unwrap_or_default();
            (
                problem.status(),
                "application/problem+json".to_string(),
                Bytes::from(body),
            )
        };
        let answered = match request.send().await {
            Ok(response) => {
                let status = response.status();
                let kind = response.headers().get(http::header::CONTENT_TYPE);
                let kind = kind
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or("application/json")
                    .to_string();
                match response.bytes().await {
                    Ok(body) => (status, kind, body),
                    Err(error) => unavailable(error.to_string()),
                }
            }
            Err(error) => unavailable(error.to_string()),
        };
        Some(answered)
    }
}

impl Own {
    /// Whether part `part` of the current version lies here, as far as this node
    /// knows which version that is.
    async fn has_part(&self, name: &FileName, part: u32) -> Result<bool, Problem> {
        let mut after = None;
        loop {
            let page = self
                .node
                .store
                .chunks_of(name.clone(), after, 256)
                .await
                .map_err(failed)?;
            for chunk in page.items.iter().filter(|c| c.id.part == part) {
                let known = self.garbage(name, chunk.id.upload);
                // The only chunk of a file is not called a part: it is keyed by the name.
                if chunk.committed && chunk.key != Id::of_file(name) && !known {
                    return Ok(self
                        .node
                        .store
                        .chunk_has(chunk.id)
                        .await
                        .map_err(failed)?
                        .is_some());
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// Whether an upload is expected to be garbage.
    fn garbage(&self, name: &FileName, upload: chord_types::UploadId) -> bool {
        self.node
            .reap
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .contains_key(&(name.clone(), upload))
    }

    /// Parts that lie here, after `after`. Names of parts do not sort like the
    /// chunks do (part 10 comes before part 2, and `a-b` before `a-part1`), so
    /// the whole index is walked and the smallest are kept.
    async fn parts_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<BTreeSet<String>, Problem> {
        let mut found = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = self
                .node
                .store
                .chunks_by_name(cursor, 1000)
                .await
                .map_err(failed)?;
            for chunk in &page.items {
                if !chunk.committed
                    || chunk.key == Id::of_file(&chunk.name)
                    || self.garbage(&chunk.name, chunk.id.upload)
                {
                    continue;
                }
                let name = chunk.name.part(chunk.id.part);
                if after.is_none_or(|a| name.as_str() > a) {
                    found.insert(name);
                    if found.len() > limit {
                        found.pop_last();
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_goes_on_behind_what_is_too_long_for_a_name() {
        let long = "a".repeat(MAX_NAME_BYTES);
        let from = |text: &str| floor(text).map(String::from);
        assert_eq!(from(&format!("{long}-part1")), Some(long.clone()));
        assert_eq!(from(&long), Some(long.clone()));
        let wide = format!("{}ü-part1", &long[1..]);
        assert_eq!(
            from(&wide).as_deref(),
            Some(&long[1..]),
            "no half character"
        );
        assert_eq!(from("a\0b").as_deref(), Some("a"));
        assert_eq!(from("\0"), None);
        assert_eq!(from(""), None);
    }

    #[test]
    fn parts_are_called_as_they_are_listed() {
        let part = |name: &str| part_of(name).map(|(stem, part)| (String::from(stem), part));
        assert_eq!(part("fx-part1"), Some(("fx".into(), 1)));
        assert_eq!(part("a-part1-part20"), Some(("a-part1".into(), 20)));
        for none in [
            "fx-part01",
            "fx-part+1",
            "fx-part0000000001",
            "fx-part",
            "fx-part1x",
            "-part1",
            "fx",
        ] {
            assert_eq!(part(none), None, "{none}");
        }
    }
}
