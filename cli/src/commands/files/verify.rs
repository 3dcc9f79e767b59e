//! `chord verify`: every copy checked against its checksum.

use chord_api::files::ListQuery;
use chord_api::http::Verification;
use chord_api::human;
use chord_types::FileName;
use futures::StreamExt;
use serde::Serialize;

use crate::access::Target;
use crate::args::VerifyArgs;
use crate::batch::{AT_ONCE, Batch};
use crate::failure::{Code, Failure};
use crate::output::{Output, plain, table};

/// All files, as it is reported.
#[derive(Debug, Default, Serialize)]
struct Summary {
    ok: bool,
    files: u64,
    copies: u64,
    /// The files with a copy that is not whole.
    faults: Vec<Verification>,
}

/// Checks one file, or all.
pub async fn run(args: &VerifyArgs, target: &Target, out: Output) -> Result<(), Failure> {
    match &args.name {
        Some(name) => verify_file(name, target, out).await,
        None => verify_all(target, out).await,
    }
}

async fn verify_file(name: &FileName, target: &Target, out: Output) -> Result<(), Failure> {
    let check = target.files().await?.verify(name).await?;
    let shown = out.show(&check, || {
        let rows: Vec<Vec<String>> = check
            .copies
            .iter()
            .map(|c| {
                vec![
                    c.piece.clone(),
                    human::size(c.size),
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
        shown
    } else {
        Err(Failure::failed(describe_faults(&check)))
    }
}

async fn verify_all(target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let mut summary = Summary::default();
    let mut batch = Batch::new(out);
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
                        batch.done();
                        continue;
                    }
                    batch.failed(Failure::failed(describe_faults(&check)))?;
                    if out.is_json() {
                        summary.faults.push(check);
                    }
                }
                // Deleted since it was listed: nothing is left to be wrong.
                Err(failure) if failure.code() == Some(Code::NotFound) => {}
                Err(failure) => batch.failed(failure)?,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let result = batch.finish();
    summary.ok = result.is_ok();
    let shown = out.show(&summary, || {
        vec![format!(
            "{} files, {} copies checked",
            summary.files, summary.copies
        )]
    });
    result.and(shown)
}

/// Which copies of a file are not whole, in words.
fn describe_faults(check: &Verification) -> String {
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
