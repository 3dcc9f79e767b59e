//! Who asks a quorum. Its own disk is asked without a detour, others through the
//! transport; a member at another view is brought to the newer one on the way.
//!
//! [`drive`] is the shell of [`chord_register::proposer`]: it carries out what the
//! proposer says, round by round. [`read`] answers most questions in one round trip.

pub mod drive;
mod error;
pub mod read;
mod retry;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chord_register::{OpId, Voter};
use chord_types::manifest::PlacedChunk;
use chord_types::{DiskId, FileName, Ordinal};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use self::turns::Turns;
use crate::answer::Responder;
use crate::notes::Debts;
use crate::peer::views::bring_together;
use crate::peer::wire::{Answer, Call, ChunkHeader, Header, Refusal, Request};
use crate::peer::{PeerError, Transport};
use crate::view::{Current, Identity, ViewKeeper};
use crate::world::{Random, Tasks};

pub use drive::{Precondition, Ready};
pub use error::{Hindrance, QuorumError};

/// Asks the members of the view in force, and drives operations on registers.
pub struct Quorum {
    me: Arc<Identity>,
    view: Arc<ViewKeeper>,
    responder: Arc<Responder>,
    peers: Arc<dyn Transport>,
    debts: Arc<Debts>,
    tasks: Tasks,
    random: Random,
    /// Whose turn it is at each register.
    turns: Turns,
    operations: AtomicU64,
}

type Asked<'a> = FuturesUnordered<BoxFuture<'a, (Voter, Result<Answer, PeerError>)>>;

impl Quorum {
    /// Puts it together.
    pub fn new(
        me: Arc<Identity>,
        view: Arc<ViewKeeper>,
        responder: Arc<Responder>,
        peers: Arc<dyn Transport>,
        debts: Arc<Debts>,
        tasks: Tasks,
        random: Random,
    ) -> Quorum {
        Quorum {
            me,
            view,
            responder,
            peers,
            debts,
            tasks,
            random,
            turns: Turns::default(),
            operations: AtomicU64::new(0),
        }
    }

    /// The view that it acts by.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.view.current()
    }

    /// Whether this view is still in force.
    pub fn holds(&self, current: &Current) -> bool {
        self.view.holds(current)
    }

    /// A new operation id.
    pub fn next_operation(&self) -> OpId {
        OpId {
            disk: self.me.disk,
            boot: self.me.boot,
            counter: self.operations.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn header(&self, current: &Current, to: DiskId) -> Header {
        Header {
            cluster: self.me.cluster.clone(),
            view: current.reference,
            to,
            from: self.me.ordinal,
        }
    }

    /// Asks a member, this node itself without a detour. A member at another view
    /// is brought to the newer one before the refusal is returned.
    pub async fn ask(
        &self,
        current: &Current,
        to: Ordinal,
        disk: DiskId,
        request: Request,
    ) -> Result<Answer, PeerError> {
        let header = self.header(current, disk);
        let call = Call { header, request };
        if disk == self.me.disk {
            let reply = self.responder.handle(call).await;
            return reply.map_err(|refusal| PeerError::Refused(to, refusal));
        }
        let result = self.peers.call(to, &call).await;
        self.keep_up(to, result).await
    }

    /// Sends a chunk to an owner, or puts it on this disk. Success is a receipt.
    pub async fn send_chunk(
        &self,
        current: &Current,
        to: Voter,
        name: FileName,
        chunk: PlacedChunk,
        pieces: Vec<Bytes>,
    ) -> Result<(), PeerError> {
        let head = ChunkHeader {
            header: self.header(current, to.disk),
            name,
            chunk,
            committed: false,
        };
        if to.disk == self.me.disk {
            let pieces = pieces.into_iter().map(Ok::<_, std::convert::Infallible>);
            let body = futures::stream::iter(pieces);
            let stored = self.responder.take_chunk(head, body).await;
            return stored.map_err(|refusal| PeerError::Refused(to.ordinal, refusal));
        }
        let result = self.peers.put_chunk(to.ordinal, &head, pieces).await;
        self.keep_up(to.ordinal, result).await
    }

    /// Brings a member that refused for its view, or this node, to the newer view.
    async fn keep_up<T>(
        &self,
        with: Ordinal,
        result: Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        if let Err(PeerError::Refused(_, Refusal::OtherView(theirs))) = &result {
            bring_together(&self.view, &*self.peers, with, *theirs).await;
        }
        result
    }

    /// Asks every voter at once. The futures own what they need, so that those which
    /// have not answered when a quorum has can be finished later.
    fn ask_all(
        self: &Arc<Quorum>,
        current: &Arc<Current>,
        voters: &[Voter],
        request: impl Fn(&Voter) -> Request,
    ) -> Asked<'static> {
        voters
            .iter()
            .map(|voter| {
                let (quorum, current) = (self.clone(), current.clone());
                let (voter, request) = (*voter, request(voter));
                let asked: BoxFuture<'static, _> = Box::pin(async move {
                    let asked = quorum.ask(&current, voter.ordinal, voter.disk, request);
                    (voter, asked.await)
                });
                asked
            })
            .collect()
    }

    /// Tells every member something that needs no answer.
    pub async fn notify_members(&self, request: &Request) {
        let Some(current) = self.view.current() else {
            return;
        };
        let mut asked: FuturesUnordered<_> = current
            .view
            .members()
            .into_iter()
            .map(|m| self.ask(&current, m.ordinal, m.disk, request.clone()))
            .collect();
        while asked.next().await.is_some() {}
    }

    /// The same behind an answer, one after the other. Where too much is left to do
    /// they are not told: who misses a notice finds out by asking.
    pub fn notify_later(self: &Arc<Quorum>, requests: Vec<Request>) {
        let quorum = self.clone();
        self.tasks.background(async move {
            for request in &requests {
                quorum.notify_members(request).await;
            }
        });
    }
}
