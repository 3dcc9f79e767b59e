//! `chord put`: which name each file gets, and sending them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chord_api::FileName;
use chord_api::files::{FilesClient, PutOptions, Stored};
use chord_api::http::Where;
use futures::{Stream, StreamExt};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::AT_ONCE;
use crate::args::Put;
use crate::exit::{Failure, Tally};
use crate::output::{Output, bytes, table};
use crate::target::Target;

/// How long the network may take nothing, or the answer may stay away.
const STALLED_AFTER: Duration = Duration::from_secs(180);
/// What is read at once.
const READ_BYTES: usize = 256 * 1024;

/// What a path is, here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    File,
    Folder,
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Stdin,
    File(PathBuf),
    Folder(PathBuf),
}

/// One argument with the name that it is stored under (a folder: that its files'
/// names begin with).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    source: Source,
    name: String,
}

/// Decides what each argument is; see the help of [`Put`].
fn plan(args: &Put, what: impl Fn(&Path) -> Option<What>) -> Result<Vec<Task>, Failure> {
    let is_stdin = |path: &Path| path == Path::new("-");
    let (sources, given) = match args.paths.split_last() {
        None => return Err(Failure::usage("there is nothing to store: name a file")),
        Some((last, rest)) if args.name.is_none() && !rest.is_empty() => {
            // Standard input has no name of its own, so what follows it is one.
            let named = (rest.len() == 1 && is_stdin(&rest[0]))
                || (what(last).is_none() && !is_stdin(last));
            if named {
                (rest, Some(text(last)?))
            } else {
                (args.paths.as_slice(), None)
            }
        }
        Some(_) => (
            args.paths.as_slice(),
            args.name.as_ref().map(|n| n.to_string()),
        ),
    };
    let folder_given =
        given.as_deref().is_some_and(|name| name.ends_with('/')) && args.name.is_none();
    if let Some(given) = &given
        && sources.len() > 1
        && !folder_given
    {
        return Err(Failure::usage(match args.name {
            Some(_) => {
                "--name is for one file: without it several files keep their own names".to_string()
            }
            None => format!(
                "there is no file {given:?} here, and several files cannot have one name: to put it before their names, end it with `/`"
            ),
        }));
    }
    let mut tasks = Vec::new();
    let mut names = BTreeSet::new();
    for path in sources {
        let source = if is_stdin(path) {
            Source::Stdin
        } else {
            match what(path) {
                None => {
                    return Err(Failure::failed(format!(
                        "cannot read {}: there is no such file",
                        path.display()
                    )));
                }
                Some(What::File) => Source::File(path.clone()),
                Some(What::Folder) if args.recursive => Source::Folder(path.clone()),
                Some(What::Folder) => {
                    return Err(Failure::usage(format!(
                        "{} is a folder: -r stores all that is in it",
                        path.display()
                    )));
                }
            }
        };
        let name = match &given {
            Some(name) if !folder_given => name.clone(),
            _ if source == Source::Stdin => {
                return Err(Failure::usage(
                    "standard input needs a name: chord put - NAME",
                ));
            }
            prefix => format!("{}{}", prefix.as_deref().unwrap_or(""), own_name(path)?),
        };
        if !matches!(source, Source::Folder(_)) {
            check(&name)?;
        }
        if !names.insert(name.clone()) {
            return Err(Failure::usage(format!(
                "two files would be stored as {name:?}: store them one by one, each under a name of its own"
            )));
        }
        tasks.push(Task { source, name });
    }
    Ok(tasks)
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_string).ok_or_else(|| {
        Failure::usage(format!(
            "{} is not UTF-8 and cannot be a name: give one with --name",
            path.display()
        ))
    })
}

/// The last part of a path; of `.` and the like, of what it stands for.
fn own_name(path: &Path) -> Result<String, Failure> {
    if let Some(name) = path.file_name() {
        return text(Path::new(name));
    }
    let real = path
        .canonicalize()
        .map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
    match real.file_name() {
        Some(name) => text(Path::new(name)),
        None => Err(Failure::usage(format!(
            "{} has no name of its own: give one",
            path.display()
        ))),
    }
}

fn check(name: &str) -> Result<FileName, Failure> {
    FileName::new(name)
        .map_err(|e| Failure::usage(format!("{name:?} cannot be the name of a file: {e}")))
}

fn look(path: &Path) -> Option<What> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(What::Folder),
        Ok(_) => Some(What::File),
        // Something is there that cannot be seen: to store another file under its
        // path would surprise.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Some(What::File),
        Err(_) => None,
    }
}

/// Every file below a folder with its name in the cluster. Links to folders are
/// not followed, since they may lead back.
struct Walk {
    open: Vec<(std::fs::ReadDir, String)>,
}

impl Walk {
    fn new(folder: &Path, name: &str) -> Result<Walk, Failure> {
        Ok(Walk {
            open: vec![(read_dir(folder)?, name.trim_end_matches('/').to_string())],
        })
    }

    fn entry(
        &mut self,
        entry: &std::fs::DirEntry,
        prefix: &str,
    ) -> Result<Option<(PathBuf, FileName)>, Failure> {
        let path = entry.path();
        let cannot =
            |e: std::io::Error| Failure::failed(format!("cannot read {}: {e}", path.display()));
        let name = format!("{prefix}/{}", text(Path::new(&entry.file_name()))?);
        let kind = entry.file_type().map_err(cannot)?;
        if kind.is_dir() {
            self.open.push((read_dir(&path)?, name));
            return Ok(None);
        }
        let found = std::fs::metadata(&path).map_err(cannot)?;
        if !found.is_file() {
            return Err(Failure::failed(format!(
                "{} is neither a file nor a folder: left out",
                path.display()
            )));
        }
        Ok(Some((path, check(&name)?)))
    }
}

fn read_dir(folder: &Path) -> Result<std::fs::ReadDir, Failure> {
    std::fs::read_dir(folder)
        .map_err(|e| Failure::failed(format!("cannot read the folder {}: {e}", folder.display())))
}

impl Iterator for Walk {
    type Item = Result<(PathBuf, FileName), Failure>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, prefix) = self.open.last_mut()?;
            let prefix = prefix.clone();
            match folder.next() {
                None => {
                    self.open.pop();
                }
                Some(Err(e)) => {
                    return Some(Err(Failure::failed(format!(
                        "cannot read a folder of {prefix}: {e}"
                    ))));
                }
                Some(Ok(entry)) => match self.entry(&entry, &prefix) {
                    Ok(None) => {}
                    Ok(Some(found)) => return Some(Ok(found)),
                    Err(failure) => return Some(Err(failure)),
                },
            }
        }
    }
}

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
    let mut tally = Tally::default();
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
                        let (path, name) = found?;
                        one(files, Some(path), name, args, out).await
                    })
                    .buffer_unordered(AT_ONCE);
                while let Some(result) = puts.next().await {
                    match result {
                        Ok(one) => say(out, one, &mut told, &mut tally)?,
                        Err(failure) => tally.failed(failure)?,
                    }
                }
            }
        }
    }
    if out.is_json() {
        match told.pop() {
            Some(one) if single => out.json(&one)?,
            last => {
                told.extend(last);
                out.json(&told)?;
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
    out.line(format!("{how} {}  {}", one.name, bytes(one.size)))?;
    for line in one.place.iter().flat_map(|place| places(place)) {
        out.line(line)?;
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
        .inspect_err(|e| eprintln!("chord: {e}"))
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

/// Streams a source to the cluster; a reading error is told as what it is, not as
/// the broken connection that it leads to.
async fn send<R: tokio::io::AsyncRead + Send + Unpin + 'static>(
    files: &FilesClient,
    name: &FileName,
    source: R,
    options: &PutOptions,
    shown: &str,
    bar: ProgressBar,
) -> Result<(Stored, u64), Failure> {
    let sent = Arc::new(Mutex::new(Sent::default()));
    let (moving, watched) = watch::channel(Moving::Network);
    let body = match options.length {
        Some(0) => reqwest::Body::from(Bytes::new()),
        _ => reqwest::Body::wrap_stream(stream(source, Arc::clone(&sent), moving, bar.clone())),
    };
    let result = tokio::select! {
        result = files.put(name, body, options) => result.map_err(Failure::from),
        () = stalled(watched) => Err(Failure::new(
            crate::exit::Code::Unavailable,
            format!("cannot store {name:?}: nothing moved for {} s; whether it was stored is not known", STALLED_AFTER.as_secs()),
        )),
    };
    bar.finish_and_clear();
    let sent = sent
        .lock()
        .map(|s| (s.bytes, s.error.clone()))
        .unwrap_or_default();
    if let (_, Some(error)) = &sent {
        return Err(Failure::failed(format!(
            "cannot read {shown}: {error}; nothing was stored"
        )));
    }
    Ok((result?, sent.0))
}

#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    error: Option<String>,
}

/// Who is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moving {
    Source,
    Network,
}

fn stream<R: tokio::io::AsyncRead + Send + Unpin + 'static>(
    source: R,
    sent: Arc<Mutex<Sent>>,
    moving: watch::Sender<Moving>,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(source, move |mut source| {
        moving.send_replace(Moving::Source);
        let (sent, moving, bar) = (Arc::clone(&sent), moving.clone(), bar.clone());
        async move {
            let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
            let read = source.read_buf(&mut buffer).await;
            moving.send_replace(Moving::Network);
            if let Ok(mut sent) = sent.lock() {
                match &read {
                    Ok(n) => sent.bytes += *n as u64,
                    Err(e) => sent.error = Some(e.to_string()),
                }
            }
            let n = read?;
            bar.inc(n as u64);
            Ok(if n == 0 {
                None
            } else {
                Some((buffer.freeze(), source))
            })
        }
    })
}

/// Ends when the network has taken nothing for long. Waiting for a slow source is
/// no stall.
async fn stalled(mut moving: watch::Receiver<Moving>) {
    loop {
        let who = *moving.borrow_and_update();
        let changed = match who {
            Moving::Source => moving.changed().await,
            Moving::Network => match tokio::time::timeout(STALLED_AFTER, moving.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // The whole body went: only the answer is awaited.
            tokio::time::sleep(STALLED_AFTER).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(line: &[&str]) -> Put {
        let words = ["chord", "put"].iter().chain(line);
        match crate::args::Cli::try_parse_from(words).unwrap().command {
            crate::args::Command::Put(put) => put,
            _ => panic!("not put"),
        }
    }

    /// Here are the files a and b, and the folder d.
    fn planned(line: &[&str]) -> Result<Vec<(String, String)>, Failure> {
        let tasks = plan(&args(line), |path| match path.to_str() {
            Some("a" | "b" | "x/a") => Some(What::File),
            Some("d" | "d/") => Some(What::Folder),
            _ => None,
        })?;
        let shown = |source: &Source| match source {
            Source::Stdin => "-".to_string(),
            Source::File(path) | Source::Folder(path) => path.display().to_string(),
        };
        Ok(tasks
            .iter()
            .map(|t| (shown(&t.source), t.name.clone()))
            .collect())
    }

    fn pairs(line: &[&str]) -> Vec<(String, String)> {
        planned(line).unwrap()
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_string(), b.to_string())
    }

    #[test]
    fn one_file_keeps_its_own_name_or_takes_the_one_given() {
        assert_eq!(pairs(&["a"]), [pair("a", "a")]);
        assert_eq!(pairs(&["x/a"]), [pair("x/a", "a")]);
        assert_eq!(pairs(&["a", "new"]), [pair("a", "new")]);
        assert_eq!(pairs(&["a", "in/"]), [pair("a", "in/a")]);
        assert_eq!(
            pairs(&["a", "--name", "b"]),
            [pair("a", "b")],
            "--name wins over a file of that name"
        );
    }

    #[test]
    fn a_last_argument_that_is_a_file_is_a_file() {
        assert_eq!(pairs(&["a", "b"]), [pair("a", "a"), pair("b", "b")]);
        assert_eq!(
            pairs(&["a", "b", "in/"]),
            [pair("a", "in/a"), pair("b", "in/b")]
        );
    }

    #[test]
    fn standard_input_is_named_by_what_follows_it() {
        assert_eq!(pairs(&["-", "b"]), [pair("-", "b")], "though b is a file");
        assert!(planned(&["-"]).is_err());
        assert!(planned(&["a", "-"]).is_err());
    }

    #[test]
    fn folders_want_dash_r() {
        assert_eq!(
            planned(&["d"]).unwrap_err().code(),
            Some(crate::exit::Code::Usage)
        );
        assert_eq!(pairs(&["-r", "d"]), [pair("d", "d")]);
        assert_eq!(pairs(&["-r", "d/", "in"]), [pair("d/", "in")]);
        assert_eq!(pairs(&["-r", "d", "a"]), [pair("d", "d"), pair("a", "a")]);
    }

    #[test]
    fn what_would_lose_a_file_is_refused() {
        assert!(planned(&["a", "x/a"]).is_err(), "both would be stored as a");
        assert!(
            planned(&["a", "b", "nowhere"]).is_err(),
            "one name for two files"
        );
        assert!(planned(&["a", "b", "--name", "c"]).is_err());
        assert!(planned(&["nowhere"]).is_err());
    }

    #[test]
    fn a_folder_is_walked_to_its_leaves() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
        std::fs::write(folder.path().join("one"), "1").unwrap();
        std::fs::write(folder.path().join("sub/deep/two"), "2").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
        let found: Vec<_> = Walk::new(folder.path(), "n").unwrap().collect();
        let names: BTreeSet<String> = found
            .iter()
            .flatten()
            .map(|(_, name)| name.to_string())
            .collect();
        assert_eq!(
            names,
            BTreeSet::from(["n/one".to_string(), "n/sub/deep/two".to_string()])
        );
    }
}
