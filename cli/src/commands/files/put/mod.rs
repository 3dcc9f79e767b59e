//! `chord put`: files, folders and standard input into the cluster.

mod plan;
mod send;
mod walk;

use std::path::PathBuf;

use chord_api::files::{FilesClient, PutOptions, Stored};
use chord_api::http::Where;
use chord_types::FileName;
use futures::StreamExt;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use self::plan::{Source, check, look, plan};
use self::send::send;
use self::walk::{Found, Walk};
use super::AT_ONCE;
use crate::args::Put;
use crate::failure::{Failure, Tally};
use crate::output::{Output, bytes, table};
use crate::target::Target;

/// One file that was stored, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    name: FileName,
    size: u64,
    #[serde(flatten)]
    stored: Stored,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    place: Option<Where>,
}

pub async fn run(args: &Put, target: &Target, out: Output) -> Result<(), Failure> {
    let tasks = plan(args, look)?;
    let files = target.files().await?;
    let single = tasks.len() == 1 && !args.recursive;
    let mut tally = Tally::new(out);
    let mut told = Vec::new();
    for task in tasks {
        let name = || check(&task.name);
        match &task.source {
            Source::Stdin => match one(&files, None, name()?, args, out).await {
                Ok(one) => say(out, one, &mut told, &mut tally)?,
                Err(failure) if single => return Err(failure),
                Err(failure) => tally.failed(failure)?,
            },
            Source::File(path) => match one(&files, Some(path.clone()), name()?, args, out).await {
                Ok(one) => say(out, one, &mut told, &mut tally)?,
                Err(failure) if single => return Err(failure),
                Err(failure) => tally.failed(failure)?,
            },
            Source::Folder(path) => {
                let files = &files;
                let mut puts = futures::stream::iter(Walk::new(path, &task.name)?)
                    .map(|found| async move {
                        match found? {
                            Found::File { path, name } => {
                                one(files, Some(path), name, args, out).await.map(Some)
                            }
                            Found::LeftOut(what) => {
                                out.warn(&what);
                                Ok(None)
                            }
                        }
                    })
                    .buffer_unordered(AT_ONCE);
                while let Some(result) = puts.next().await {
                    match result {
                        Ok(Some(one)) => say(out, one, &mut told, &mut tally)?,
                        Ok(None) => {}
                        Err(failure) => tally.failed(failure)?,
                    }
                }
            }
        }
    }
    if out.is_json() {
        match told.pop() {
            Some(one) if single => out.tell_json(&one)?,
            last => {
                told.extend(last);
                out.tell_json(&told)?;
            }
        }
    }
    tally.finish()
}

fn say(out: Output, one: Told, told: &mut Vec<Told>, tally: &mut Tally) -> Result<(), Failure> {
    tally.done();
    if out.is_json() {
        told.push(one);
        return Ok(());
    }
    let how = if one.stored.created {
        "stored"
    } else {
        "replaced"
    };
    out.tell(format!("{how} {}  {}", one.name, bytes(one.size)))?;
    for line in one.place.iter().flat_map(places) {
        out.tell(line)?;
    }
    Ok(())
}

/// Where each part is, a line each.
pub fn places(place: &Where) -> Vec<String> {
    let rows: Vec<Vec<String>> = place
        .pieces
        .iter()
        .map(|p| vec![format!("  {}", p.piece), bytes(p.size), p.owners.join(" ")])
        .collect();
    table(&rows)
}

/// Asks where a file is, for `-v`. The file is stored by then, so not to know is
/// no failure.
pub async fn ask_where(files: &FilesClient, name: &FileName, out: Output) -> Option<Where> {
    if !out.verbose {
        return None;
    }
    files
        .where_is(name)
        .await
        .inspect_err(|e| out.warn(&e.to_string()))
        .ok()
}

async fn one(
    files: &FilesClient,
    path: Option<PathBuf>,
    name: FileName,
    args: &Put,
    out: Output,
) -> Result<Told, Failure> {
    let mut options = PutOptions {
        length: None,
        content_type: args.content_type.clone(),
        meta: args.meta.clone(),
        if_match: args.if_match.clone(),
        if_none_match: args.if_none_match.clone(),
    };
    let (stored, size) = match path {
        None => {
            let bar = out.progress(name.as_str(), None);
            send(
                files,
                &name,
                tokio::io::stdin(),
                &options,
                "standard input",
                bar,
            )
            .await?
        }
        Some(path) => {
            let shown = path.display().to_string();
            let cannot = |e: std::io::Error| Failure::failed(format!("cannot read {shown}: {e}"));
            let file = tokio::fs::File::open(&path).await.map_err(cannot)?;
            let found = file.metadata().await.map_err(cannot)?;
            if found.is_file() {
                options.length = Some(found.len());
                let bar = out.progress(name.as_str(), Some(found.len()));
                send(files, &name, file.take(found.len()), &options, &shown, bar).await?
            } else {
                // A pipe or a device: its length is known at its end.
                let bar = out.progress(name.as_str(), None);
                send(files, &name, file, &options, &shown, bar).await?
            }
        }
    };
    let place = ask_where(files, &name, out).await;
    Ok(Told {
        name,
        size,
        stored,
        place,
    })
}
