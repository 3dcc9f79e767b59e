//! `chord rm`.

use chord_api::files::{FilesClient, ListQuery};
use chord_types::FileName;
use futures::StreamExt;

use super::AT_ONCE;
use crate::args::Rm;
use crate::failure::{Code, Failure, Tally};
use crate::output::Output;
use crate::target::Target;

pub async fn run(args: &Rm, target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let mut tally = Tally::new(out);
    let mut deleted = Vec::new();
    for name in &args.names {
        if args.recursive {
            match below(&files, name, out, &mut tally, &mut deleted).await {
                Ok(()) => {}
                Err(failure) => tally.failed(failure)?,
            }
            continue;
        }
        match files.delete(name, args.if_match.as_deref()).await {
            Ok(()) => told(out, name.as_str(), &mut tally, &mut deleted)?,
            Err(error) if args.names.len() == 1 => return Err(error.into()),
            Err(error) => tally.failed(error.into())?,
        }
    }
    if out.is_json() {
        out.tell_json(&serde_json::json!({"deleted": deleted}))?;
    }
    tally.finish()
}

fn told(
    out: Output,
    name: &str,
    tally: &mut Tally,
    deleted: &mut Vec<String>,
) -> Result<(), Failure> {
    tally.done();
    if out.is_json() {
        deleted.push(name.to_string());
        return Ok(());
    }
    if out.verbose {
        out.tell(format!("deleted {name}"))
    } else {
        Ok(())
    }
}

/// Deletes every file whose name begins with `folder/`, and nothing else: `rm -r a`
/// must not touch `ab`.
async fn below(
    files: &FilesClient,
    folder: &FileName,
    out: Output,
    tally: &mut Tally,
    deleted: &mut Vec<String>,
) -> Result<(), Failure> {
    let folder = folder.as_str();
    let prefix = if folder.ends_with('/') {
        folder.to_string()
    } else {
        format!("{folder}/")
    };
    let mut after = None;
    let mut any = false;
    loop {
        let page = files
            .list(&ListQuery {
                prefix: Some(prefix.clone()),
                after,
                ..ListQuery::default()
            })
            .await?;
        any |= !page.files.is_empty();
        let names = page
            .files
            .into_iter()
            .filter(|entry| entry.name.starts_with(&prefix));
        let mut deletes = futures::stream::iter(names)
            .map(|entry| async move {
                let result = match FileName::new(entry.name.as_str()) {
                    Ok(name) => files.delete(&name, None).await.map_err(Failure::from),
                    Err(e) => Err(Failure::failed(format!(
                        "{:?} cannot be the name of a file: {e}",
                        entry.name
                    ))),
                };
                (entry.name, result)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((name, result)) = deletes.next().await {
            match result {
                Ok(()) => told(out, &name, tally, deleted)?,
                // Somebody else deleted it: it is gone, as was wanted.
                Err(failure) if failure.code() == Some(Code::NotFound) => {}
                Err(failure) => tally.failed(failure)?,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if any {
        Ok(())
    } else {
        Err(Failure::new(
            Code::NotFound,
            format!("there is no file below {prefix:?}"),
        ))
    }
}
