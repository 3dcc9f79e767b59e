//! Which arguments of `chord put` are files, and under which name each is stored.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chord_types::FileName;

use crate::args::Put;
use crate::failure::Failure;

/// What a path is, here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
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
pub struct Task {
    pub source: Source,
    pub name: String,
}

/// Decides what each argument is; see the help of [`Put`].
pub fn plan(args: &Put, what: impl Fn(&Path) -> Option<What>) -> Result<Vec<Task>, Failure> {
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

pub fn text(path: &Path) -> Result<String, Failure> {
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

pub fn check(name: &str) -> Result<FileName, Failure> {
    FileName::new(name)
        .map_err(|e| Failure::usage(format!("{name:?} cannot be the name of a file: {e}")))
}

pub fn look(path: &Path) -> Option<What> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(What::Folder),
        Ok(_) => Some(What::File),
        // Something is there that cannot be seen: to store another file under its
        // path would surprise.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Some(What::File),
        Err(_) => None,
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
            Some(crate::failure::Code::Usage)
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
}
