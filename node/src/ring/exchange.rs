//! One exchange with another node, from either side: what this node says, and what
//! it takes of what it hears.

use std::sync::Arc;

use chord_api::causes::words;
use chord_ring::wire::{RING_VERSION, RingExchange};
use chord_ring::{Envelope, Failure};
use chord_types::Ordinal;

use super::Ring;
use crate::peer::PeerError;
use crate::peer::ring::{self as wire, Direction, Reason, Refused};
use crate::peer::views::bring_together;
use crate::peer::wire::Refusal;
use crate::view::Current;

impl Ring {
    /// One exchange with a member: the messages it answers, judged, if it is that
    /// member.
    pub(super) async fn ask(
        &self,
        to: Ordinal,
        messages: Vec<Envelope>,
    ) -> Result<Vec<Envelope>, Failure> {
        let Some(current) = self.view.current() else {
            return Err(Failure::Busy);
        };
        let number = self.admission.number(to);
        let sent = self.exchange(&current, number, messages);
        let answer = match self.peers.ring(to, &sent).await {
            Ok(answer) => answer,
            // It lives, and one of the two views is old.
            Err(PeerError::Refused(_, Refusal::OtherView(Some(theirs)))) => {
                bring_together(&self.view, &*self.peers, to, Some(theirs)).await;
                return Ok(Vec::new());
            }
            Err(error) => {
                tracing::trace!(error = words(&error), "the ring cannot reach a node");
                return Err(failure(&error));
            }
        };
        // It may have been given another view meanwhile.
        let Some(current) = self.view.current() else {
            return Err(Failure::Busy);
        };
        let judge = |current: &Current| {
            wire::decode(&answer.bytes).and_then(|answer| {
                let direction = Direction::Response(to);
                self.admission.admit(
                    &self.me.cluster,
                    self.me.ordinal,
                    current,
                    direction,
                    answer,
                )
            })
        };
        let mut judged = judge(&current);
        let theirs = match &judged {
            Ok(valid) => Some(valid.exchange().view),
            Err(refused) => refused.theirs,
        };
        if let Some(theirs) = theirs.filter(|theirs| *theirs != current.reference) {
            bring_together(&self.view, &*self.peers, to, Some(theirs)).await;
            // A name with another disk is nobody until the view says so.
            if judged.is_err()
                && let Some(newer) = self.view.current()
                && newer.reference != current.reference
            {
                judged = judge(&newer);
            }
        }
        match judged {
            Ok(valid) => {
                self.heard.note(valid.exchange());
                Ok(valid.into_messages())
            }
            Err(refused) => {
                self.admission
                    .count(&refused, &format!("node {to}'s answer"));
                Err(match refused.reason {
                    Reason::OtherCluster
                    | Reason::SpeaksForOther
                    | Reason::FromSelf
                    | Reason::Stranger
                    | Reason::OtherDisk => Failure::Gone,
                    // A node said it, in words that this one does not know.
                    reason if reason.not_understood() && answer.speaks.is_some() => Failure::Busy,
                    _ => Failure::Silent,
                })
            }
        }
    }

    /// What this node says; `number` is in a response that of its last request there.
    fn exchange(
        &self,
        current: &Current,
        number: u64,
        mut messages: Vec<Envelope>,
    ) -> RingExchange {
        // Nobody looks at more; what is left out is asked again.
        messages.truncate(wire::MAX_MESSAGES);
        RingExchange {
            version: RING_VERSION,
            cluster: self.me.cluster.clone(),
            from: self.me.ordinal,
            disk: self.me.disk,
            boot: self.me.boot,
            number,
            view: current.reference,
            available: self.available(),
            messages,
        }
    }

    /// Answers a batch of another node, if it may speak here.
    pub fn answer(self: &Arc<Ring>, batch: RingExchange) -> Result<RingExchange, Refused> {
        let Some(current) = self.view.current() else {
            let why = "this node has no view yet".to_string();
            return Err(Refused::new(Reason::NoView, why));
        };
        let from = batch.from;
        let judged = self.admission.admit(
            &self.me.cluster,
            self.me.ordinal,
            &current,
            Direction::Request,
            batch,
        );
        let theirs = match &judged {
            Ok(valid) => Some(valid.exchange().view),
            Err(refused) => refused.theirs,
        };
        if let Some(theirs) = theirs.filter(|theirs| theirs.epoch > current.reference.epoch) {
            let (keeper, peers) = (self.view.clone(), self.peers.clone());
            self.tasks.background(async move {
                bring_together(&keeper, &*peers, from, Some(theirs)).await;
            });
        }
        let valid = judged?;
        self.heard.note(valid.exchange());
        let received = self.with_host(|host, now| host.receive(now, from, valid.into_messages()));
        if !received.actions.is_empty() {
            let following = self.clone().carry_out(received.actions);
            self.tasks.background(following);
        }
        let number = self.admission.last_number(from);
        Ok(self.exchange(&current, number, received.replies))
    }

    /// Counts an exchange that could not even be read.
    pub fn count_refused(&self, refused: &Refused) {
        self.admission.count(refused, "a request");
    }
}

fn failure(error: &PeerError) -> Failure {
    match error {
        PeerError::Gone(..)
        | PeerError::Refused(_, Refusal::OtherCluster | Refusal::OtherDisk(_)) => Failure::Gone,
        PeerError::Refused(_, Refusal::Failed(_) | Refusal::Full | Refusal::NotOwner) => {
            Failure::Busy
        }
        // Of another release: it lives, and only the look-up or the round has failed.
        PeerError::NotUnderstood(..) => Failure::Busy,
        // It has no view yet: it may soon have one, or has lost its disk.
        PeerError::Refused(_, Refusal::OtherView(_)) => Failure::Silent,
        PeerError::NoAddress(_)
        | PeerError::Unreachable(..)
        | PeerError::Overloaded(..)
        | PeerError::Unreadable(..)
        | PeerError::Unwritable(..) => Failure::Silent,
    }
}

#[cfg(test)]
mod tests {
    use chord_api::client::NOT_UNDERSTOOD;

    use super::*;
    use crate::node::testing::Nodes;

    #[tokio::test]
    async fn a_node_that_does_not_understand_or_is_not_understood_lives() {
        let all = Nodes::start(2).await;
        all.form(1).await;
        let (node, other) = (&all.nodes[0], &all.nodes[1]);
        let asked = async || node.ring.ask(other.me.ordinal, vec![]).await;
        assert_eq!(asked().await, Ok(vec![]));
        all.far_ahead(1, Some((NOT_UNDERSTOOD, b"it reads another version")));
        assert_eq!(asked().await, Err(Failure::Busy));
        let current = other.view.current().unwrap();
        let later = RingExchange {
            version: RING_VERSION + 1,
            ..other.ring.exchange(&current, 1, vec![])
        };
        let later = rmp_serde::to_vec_named(&later).unwrap();
        for unknown in [&later[..], b"\xc1"] {
            all.far_ahead(1, Some((axum::http::StatusCode::OK, unknown)));
            assert_eq!(asked().await, Err(Failure::Busy));
        }
        // What answers in the place of a node says nothing of it.
        all.far_ahead(1, None);
        all.silence(1, true);
        assert_eq!(asked().await, Err(Failure::Silent));
    }
}
