//! Which arguments of `chord put` are files, and under which name each is stored.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::args::PutArgs;
use crate::commands::files::names::file_name;
use crate::failure::Failure;

/// PathKind a path is, here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    File,
    Folder,
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
    Folder(PathBuf),
}

/// One argument with the name that it is stored under (a folder: that its files'
/// names begin with).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub source: Source,
    pub name: String,
}

/// Decides what each argument is; see the help of [`PutArgs`].
pub fn plan(
    args: &PutArgs,
    kind: impl Fn(&Path) -> Option<PathKind>,
) -> Result<Vec<Upload>, Failure> {
    let (sources, given) = match args.paths.split_last() {
        None => return Err(Failure::usage("there is nothing to store: name a file")),
        Some((last, rest)) if args.name.is_none() && !rest.is_empty() => {
            // Standard input has no name of its own, so what follows it is one.
            let named = (rest.len() == 1 && is_stdin(&rest[0]))
                || (kind(last).is_none() && !is_stdin(last));
            if named {
                (rest, Some(utf8_name(last)?))
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
    let mut uploads = Vec::new();
    let mut names = BTreeSet::new();
    for path in sources {
        let source = source_of(path, args.recursive, &kind)?;
        let name = match &given {
            Some(name) if !folder_given => name.clone(),
            _ if source == Source::Stdin => {
                return Err(Failure::usage(
                    "standard input needs a name: chord put - NAME",
                ));
            }
            prefix => format!("{}{}", prefix.as_deref().unwrap_or(""), default_name(path)?),
        };
        if !matches!(source, Source::Folder(_)) {
            file_name(&name)?;
        }
        if !names.insert(name.clone()) {
            return Err(Failure::usage(format!(
                "two files would be stored as {name:?}: store them one by one, each under a name of its own"
            )));
        }
        uploads.push(Upload { source, name });
    }
    Ok(uploads)
}

/// The last part of a path; of `.` and the like, of what it stands for.
fn default_name(path: &Path) -> Result<String, Failure> {
    if let Some(name) = path.file_name() {
        return utf8_name(Path::new(name));
    }
    let real = path
        .canonicalize()
        .map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
    match real.file_name() {
        Some(name) => utf8_name(Path::new(name)),
        None => Err(Failure::usage(format!(
            "{} has no name of its own: give one",
            path.display()
        ))),
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Where the bytes of one argument come from.
fn source_of(
    path: &Path,
    recursive: bool,
    kind: impl Fn(&Path) -> Option<PathKind>,
) -> Result<Source, Failure> {
    if is_stdin(path) {
        return Ok(Source::Stdin);
    }
    match kind(path) {
        None => Err(Failure::failed(format!(
            "cannot read {}: there is no such file",
            path.display()
        ))),
        Some(PathKind::File) => Ok(Source::File(path.to_path_buf())),
        Some(PathKind::Folder) if recursive => Ok(Source::Folder(path.to_path_buf())),
        Some(PathKind::Folder) => Err(Failure::usage(format!(
            "{} is a folder: -r stores all that is in it",
            path.display()
        ))),
    }
}

/// What is at a path; `None`: nothing.
pub fn kind_of(path: &Path) -> Option<PathKind> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(PathKind::Folder),
        Ok(_) => Some(PathKind::File),
        // Something is there that cannot be seen: to store another file under its
        // path would surprise.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Some(PathKind::File),
        Err(_) => None,
    }
}

/// A path as text, which a name has to be.
pub fn utf8_name(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_string).ok_or_else(|| {
        Failure::usage(format!(
            "{} is not UTF-8 and cannot be a name: give one with --name",
            path.display()
        ))
    })
}
