//! `chord rm`.

use chord_api::files::{FilesClient, ListQuery};
use chord_types::FileName;
use futures::StreamExt;

use crate::access::Target;
use crate::args::RmArgs;
use crate::batch::{AT_ONCE, Batch};
use crate::failure::{Code, Failure};
use crate::output::Output;

/// Deletes what is named.
pub async fn run(args: &RmArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let mut batch = Batch::new(out);
    let mut deleted = Vec::new();
    for name in &args.names {
        if args.recursive {
            match delete_folder(&files, name, out, &mut batch, &mut deleted).await {
                Ok(()) => {}
                Err(failure) => batch.failed(failure)?,
            }
            continue;
        }
        match files.delete(name, args.if_match.as_deref()).await {
            Ok(()) => report_deleted(out, name.as_str(), &mut batch, &mut deleted)?,
            Err(error) if args.names.len() == 1 => return Err(error.into()),
            Err(error) => batch.failed(error.into())?,
        }
    }
    if out.is_json() {
        out.report_json(&serde_json::json!({"deleted": deleted}))?;
    }
    batch.finish()
}

fn report_deleted(
    out: Output,
    name: &str,
    batch: &mut Batch,
    deleted: &mut Vec<String>,
) -> Result<(), Failure> {
    batch.done();
    if out.is_json() {
        deleted.push(name.to_string());
        return Ok(());
    }
    if out.verbose {
        out.report(format!("deleted {name}"))
    } else {
        Ok(())
    }
}

/// Deletes every file whose name begins with `folder/`, and nothing else: `rm -r a`
/// must not touch `ab`.
async fn delete_folder(
    files: &FilesClient,
    folder: &FileName,
    out: Output,
    batch: &mut Batch,
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
                Ok(()) => report_deleted(out, &name, batch, deleted)?,
                // Somebody else deleted it: it is gone, as was wanted.
                Err(failure) if failure.code() == Some(Code::NotFound) => {}
                Err(failure) => batch.failed(failure)?,
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
