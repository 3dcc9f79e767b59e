//! Look-ups: who is the successor of an id.

use std::sync::Arc;
use std::time::Duration;

use chord_ring::{Confirm, Envelope, Failure, Found, LookupFailed, Message, Next, NextConfirm};
use chord_types::Id;

use super::Ring;

/// After this long the address of a node that has moved is known.
const MOVED: Duration = Duration::from_millis(300);

impl Ring {
    /// Finds the successor of an id through the ring, which begins where the view
    /// says and has the last word; then the successor itself confirms it.
    pub async fn lookup(self: &Arc<Ring>, id: Id) -> Result<Found, LookupFailed> {
        let mut lookup = self.with_host(|host, _| host.lookup_by_view(id));
        let found = loop {
            match lookup.step() {
                Next::Done(found) => break found?,
                Next::Ask(peer) => {
                    let reply = self
                        .question(self.with_host(|host, _| host.ask(id, peer)))
                        .await;
                    lookup.reply(peer, reply);
                }
            }
        };
        let mut confirm = Confirm::new(id, found);
        loop {
            match confirm.step() {
                NextConfirm::Done(found) => return found,
                NextConfirm::Ask(peer) if peer.ordinal == self.me.ordinal => {
                    let own = self.with_host(|host, _| host.own_state(&peer));
                    confirm.reply(peer, own);
                }
                NextConfirm::Ask(peer) => {
                    let reply = self
                        .question(self.with_host(|host, _| host.query(peer)))
                        .await;
                    confirm.reply(peer, reply);
                }
            }
        }
    }

    /// Sends one question of a look-up; its reply, if there is one.
    async fn question(self: &Arc<Ring>, envelope: Envelope) -> Option<Message> {
        let to = envelope.to.ordinal;
        let asked = envelope.message.asks().unwrap_or_default();
        let ask_it = async |envelope| {
            tokio::time::timeout(self.patience(), self.ask(to, vec![envelope]))
                .await
                .unwrap_or(Err(Failure::Silent))
        };
        let mut answer = ask_it(envelope.clone()).await;
        // Nobody there, and it is not known to be dead: it may just have moved.
        if answer == Err(Failure::Gone) && self.with_host(|host, _| host.alive(to)) {
            tokio::time::sleep(MOVED).await;
            answer = ask_it(envelope).await;
        }
        match answer {
            Ok(messages) => {
                let mut messages = messages.into_iter().map(|e| e.message);
                messages.find(Message::is_reply)
            }
            Err(why) => {
                let actions = self.with_host(|host, now| host.unanswered(now, to, why));
                self.tasks.background(self.clone().carry_out(actions));
                // One that has too much to do lives; that is all it says.
                let request = asked;
                (why == Failure::Busy).then_some(Message::Busy { request })
            }
        }
    }
}
