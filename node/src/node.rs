//! The node's shared state: its disk, the view it acts by, and its way to the
//! others. Everything that runs in the process holds an `Arc` of it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use chord_placement::Placements;
use chord_types::report::{Copies, Inventory, NodeReport, Sync};
use chord_types::view::{ViewHash, ViewRef};
use chord_types::{ClusterUid, DiskId, FileName, Ordinal, Speaks, UploadId, View};
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::Args;
use crate::files::memory::{ReadMemory, UploadMemory};
use crate::http::Metrics;
use crate::notes::readers::Readers;
use crate::peer::client::{PeerClient, PeerError};
use crate::peer::ring::{Guard, Roll};
use crate::peer::wire::{Answer, Call, Header, Refusal, Request};
use crate::quorum::turns::Turns;
use crate::store::Store;
use crate::workers::Workers;
use chord_register::OpId;

/// Bytes of chunks that uploads may hold in memory together.
const UPLOAD_MEMORY: usize = 192 << 20;
/// Of these, bytes of copies that are under way behind their acknowledgement: an
/// owner that hangs must not keep the memory of all.
const STRAGGLER_MEMORY: usize = 64 << 20;
/// Bytes of files that downloads may hold in memory together.
const READ_MEMORY: usize = 256 << 20;
/// Names with a missing copy that are remembered; past it a full pass finds them.
const MAX_DEBTS: usize = 10_000;

/// Nobody has looked since the view changed.
pub const NOT_LOOKED: u64 = u64::MAX;

/// A view made ready for use.
#[derive(Debug)]
pub struct Current {
    pub view: View,
    pub reference: ViewRef,
    pub placements: Placements,
    /// Who may speak on the ring.
    pub roll: Roll,
}

impl Current {
    /// Prepares a view.
    pub fn new(view: View) -> Current {
        Current {
            reference: view.reference(),
            placements: Placements::new(&view),
            roll: Roll::of(&view),
            view,
        }
    }
}

/// A node. Cheap to share.
pub struct Node {
    pub args: Args,
    pub name: String,
    pub ordinal: Ordinal,
    pub cluster: ClusterUid,
    pub store: Store,
    pub peers: PeerClient,
    pub ring: Mutex<chord_ring::Host>,
    pub ring_guard: Guard,
    pub workers: Workers,
    pub metrics: Metrics,
    pub secret: String,
    view: watch::Sender<Option<Arc<Current>>>,
    /// One adoption at a time.
    adopting: tokio::sync::Mutex<()>,
    refused_view: Mutex<Option<String>>,
    operations: AtomicU64,
    /// Uploads that this process streams.
    pub uploads: Mutex<HashSet<UploadId>>,
    pub upload_memory: UploadMemory,
    pub straggler_memory: Arc<Semaphore>,
    pub read_memory: ReadMemory,
    /// What is sent to clients through this node.
    pub readers: Readers,
    /// Whose turn it is at each register.
    pub turns: Turns,
    debts: Mutex<Debts>,
    pub debts_changed: Notify,
    /// Uploads whose chunks may be garbage, by name.
    pub reap: Mutex<BTreeMap<(FileName, UploadId), std::time::Instant>>,
    pub sync: Mutex<Option<Sync>>,
    pub copies: Mutex<Option<Copies>>,
    pub primary_files: AtomicU64,
    /// Chunks here that belong to others; [`NOT_LOOKED`] until somebody has.
    pub foreign_chunks: AtomicU64,
    /// The free space that others were told, and when it was looked up.
    pub told_space: Mutex<Option<(std::time::Instant, u64)>>,
    /// When this process started; the ring's clock counts from here.
    pub started: std::time::Instant,
    /// Since when this process has known the view in force.
    pub view_since: Mutex<Option<(ViewRef, std::time::Instant)>>,
}

#[derive(Default)]
struct Debts {
    queue: VecDeque<FileName>,
    known: HashSet<FileName>,
    /// More names had debts than are remembered.
    overflowed: bool,
}

/// Why a view was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ViewRefused {
    #[error("it is of cluster {0}, this disk belongs to {1}")]
    OtherCluster(ClusterUid, ClusterUid),
    #[error("it has epoch {0}, this node is at {1} already")]
    Old(u64, u64),
    #[error("it has epoch {epoch} with other content ({given}) than the one held ({held})")]
    Conflict {
        epoch: u64,
        given: ViewHash,
        held: ViewHash,
    },
    #[error("its parent {given} is not the view {held} that this node holds")]
    Unchained { given: ViewHash, held: ViewHash },
    #[error("it could not be kept on disk: {0}")]
    Disk(String),
}

impl Node {
    /// Puts the parts together.
    pub fn new(
        args: Args,
        ordinal: Ordinal,
        secret: String,
        store: Store,
        peers: PeerClient,
        ring: chord_ring::Host,
    ) -> Arc<Node> {
        let held = store
            .view()
            .map(|view| Arc::new(Current::new((*view).clone())));
        let (view, _) = watch::channel(held);
        Arc::new(Node {
            name: args.name.clone(),
            upload_memory: UploadMemory::new(UPLOAD_MEMORY, args.chunk_size as usize),
            cluster: ClusterUid(args.cluster_uid.clone()),
            args,
            ordinal,
            store,
            peers,
            ring: Mutex::new(ring),
            ring_guard: Guard::default(),
            workers: Workers::default(),
            metrics: Metrics::default(),
            secret,
            view,
            adopting: tokio::sync::Mutex::new(()),
            refused_view: Mutex::new(None),
            operations: AtomicU64::new(0),
            uploads: Mutex::new(HashSet::new()),
            straggler_memory: Arc::new(Semaphore::new(STRAGGLER_MEMORY)),
            read_memory: ReadMemory::new(READ_MEMORY),
            readers: Readers::default(),
            turns: Turns::default(),
            debts: Mutex::new(Debts::default()),
            debts_changed: Notify::new(),
            reap: Mutex::new(BTreeMap::new()),
            sync: Mutex::new(None),
            copies: Mutex::new(None),
            primary_files: AtomicU64::new(0),
            foreign_chunks: AtomicU64::new(NOT_LOOKED),
            told_space: Mutex::new(None),
            started: std::time::Instant::now(),
            view_since: Mutex::new(None),
        })
    }

    /// This node's disk.
    pub fn disk(&self) -> DiskId {
        self.store.disk()
    }

    /// The view in force here.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.view.borrow().clone()
    }

    /// Told of every new view.
    pub fn watch_view(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.view.subscribe()
    }

    /// Whether this name with this disk is in the current or the next table.
    pub fn is_member(&self) -> bool {
        self.current()
            .is_some_and(|c| c.view.has(self.ordinal, self.disk()))
    }

    /// The name of a node.
    pub fn name_of(&self, ordinal: Ordinal) -> String {
        self.args.name_of(ordinal)
    }

    /// A new operation id.
    pub fn next_operation(&self) -> OpId {
        OpId {
            disk: self.disk(),
            boot: self.store.boot(),
            counter: self.operations.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Takes a view if it is newer, of this cluster, and chained where that can be
    /// seen. It is on disk when this returns, and what it takes from this node
    /// votes no more.
    pub async fn adopt(&self, view: View) -> Result<(), ViewRefused> {
        let _one = self.adopting.lock().await;
        let held = self.current();
        if view.cluster != self.cluster {
            return Err(self.refuse(ViewRefused::OtherCluster(
                view.cluster,
                self.cluster.clone(),
            )));
        }
        let given = view.reference();
        if let Some(held) = &held {
            let at = held.reference;
            if given == at {
                return Ok(());
            }
            if given.epoch == at.epoch {
                return Err(self.refuse(ViewRefused::Conflict {
                    epoch: given.epoch.0,
                    given: given.hash,
                    held: at.hash,
                }));
            }
            if given.epoch < at.epoch {
                return Err(ViewRefused::Old(given.epoch.0, at.epoch.0));
            }
            if given.epoch.0 == at.epoch.0 + 1 && view.parent != at.hash {
                return Err(self.refuse(ViewRefused::Unchained {
                    given: view.parent,
                    held: at.hash,
                }));
            }
        }
        let next = Arc::new(Current::new(view));
        let me = self.disk();
        let contiguous = held
            .as_ref()
            .is_some_and(|h| h.reference.epoch.0 + 1 == given.epoch.0);
        let (before, after) = (held.clone(), next.clone());
        // Promises stay: ballots of this view are above all of them, and to take
        // them all out at once would need room that a full disk does not have.
        // Rule 3: a range that is lost, or that is gained anew, votes with nothing
        // of what lies here from before; the old contents become hints.
        let keeps = move |key: &chord_types::Id| {
            let owns = |p: &chord_placement::Placement| p.owners(key).any(|m| m.disk == me);
            if owns(&after.placements.old) {
                return true;
            }
            let gaining = after.placements.new.as_ref().is_some_and(owns);
            let had = contiguous
                && before
                    .as_ref()
                    .is_some_and(|b| b.placements.all().any(owns));
            gaining && had
        };
        let stored = next.view.clone();
        self.store
            .transact_alone(move |txn| {
                txn.move_to_hints(|key| !keeps(key))?;
                txn.set_view(&stored)
            })
            .await
            .map_err(|e| ViewRefused::Disk(e.to_string()))?;
        tracing::info!(
            epoch = given.epoch.0,
            state = next.view.state(),
            member = next.view.has(self.ordinal, me),
            "took a view"
        );
        *self.sync.lock().unwrap_or_else(|p| p.into_inner()) = Some(Sync {
            epoch: given.epoch,
            hash: given.hash,
            settled: next.view.stable().is_some(),
            pending: 0,
            waiting: None,
        });
        // What lies here in the first view has always been ours.
        let foreign = if given.epoch.0 == 1 { 0 } else { NOT_LOOKED };
        self.foreign_chunks.store(foreign, Ordering::Relaxed);
        self.view.send_replace(Some(next));
        Ok(())
    }

    fn refuse(&self, why: ViewRefused) -> ViewRefused {
        tracing::warn!(%why, "refused a view");
        *self.refused_view.lock().unwrap_or_else(|p| p.into_inner()) = Some(why.to_string());
        why
    }

    /// Brings this node and another to the newer of their views.
    pub async fn reconcile_views(&self, with: Ordinal, theirs: Option<ViewRef>) {
        let ours = self.current();
        let newer = match (&ours, theirs) {
            (Some(ours), Some(theirs)) => theirs.epoch > ours.reference.epoch,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if newer {
            match self.peers.view(with).await {
                Ok(view) => {
                    if let Err(error) = self.adopt(view).await {
                        tracing::debug!(%error, from = with.0, "did not take a view");
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot fetch a newer view"),
            }
        } else if let Some(ours) = ours
            && theirs.is_none_or(|theirs| theirs.epoch < ours.reference.epoch)
            && let Err(error) = self.peers.push_view(with, &ours.view).await
        {
            tracing::debug!(%error, "cannot pass a view on");
        }
    }

    /// Asks a member, this node itself without a detour. A member at another view
    /// is brought to the newer one before the refusal is returned.
    pub async fn ask(
        self: &Arc<Node>,
        current: &Current,
        to: Ordinal,
        disk: DiskId,
        request: Request,
    ) -> Result<Answer, PeerError> {
        let header = Header {
            cluster: self.cluster.clone(),
            view: current.reference,
            to: disk,
            from: self.ordinal,
        };
        if disk == self.disk() {
            let reply = crate::answer::handle(self, Call { header, request }).await;
            return reply.map_err(|refusal| PeerError::Refused(to, refusal));
        }
        let result = self.peers.call(to, &Call { header, request }).await;
        if let Err(PeerError::Refused(_, Refusal::OtherView(theirs))) = &result {
            self.reconcile_views(to, *theirs).await;
        }
        result
    }

    /// Remembers that a copy of something of this name is missing.
    pub fn owe(&self, name: &FileName) {
        let mut debts = self.debts.lock().unwrap_or_else(|p| p.into_inner());
        if debts.known.contains(name) {
            return;
        }
        if debts.queue.len() >= MAX_DEBTS {
            debts.overflowed = true;
            return;
        }
        debts.known.insert(name.clone());
        debts.queue.push_back(name.clone());
        drop(debts);
        self.debts_changed.notify_one();
    }

    /// The next name with a debt.
    pub fn next_debt(&self) -> Option<FileName> {
        let mut debts = self.debts.lock().unwrap_or_else(|p| p.into_inner());
        let name = debts.queue.pop_front()?;
        debts.known.remove(&name);
        Some(name)
    }

    /// Names with debts, and whether more were dropped than remembered.
    pub fn debts(&self) -> (usize, bool) {
        let debts = self.debts.lock().unwrap_or_else(|p| p.into_inner());
        (debts.queue.len(), debts.overflowed)
    }

    /// A full pass begins: it will find what was not remembered.
    pub fn forget_debt_overflow(&self) {
        self.debts
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .overflowed = false;
    }

    /// What is on the disk; an error counts as something, never as nothing.
    fn inventory(&self) -> Inventory {
        let counts = match self.store.failure() {
            Some(failure) => Err(failure),
            None => self.store.counts(),
        };
        match counts {
            Ok(c) => Inventory {
                registers: c.registers,
                // Leftover chunks count too: while there are any, or may be some,
                // this node's disk is fuller than it will be.
                hints: c.hints
                    + match self.foreign_chunks.load(Ordering::Relaxed) {
                        NOT_LOOKED => u64::from(c.chunks > 0),
                        known => known,
                    },
                // What is left of a damaged copy may be the last of it.
                chunks: c.chunks + c.missing,
                dropped: c.dropped,
            },
            Err(error) => {
                tracing::error!(%error, "cannot count what is on the disk");
                Inventory {
                    registers: 1,
                    hints: 1,
                    chunks: 1,
                    dropped: 1,
                }
            }
        }
    }

    /// What the operator is told.
    pub fn report(&self) -> NodeReport {
        let current = self.current();
        let reference = current.as_ref().map(|c| c.reference);
        let none = ViewRef {
            epoch: chord_types::Epoch(0),
            hash: ViewHash::NONE,
        };
        let at = reference.unwrap_or(none);
        let sync = self.sync.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let copies = self
            .copies
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .clone();
        let (debts, overflowed) = self.debts();
        // A disk that takes nothing holds no copy that counts, and proves nothing.
        let failure = self.store.failure().map(|e| e.to_string());
        let sound = failure.is_none();
        NodeReport {
            name: self.name.clone(),
            ordinal: self.ordinal,
            disk: self.disk(),
            cluster: current.as_ref().map(|c| c.view.cluster.clone()),
            version: env!("CARGO_PKG_VERSION").to_string(),
            speaks: Speaks::OURS,
            boot: self.store.boot(),
            view: reference,
            ready: sound && self.is_member(),
            space: self.store.space(),
            files: self.primary_files.load(Ordering::Relaxed),
            inventory: self.inventory(),
            sync: sync
                .filter(|s| sound && s.epoch == at.epoch && s.hash == at.hash)
                .unwrap_or_else(|| Sync {
                    epoch: at.epoch,
                    hash: at.hash,
                    settled: false,
                    pending: 0,
                    waiting: Some(failure.clone().unwrap_or("it has just started".into())),
                }),
            copies: copies.map_or(
                Copies {
                    epoch: chord_types::Epoch(0),
                    complete: false,
                    missing: 0,
                    unrepaired: 0,
                    waiting: None,
                },
                |c| Copies {
                    complete: sound && c.complete && debts == 0 && !overflowed,
                    missing: c.missing.max(debts as u64),
                    ..c
                },
            ),
            refused_view: self
                .refused_view
                .lock()
                .unwrap_or_else(|p| p.into_inner())
                .clone(),
            failure,
        }
    }
}

/// Milliseconds since the Unix epoch, for what people see.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::testing::Nodes;

    #[tokio::test]
    async fn a_view_is_taken_on_a_disk_that_is_nearly_full_of_small_files() {
        let all = Nodes::start(2).await;
        let view = all.form(1).await;
        let node = &all.nodes[0];
        let many = 3000u64;
        let at = |counter| chord_register::Ballot {
            epoch: view.epoch,
            counter,
            member: node.ordinal,
            boot: 1,
        };
        let (promised, accepted) = (at(9), at(8));
        let name = |n: u64| FileName::new(format!("file-{n}")).unwrap();
        let filled = node.store.transact_alone(move |txn| {
            for n in 0..many {
                txn.set_promise(&name(n), promised)?;
                txn.set_register(&name(n), accepted, &chord_register::Value::default())?;
            }
            Ok(())
        });
        filled.await.unwrap();
        node.store.pretend_room(Some(4 << 20));
        // All its registers are lost, each a change of four tables.
        let joint = view.change_to(all.table(1, &[1])).unwrap();
        all.give(&[0], &joint).await;
        all.give(&[0], &joint.complete().unwrap()).await;
        let counts = node.store.counts().unwrap();
        assert_eq!((counts.registers, counts.hints), (0, many));
    }

    #[tokio::test]
    async fn a_damaged_disk_says_so_and_proves_nothing_any_more() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        *node.copies.lock().unwrap() = Some(Copies {
            epoch: chord_types::Epoch(1),
            complete: true,
            missing: 0,
            unrepaired: 0,
            waiting: None,
        });
        let sound = node.report();
        assert!(sound.ready && sound.copies.complete && sound.sync.settled);
        assert_eq!(sound.failure, None);
        let torn = || StoreError::Damaged("a record is torn".into());
        let failed = node.store.transact(move |_| Err::<(), _>(torn())).await;
        assert!(failed.is_err());
        let report = node.report();
        assert!(report.failure.unwrap().contains("a record is torn"));
        assert!(!report.ready && !report.copies.complete && !report.sync.settled);
        assert!(!report.inventory.is_empty(), "nor that it is empty");
    }
}
