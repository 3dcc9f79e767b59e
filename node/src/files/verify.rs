//! Every copy of one file, read from its disk and checked.

use std::sync::Arc;

use chord_api::http::{CopyCheck, Verification};
use chord_register::{Electorate, Voter};
use chord_types::manifest::PlacedChunk;
use chord_types::{FileName, Id, Manifest};
use futures::StreamExt;

use super::Error;
use crate::notes::Debts;
use crate::peer::wire::{Answer, ChunkState, Request};
use crate::quorum::{Quorum, QuorumError};
use crate::view::{Current, Identity};

/// Copies that are checked at a time.
const AT_ONCE: usize = 8;

/// Checks copies of files.
pub struct Verifier {
    pub(crate) me: Arc<Identity>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) debts: Arc<Debts>,
}

impl Verifier {
    /// Checks every copy that the view asks for.
    pub async fn verify(&self, name: &FileName) -> Result<Verification, Error> {
        let value = self.quorum.read(name).await?;
        let Some(manifest) = value.and_then(|v| v.current) else {
            let name = name.clone();
            return Err(Error::NotFound { name });
        };
        let Some(current) = self.quorum.current() else {
            return Err(QuorumError::NoView.into());
        };
        let mut copies = self.check_registers(&current, name, &manifest).await;
        copies.extend(self.check_chunks(&current, name, &manifest).await);
        let ok = copies.iter().all(|c| c.state == "ok");
        Ok(Verification {
            name: name.as_str().into(),
            version: manifest.version,
            size: manifest.size,
            copies,
            ok,
        })
    }

    /// The register at each of its owners.
    async fn check_registers(
        &self,
        current: &Arc<Current>,
        name: &FileName,
        manifest: &Manifest,
    ) -> Vec<CopyCheck> {
        let mut copies = Vec::new();
        for voter in Electorate::new(&current.placements, &Id::of_file(name)).voters() {
            let request = Request::Read {
                name: name.clone(),
                with_value: true,
            };
            let asked = self.quorum.ask(current, voter.ordinal, voter.disk, request);
            let state = match asked.await {
                Ok(Answer::Read {
                    value: Some(value), ..
                }) => {
                    let held = value.current.as_ref();
                    let same = held.is_some_and(|m| m.version == manifest.version);
                    if same { "ok" } else { "stale" }
                }
                Ok(Answer::Read { .. }) => "missing",
                _ => "unreachable",
            };
            let piece = name.as_str().into();
            copies.push(self.copy(piece, manifest.size, voter, state));
        }
        copies
    }

    /// Every chunk at each of its owners. What is missing or damaged is owed.
    async fn check_chunks(
        &self,
        current: &Arc<Current>,
        name: &FileName,
        manifest: &Manifest,
    ) -> Vec<CopyCheck> {
        let chunks: Vec<_> = manifest.chunks(name).collect();
        let sole = chunks.len() == 1;
        let wanted = chunks.into_iter().flat_map(|chunk| {
            let owners = Electorate::new(&current.placements, &chunk.key);
            let voters = owners.voters().to_vec();
            voters.into_iter().map(move |voter| (chunk, voter))
        });
        let wanted: Vec<(PlacedChunk, Voter)> = wanted.collect();
        let checks = futures::stream::iter(wanted).map(|(chunk, voter)| async move {
            let request = Request::VerifyChunk { chunk: chunk.id };
            let asked = self.quorum.ask(current, voter.ordinal, voter.disk, request);
            let state = match asked.await {
                Ok(Answer::Checked(ChunkState::Whole)) => "ok",
                Ok(Answer::Checked(ChunkState::Missing)) => "missing",
                Ok(Answer::Checked(ChunkState::Damaged)) => "damaged",
                _ => "unreachable",
            };
            if state == "missing" || state == "damaged" {
                self.debts.owe(name);
            }
            let piece = match sole {
                true => format!("{name} (content)"),
                false => name.part(chunk.id.part),
            };
            self.copy(piece, u64::from(chunk.size), &voter, state)
        });
        checks.buffered(AT_ONCE).collect().await
    }

    fn copy(&self, piece: String, size: u64, at: &Voter, state: &str) -> CopyCheck {
        CopyCheck {
            piece,
            size,
            node: self.me.name_of(at.ordinal),
            ordinal: at.ordinal,
            state: state.into(),
        }
    }
}
