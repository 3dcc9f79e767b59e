//! `chord verify`: every copy checked against its checksum.

use chord_api::files::ListQuery;
use chord_api::http::Verification;
use chord_types::FileName;
use futures::StreamExt;
use serde::Serialize;

use super::AT_ONCE;
use crate::args::Verify;
use crate::failure::{Code, Failure, Tally};
use crate::output::{Output, bytes, plain, table};
use crate::target::Target;

/// All files, as it is told.
#[derive(Debug, Default, Serialize)]
struct Summary {
    ok: bool,
    files: u64,
    copies: u64,
    /// The files with a copy that is not whole.
    faults: Vec<Verification>,
}

pub async fn run(args: &Verify, target: &Target, out: Output) -> Result<(), Failure> {
    match &args.name {
        Some(name) => one(name, target, out).await,
        None => all(target, out).await,
    }
}

async fn one(name: &FileName, target: &Target, out: Output) -> Result<(), Failure> {
    let check = target.files().await?.verify(name).await?;
    let told = out.show(&check, || {
        let rows: Vec<Vec<String>> = check
            .copies
            .iter()
            .map(|c| {
                vec![
                    c.piece.clone(),
                    bytes(c.size),
                    c.node.clone(),
                    c.state.clone(),
                ]
            })
            .collect();
        table(&rows)
            .iter()
            .map(|line| plain(line).into_owned())
            .collect()
    });
    // Whether anybody reads it or not, the verdict is the exit code.
    if check.ok {
        told
    } else {
        Err(Failure::failed(faulty(&check)))
    }
}

async fn all(target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let mut summary = Summary::default();
    let mut tally = Tally::new(out);
    let mut after = None;
    let bar = out.progress("verifying", None);
    loop {
        let page = files
            .list(&ListQuery {
                after,
                ..ListQuery::default()
            })
            .await?;
        let files = &files;
        let mut checks = futures::stream::iter(page.files)
            .map(|entry| async move {
                let name = FileName::new(entry.name).map_err(|e| Failure::failed(e.to_string()))?;
                files.verify(&name).await.map_err(Failure::from)
            })
            .buffer_unordered(AT_ONCE);
        while let Some(result) = checks.next().await {
            match result {
                Ok(check) => {
                    bar.inc(check.size);
                    summary.files += 1;
                    summary.copies += check.copies.len() as u64;
                    if check.ok {
                        tally.done();
                        continue;
                    }
                    tally.failed(Failure::failed(faulty(&check)))?;
                    if out.is_json() {
                        summary.faults.push(check);
                    }
                }
                // Deleted since it was listed: nothing is left to be wrong.
                Err(failure) if failure.code() == Some(Code::NotFound) => {}
                Err(failure) => tally.failed(failure)?,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let result = tally.finish();
    summary.ok = result.is_ok();
    let told = out.show(&summary, || {
        vec![format!(
            "{} files, {} copies checked",
            summary.files, summary.copies
        )]
    });
    result.and(told)
}

/// Which copies of a file are not whole, in words.
fn faulty(check: &Verification) -> String {
    let bad: Vec<String> = check
        .copies
        .iter()
        .filter(|c| c.state != "ok")
        .map(|c| format!("{} on {} is {}", c.piece, c.node, c.state))
        .collect();
    if bad.is_empty() {
        return format!("{:?} is not whole", check.name);
    }
    format!("{:?} is not whole: {}", check.name, bad.join(", "))
}
