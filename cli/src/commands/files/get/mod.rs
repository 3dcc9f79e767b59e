//! `chord get` and `chord cat`: where a file goes, and that it comes whole or not
//! at all.
//!
//! A file is written beside its place and renamed once every byte has come, so
//! that what was there stays until then.

mod fetch;
mod paths;
mod sink;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use chord_api::files::ListQuery;
use chord_api::human;
use futures::StreamExt;

use self::fetch::{to_file, to_stdout};
use self::paths::{is_plain, last_part, make_folders, path_below};
use super::locations;
use super::names::file_name;
use crate::access::Target;
use crate::args::{CatArgs, GetArgs};
use crate::batch::{AT_ONCE, Batch};
use crate::failure::{Code, Failure};
use crate::output::Output;

/// Fetches a file, or a folder.
pub async fn run(args: &GetArgs, target: &Target, out: Output) -> Result<(), Failure> {
    if args.recursive {
        return get_folder(args, target, out).await;
    }
    let name = file_name(&args.name)?;
    let files = target.files().await?;
    if args.file.as_deref() == Some(Path::new("-")) {
        return to_stdout(&files, &name).await;
    }
    let place = match &args.file {
        Some(path) if path.is_dir() => path.join(last_part(&name)?),
        Some(path) => path.clone(),
        None => PathBuf::from(last_part(&name)?),
    };
    let fetched = to_file(&files, &name, &place, out).await?;
    if out.is_json() {
        return out.report_json(&fetched);
    }
    out.report(format!("{}  {}", fetched.file, human::size(fetched.size)))?;
    for line in locations::look_up(&files, &name, out)
        .await
        .iter()
        .flat_map(locations::lines)
    {
        out.report(line)?;
    }
    Ok(())
}

/// Writes files to standard output.
pub async fn cat(args: &CatArgs, target: &Target) -> Result<(), Failure> {
    let files = target.files().await?;
    for name in &args.names {
        to_stdout(&files, name).await?;
    }
    Ok(())
}

/// Everything below a name, into a folder.
async fn get_folder(args: &GetArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let prefix = if args.name.is_empty() || args.name.ends_with('/') {
        args.name.clone()
    } else {
        format!("{}/", args.name)
    };
    let into = match (&args.file, prefix.trim_end_matches('/').rsplit('/').next()) {
        (Some(path), _) if path == Path::new("-") => {
            return Err(Failure::usage(
                "a folder cannot go to standard output: name a folder for it",
            ));
        }
        (Some(path), _) => path.clone(),
        (None, Some(last)) if is_plain(last) => PathBuf::from(last),
        (None, _) => PathBuf::from("."),
    };
    if into.exists() && !into.is_dir() {
        return Err(Failure::failed(format!(
            "cannot fetch a folder into {}, which is a file: name a folder",
            into.display()
        )));
    }
    let files = target.files().await?;
    let mut batch = Batch::new(out);
    let mut fetched = Vec::new();
    let mut after = None;
    let mut any = false;
    loop {
        let query = ListQuery {
            prefix: Some(prefix.clone()),
            after,
            ..ListQuery::default()
        };
        let page = files.list(&query).await?;
        any |= !page.files.is_empty();
        let (files, prefix, into) = (&files, prefix.as_str(), into.as_path());
        let mut gets = futures::stream::iter(page.files)
            .map(|entry| async move {
                let name = file_name(&entry.name)?;
                let place = path_below(into, prefix, &name)?;
                make_folders(into, &place)?;
                to_file(files, &name, &place, out).await
            })
            .buffer_unordered(AT_ONCE);
        while let Some(result) = gets.next().await {
            match result {
                Ok(one) => {
                    batch.done();
                    if out.is_json() {
                        fetched.push(one);
                    } else {
                        out.report(format!("{}  {}", one.file, human::size(one.size)))?;
                    }
                }
                Err(failure) => batch.failed(failure)?,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !any {
        return Err(Failure::new(
            Code::NotFound,
            format!("there is no file below {prefix:?}"),
        ));
    }
    if out.is_json() {
        out.report_json(&fetched)?;
    }
    batch.finish()
}
