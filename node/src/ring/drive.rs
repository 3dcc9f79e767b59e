//! The ring's rounds: ticks the core when it wants, and carries out what it says.

use std::sync::Arc;
use std::time::Duration;

use chord_ring::host::Members;
use chord_ring::{Envelope, Failure, Host, HostAction};
use chord_types::Ordinal;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;

use super::gossip::Gossip;
use super::{NAME, Ring};
use crate::view::Current;

/// The longest sleep between two ticks; short, so that time does what it should.
const LONGEST: Duration = Duration::from_millis(500);
const SHORTEST: Duration = Duration::from_millis(20);
/// Exchanges under way at a time; what is more is lost, as on a bad network.
const MOST_EXCHANGES: usize = 512;
/// Exchanges that follow from one batch of another node.
const MOST_FOLLOWING: usize = 64;

impl Ring {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Ring>) {
        let mut view = self.view.watch();
        // A view that was on the disk already is not the first: the node joins anew.
        let mut fresh = self.view.current().is_none();
        let mut known = None;
        let mut gossip = Gossip::default();
        let mut exchanges = Exchanges::default();
        loop {
            let Some(current) = view.borrow_and_update().clone() else {
                self.progress.set(NAME, "waiting", "for a view");
                if view.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // Once for each view: it sets off a round and ends all rest.
            if known != Some(current.reference) {
                known = Some(current.reference);
                let first = fresh && current.reference.epoch.0 == 1;
                fresh = false;
                exchanges.start(&self, self.take_members(&current, first));
            }
            exchanges.start(&self, self.with_host(Host::tick));
            let due = gossip.due(self.me.ordinal, &current, &self.heard);
            exchanges.start(&self, due);
            let next = self.with_host(|host, now| host.next_tick().saturating_sub(now));
            let wait = Duration::from_millis(next).clamp(SHORTEST, LONGEST);
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                Some(said) = exchanges.open.next() => exchanges.take(&self, said),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tells the core who the members are; `first`: the ring has just been formed. The
    /// answer is what it wants to say of it.
    pub fn take_members(&self, current: &Current, first: bool) -> Vec<HostAction> {
        let mine: Vec<_> = current
            .view
            .members()
            .into_iter()
            // A disk under another name is nobody's.
            .filter(|m| m.ordinal == self.me.ordinal && m.disk == self.me.disk)
            .flat_map(|m| m.tokens.clone())
            .collect();
        let members = Members::of_view(&current.view);
        let detail = format!("{} virtual nodes", mine.len());
        self.progress.set(NAME, "working", detail);
        self.with_host(|host, now| host.set_members(now, &mine, &members, first))
    }

    /// Carries batches out, and what comes of their answers, until nothing is left
    /// or enough has been said.
    pub(super) async fn carry_out(self: Arc<Ring>, actions: Vec<HostAction>) {
        let mut exchanges = Exchanges::default();
        exchanges.start(&self, actions);
        for _ in 0..MOST_FOLLOWING {
            let Some(said) = exchanges.open.next().await else {
                return;
            };
            exchanges.take(&self, said);
        }
    }

    /// One exchange, which counts as silence when it is late, and goes on then.
    async fn speak(self: Arc<Ring>, to: Ordinal, messages: Vec<Envelope>) -> Said {
        let patience = self.patience();
        let ring = self.clone();
        let mut answer = async move { ring.ask(to, messages).await }.boxed();
        let Ok(answer) = tokio::time::timeout(patience, &mut answer).await else {
            let actions = self.hear(to, Err(Failure::Silent));
            let late = async move {
                let actions = match answer.await {
                    // That it is silent has been said.
                    Err(Failure::Silent) => Vec::new(),
                    answer => self.hear(to, answer),
                };
                Said {
                    actions,
                    late: None,
                }
            };
            return Said {
                actions,
                late: Some(late.boxed()),
            };
        };
        Said {
            actions: self.hear(to, answer),
            late: None,
        }
    }

    fn hear(&self, to: Ordinal, answer: Result<Vec<Envelope>, Failure>) -> Vec<HostAction> {
        self.with_host(|host, now| match answer {
            Ok(messages) => host.receive(now, to, messages).actions,
            Err(why) => host.unanswered(now, to, why),
        })
    }
}

/// What came of an exchange so far.
struct Said {
    actions: Vec<HostAction>,
    /// It is late, and goes on.
    late: Option<BoxFuture<'static, Said>>,
}

/// Exchanges under way.
#[derive(Default)]
struct Exchanges {
    open: FuturesUnordered<BoxFuture<'static, Said>>,
}

impl Exchanges {
    fn start(&mut self, ring: &Arc<Ring>, actions: Vec<HostAction>) {
        for HostAction::Send { to, messages } in actions {
            if self.open.len() < MOST_EXCHANGES {
                self.open.push(ring.clone().speak(to, messages).boxed());
            }
        }
    }

    fn take(&mut self, ring: &Arc<Ring>, said: Said) {
        self.open.extend(said.late);
        self.start(ring, said.actions);
    }
}
