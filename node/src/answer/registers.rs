//! The acceptor's side of registers: promises, votes, and what they hold.

use std::sync::Arc;

use chord_register::acceptor::{Promise, Vote, accepts, grants};
use chord_register::{Ballot, Value};
use chord_types::{FileName, View};

use super::{MAX_BATCH, Responder, check_batch, entered_under, failed};
use crate::peer::wire::{Answer, NameEntry, NameFile, NamesPage, Refusal, Reply};
use crate::store::{StoreError, Tier};
use crate::view::Current;

/// The view may have changed between the check and the writer's turn: what is
/// written is written under the view that the request names, or not at all.
fn same_view(held: Option<Arc<View>>, current: &Current) -> Result<(), StoreError> {
    entered_under(current)(held.as_deref())
}

/// A ballot is of the view that it is proposed in.
fn check_ballot(ballot: Ballot, current: &Current) -> Result<(), Refusal> {
    if ballot.epoch != current.reference.epoch {
        return Err(Refusal::OtherView(Some(current.reference)));
    }
    Ok(())
}

impl Responder {
    pub(super) async fn prepare(
        &self,
        current: &Arc<Current>,
        name: FileName,
        ballot: Ballot,
        bytes: u64,
    ) -> Reply {
        self.check_owner(current, &name)?;
        check_ballot(ballot, current)?;
        if bytes > 0 {
            self.store.admit(bytes, Tier::Clients).map_err(failed)?;
        }
        let view = current.clone();
        let promise = self
            .store
            .transact_essential(move |txn| {
                same_view(txn.view(), &view)?;
                let accepted = txn.register(&name)?;
                let promised = txn.promise(&name)?;
                Ok(
                    match grants(promised, accepted.as_ref().map(|(b, _)| *b), ballot) {
                        Ok(()) => {
                            txn.set_promise(&name, ballot)?;
                            Promise::Promised { accepted }
                        }
                        Err(promised) => Promise::Rejected { promised },
                    },
                )
            })
            .await;
        match promise {
            Ok(promise) => Ok(Answer::Promise(promise)),
            Err(error) => Err(self.stale(error)),
        }
    }

    pub(super) async fn accept(
        &self,
        current: &Arc<Current>,
        name: FileName,
        ballot: Ballot,
        value: Value,
        client: bool,
    ) -> Reply {
        self.check_owner(current, &name)?;
        check_ballot(ballot, current)?;
        let view = current.clone();
        // What grows leaves the room that deletions and votes need.
        let tier = if client { Tier::Clients } else { Tier::Moves };
        let space = self.store.clone();
        let vote = self
            .store
            .transact_essential(move |txn| {
                same_view(txn.view(), &view)?;
                let held = txn.register(&name)?;
                let accepted = held.as_ref().map(|(b, _)| *b);
                let promised = txn.promise(&name)?;
                Ok(match accepts(promised, accepted, ballot) {
                    Ok(()) => {
                        let bytes = value.brings(held.as_ref().map(|(_, v)| v));
                        if bytes > 0 {
                            space.admit(bytes, tier)?;
                        }
                        txn.set_promise(&name, ballot)?;
                        txn.set_register(&name, ballot, &value)?;
                        Vote::Accepted
                    }
                    Err(promised) => Vote::Rejected { promised },
                })
            })
            .await;
        match vote {
            Ok(vote) => Ok(Answer::Vote(vote)),
            Err(error) => Err(self.stale(error)),
        }
    }

    pub(super) async fn read(
        &self,
        current: &Arc<Current>,
        name: FileName,
        with_value: bool,
    ) -> Reply {
        self.check_owner(current, &name)?;
        let view = current.clone();
        let found = self
            .store
            .read(move |txn| {
                same_view(txn.view(), &view)?;
                txn.register(&name)
            })
            .await;
        match found {
            Ok(None) => Ok(Answer::Read {
                ballot: None,
                value: None,
            }),
            Ok(Some((ballot, value))) => Ok(Answer::Read {
                ballot: Some(ballot),
                value: with_value.then_some(value),
            }),
            Err(error) => Err(self.stale(error)),
        }
    }

    pub(super) async fn ballots(&self, current: &Arc<Current>, names: Vec<FileName>) -> Reply {
        check_batch(names.len(), "names")?;
        let view = current.clone();
        let found = self
            .store
            .read(move |txn| {
                same_view(txn.view(), &view)?;
                names
                    .iter()
                    .map(|name| Ok(txn.register(name)?.map(|(b, _)| b)))
                    .collect()
            })
            .await;
        match found {
            Ok(ballots) => Ok(Answer::Ballots(ballots)),
            Err(error) => Err(self.stale(error)),
        }
    }

    pub(super) async fn names(
        &self,
        current: &Arc<Current>,
        prefix: String,
        after: String,
        limit: u32,
    ) -> Reply {
        let limit = (limit as usize).min(MAX_BATCH);
        let view = current.clone();
        let page = self
            .store
            .read(move |txn| {
                same_view(txn.view(), &view)?;
                txn.list(&prefix, Some(&after), limit)
            })
            .await;
        match page {
            Ok(page) => Ok(Answer::Names(NamesPage {
                more: page.next.is_some(),
                names: page
                    .items
                    .into_iter()
                    .map(|listed| NameEntry {
                        name: listed.name,
                        ballot: listed.ballot,
                        file: listed.current.map(|file| NameFile {
                            size: file.size,
                            etag: file.etag,
                            modified_ms: file.modified_ms,
                            content_type: file.content_type,
                        }),
                    })
                    .collect(),
            })),
            Err(error) => Err(self.stale(error)),
        }
    }
}
