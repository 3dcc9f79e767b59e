//! Every copy of one file, read from its disk and checked.

use std::sync::Arc;

use chord_api::http::{CopyCheck, Verification};
use chord_api::problem::{Kind, Problem};
use chord_types::{FileName, Id};
use futures::StreamExt;

use crate::node::Node;
use crate::peer::wire::{Answer, ChunkState, Request};
use crate::quorum::drive;
use chord_register::Electorate;

/// Copies that are checked at a time.
const AT_ONCE: usize = 8;

/// Checks every copy that the view asks for.
pub async fn verify(node: &Arc<Node>, name: &FileName) -> Result<Verification, Problem> {
    let value = drive::read(node, name).await?;
    let Some(manifest) = value.and_then(|v| v.current) else {
        return Err(Problem::new(
            Kind::NotFound,
            format!("there is no file {name:?}"),
        ));
    };
    let Some(current) = node.current() else {
        return Err(Problem::new(Kind::NoQuorum, "this node has no view"));
    };
    let mut copies = Vec::new();
    for voter in Electorate::new(&current.placements, &Id::of_file(name)).voters() {
        let request = Request::Read {
            name: name.clone(),
            with_value: true,
        };
        let state = match node.ask(&current, voter.ordinal, voter.disk, request).await {
            Ok(Answer::Read {
                value: Some(value), ..
            }) => {
                let same = value
                    .current
                    .as_ref()
                    .is_some_and(|m| m.version == manifest.version);
                if same { "ok" } else { "stale" }
            }
            Ok(Answer::Read { .. }) => "missing",
            _ => "unreachable",
        };
        copies.push(CopyCheck {
            piece: name.as_str().into(),
            size: manifest.size,
            node: node.name_of(voter.ordinal),
            ordinal: voter.ordinal,
            state: state.into(),
        });
    }
    let chunks: Vec<_> = manifest.chunks(name).collect();
    let sole = chunks.len() == 1;
    let mut wanted = Vec::new();
    for chunk in &chunks {
        for voter in Electorate::new(&current.placements, &chunk.key).voters() {
            wanted.push((*chunk, *voter));
        }
    }
    let checks = futures::stream::iter(wanted).map(|(chunk, voter)| {
        let (node, current) = (node.clone(), current.clone());
        async move {
            let request = Request::VerifyChunk { chunk: chunk.id };
            let state = match node.ask(&current, voter.ordinal, voter.disk, request).await {
                Ok(Answer::Checked(ChunkState::Whole)) => "ok",
                Ok(Answer::Checked(ChunkState::Missing)) => "missing",
                Ok(Answer::Checked(ChunkState::Damaged)) => "damaged",
                _ => "unreachable",
            };
            if state == "missing" || state == "damaged" {
                node.owe(name);
            }
            CopyCheck {
                piece: if sole {
                    format!("{name} (content)")
                } else {
                    name.part(chunk.id.part)
                },
                size: u64::from(chunk.size),
                node: node.name_of(voter.ordinal),
                ordinal: voter.ordinal,
                state: state.into(),
            }
        }
    });
    let checked: Vec<CopyCheck> = checks.buffered(AT_ONCE).collect().await;
    copies.extend(checked);
    let ok = copies.iter().all(|c| c.state == "ok");
    Ok(Verification {
        name: name.as_str().into(),
        version: manifest.version,
        size: manifest.size,
        copies,
        ok,
    })
}
