//! `chord put`: files, folders and standard input into the cluster.

mod plan;
mod send;
mod walk;

use std::path::PathBuf;

use chord_api::files::{FilesClient, PutOptions, Stored};
use chord_api::http::Where;
use chord_api::human;
use chord_types::FileName;
use futures::StreamExt;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use self::plan::{Source, kind_of, plan};
use self::send::send;
use self::walk::{Found, Walk};
use super::locations;
use super::names::file_name;
use crate::access::Target;
use crate::args::PutArgs;
use crate::batch::{AT_ONCE, Batch};
use crate::failure::Failure;
use crate::output::Output;

/// One file that was stored, as it is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredFile {
    name: FileName,
    size: u64,
    #[serde(flatten)]
    stored: Stored,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    place: Option<Where>,
}

/// Stores what is named.
pub async fn run(args: &PutArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let uploads = plan(args, kind_of)?;
    let files = target.files().await?;
    let single = uploads.len() == 1 && !args.recursive;
    let mut batch = Batch::new(out);
    let mut stored_files = Vec::new();
    for upload in uploads {
        let name = || file_name(&upload.name);
        match &upload.source {
            Source::Stdin => match put_file(&files, None, name()?, args, out).await {
                Ok(one) => report(out, one, &mut stored_files, &mut batch)?,
                Err(failure) if single => return Err(failure),
                Err(failure) => batch.failed(failure)?,
            },
            Source::File(path) => {
                match put_file(&files, Some(path.clone()), name()?, args, out).await {
                    Ok(one) => report(out, one, &mut stored_files, &mut batch)?,
                    Err(failure) if single => return Err(failure),
                    Err(failure) => batch.failed(failure)?,
                }
            }
            Source::Folder(path) => {
                let files = &files;
                let mut puts = futures::stream::iter(Walk::new(path, &upload.name)?)
                    .map(|found| async move {
                        match found? {
                            Found::File { path, name } => {
                                put_file(files, Some(path), name, args, out).await.map(Some)
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
                        Ok(Some(one)) => report(out, one, &mut stored_files, &mut batch)?,
                        Ok(None) => {}
                        Err(failure) => batch.failed(failure)?,
                    }
                }
            }
        }
    }
    if out.is_json() {
        match stored_files.pop() {
            Some(one) if single => out.report_json(&one)?,
            last => {
                stored_files.extend(last);
                out.report_json(&stored_files)?;
            }
        }
    }
    batch.finish()
}

fn report(
    out: Output,
    one: StoredFile,
    stored_files: &mut Vec<StoredFile>,
    batch: &mut Batch,
) -> Result<(), Failure> {
    batch.done();
    if out.is_json() {
        stored_files.push(one);
        return Ok(());
    }
    let how = if one.stored.created {
        "stored"
    } else {
        "replaced"
    };
    out.report(format!("{how} {}  {}", one.name, human::size(one.size)))?;
    for line in one.place.iter().flat_map(locations::lines) {
        out.report(line)?;
    }
    Ok(())
}

async fn put_file(
    files: &FilesClient,
    path: Option<PathBuf>,
    name: FileName,
    args: &PutArgs,
    out: Output,
) -> Result<StoredFile, Failure> {
    let mut options = PutOptions {
        length: None,
        content_type: args.content_type.clone(),
        headers: args.headers.given(),
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
    let place = locations::look_up(files, &name, out).await;
    Ok(StoredFile {
        name,
        size,
        stored,
        place,
    })
}
