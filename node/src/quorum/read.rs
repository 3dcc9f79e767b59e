//! Reading a register: in one round trip where a quorum of every table has accepted
//! the same ballot; anything else is reconciled first.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_register::proposer::End;
use chord_register::{Ballot, Change, Electorate, Value, Voter};
use chord_types::{DiskId, FileName, Id};
use futures::StreamExt;

use super::drive::hindrance;
use super::error::Hindrance;
use super::retry::{READ_LIMIT, Tries};
use super::{Quorum, QuorumError};
use crate::peer::wire::{Answer, Request};
use crate::view::Current;

/// What one look at the owners found.
enum Found {
    Decided(Option<Box<Value>>),
    /// The owners that answered do not agree.
    Undecided,
    TooFew(Hindrance),
}

/// What the owners have said so far.
#[derive(Default)]
struct Heard {
    ballots: Vec<(Voter, Option<Ballot>)>,
    values: Vec<(Ballot, Value)>,
}

impl Heard {
    /// The ballot that a quorum has accepted, where there is one, and who has it:
    /// `Some(None)` where a quorum holds nothing.
    fn decided(&self, electorate: &Electorate) -> Option<(Option<Ballot>, Vec<Voter>)> {
        self.ballots.iter().find_map(|(_, ballot)| {
            let same = self.ballots.iter().filter(|(_, b)| b == ballot);
            let holders: Vec<Voter> = same.map(|(voter, _)| *voter).collect();
            let agree: BTreeSet<DiskId> = holders.iter().map(|v| v.disk).collect();
            electorate.decides(&agree).then_some((*ballot, holders))
        })
    }

    fn has(&self, disk: DiskId) -> bool {
        self.ballots.iter().any(|(voter, _)| voter.disk == disk)
    }
}

impl Quorum {
    /// The decided value of a name, `None` where there is none.
    pub async fn read(self: &Arc<Quorum>, name: &FileName) -> Result<Option<Value>, QuorumError> {
        let mut tries = Tries::for_at_most(READ_LIMIT, &self.random);
        loop {
            let Some(current) = self.view.current() else {
                return Err(QuorumError::NoView);
            };
            let why = match self.ask_once(&current, name).await {
                Found::Decided(value) => return Ok(value.map(|v| *v)),
                Found::Undecided => match self.change(name, Change::Identity).await? {
                    End::Done(value, _) => return Ok(Some(*value)),
                    End::Absent => return Ok(None),
                    End::Refused(_) | End::Unknown => Hindrance::Disagreement,
                },
                Found::TooFew(why) => why,
            };
            if !tries.again().await {
                let name = name.clone();
                return Err(QuorumError::TooFew { name, why });
            }
        }
    }

    /// Asks all owners once: each for its ballot, and one of them for the value.
    async fn ask_once(self: &Arc<Quorum>, current: &Arc<Current>, name: &FileName) -> Found {
        let electorate = Electorate::new(&current.placements, &Id::of_file(name));
        let voters = electorate.voters();
        let mine = voters.iter().find(|v| v.disk == self.me.disk);
        let from = mine.or(voters.first()).map(|v| v.disk);
        let mut asked = self.ask_all(current, voters, |voter| Request::Read {
            name: name.clone(),
            with_value: Some(voter.disk) == from,
        });
        let mut heard = Heard::default();
        let mut why = Hindrance::NoneAnswered;
        while let Some((voter, answer)) = asked.next().await {
            match answer {
                Ok(Answer::Read { ballot, value }) => {
                    heard.ballots.push((voter, ballot));
                    heard.values.extend(ballot.zip(value));
                }
                other => why = hindrance(other),
            }
            let Some((ballot, holders)) = heard.decided(&electorate) else {
                continue;
            };
            let Some(ballot) = ballot else {
                return Found::Decided(None);
            };
            if let Some((_, value)) = heard.values.iter().find(|(b, _)| *b == ballot) {
                return Found::Decided(Some(Box::new(value.clone())));
            }
            // The value is still to come, unless who was asked for it has another or
            // does not answer.
            if asked.is_empty() || from.is_none_or(|disk| heard.has(disk)) {
                return self.fetch_value(current, name, ballot, &holders).await;
            }
        }
        if let Some((Some(ballot), holders)) = heard.decided(&electorate) {
            return self.fetch_value(current, name, ballot, &holders).await;
        }
        let answered: BTreeSet<DiskId> = heard.ballots.iter().map(|(v, _)| v.disk).collect();
        if electorate.decides(&answered) {
            Found::Undecided
        } else {
            Found::TooFew(why)
        }
    }

    async fn fetch_value(
        &self,
        current: &Current,
        name: &FileName,
        ballot: Ballot,
        holders: &[Voter],
    ) -> Found {
        for holder in holders {
            let request = Request::Read {
                name: name.clone(),
                with_value: true,
            };
            let asked = self.ask(current, holder.ordinal, holder.disk, request);
            if let Ok(Answer::Read {
                ballot: Some(b),
                value: Some(value),
            }) = asked.await
                && b == ballot
            {
                return Found::Decided(Some(Box::new(value)));
            }
        }
        Found::Undecided
    }
}
