//! The files below a folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chord_types::FileName;

use super::plan::utf8_name;
use crate::commands::files::names::file_name;
use crate::failure::Failure;

/// What is below a folder.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A file, with its name in the cluster.
    File { path: PathBuf, name: FileName },
    /// Something that is no file of this folder, in words: no failure, but not to
    /// be passed over in silence either.
    LeftOut(String),
}

/// Every file below a folder. A link to a file of the same folder is that file; one
/// that leads out of it is left out, or `put -r` would publish what lies elsewhere,
/// and so is one to a folder, which may lead back.
pub struct Walk {
    top: PathBuf,
    open: Vec<OpenFolder>,
}

/// A folder that is being walked.
struct OpenFolder {
    path: PathBuf,
    entries: std::fs::ReadDir,
    prefix: String,
    empty: bool,
}

impl Walk {
    /// Begins at a folder, whose files' names begin with `name`.
    pub fn new(folder: &Path, name: &str) -> Result<Walk, Failure> {
        let top = folder.canonicalize().map_err(|e| {
            Failure::failed(format!("cannot read the folder {}: {e}", folder.display()))
        })?;
        let mut walk = Walk {
            top,
            open: Vec::new(),
        };
        walk.enter(folder.to_path_buf(), name.trim_end_matches('/').to_string())?;
        Ok(walk)
    }

    fn enter(&mut self, path: PathBuf, prefix: String) -> Result<(), Failure> {
        let entries = std::fs::read_dir(&path).map_err(|e| {
            Failure::failed(format!("cannot read the folder {}: {e}", path.display()))
        })?;
        self.open.push(OpenFolder {
            path,
            entries,
            prefix,
            empty: true,
        });
        Ok(())
    }

    /// What an entry is; `None` for a folder, which is walked next.
    fn entry(&mut self, entry: &std::fs::DirEntry, prefix: &str) -> Result<Option<Found>, Failure> {
        let path = entry.path();
        let cannot =
            |e: std::io::Error| Failure::failed(format!("cannot read {}: {e}", path.display()));
        let left_out = |what: &str| {
            let told = format!("left out {}: it is {what}", path.display());
            Ok(Some(Found::LeftOut(told)))
        };
        let kind = entry.file_type().map_err(cannot)?;
        if kind.is_symlink() {
            let leads_to = match path.canonicalize() {
                Ok(real) => real,
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    return left_out("a link that leads nowhere");
                }
                Err(e) => return Err(cannot(e)),
            };
            if !leads_to.starts_with(&self.top) {
                return left_out(&format!(
                    "a link out of the folder, to {}",
                    leads_to.display()
                ));
            }
            if leads_to.is_dir() {
                return left_out("a link to a folder");
            }
        }
        let name = format!("{prefix}/{}", utf8_name(Path::new(&entry.file_name()))?);
        if kind.is_dir() {
            self.enter(path, name)?;
            return Ok(None);
        }
        if !std::fs::metadata(&path).map_err(cannot)?.is_file() {
            return left_out("neither a file nor a folder");
        }
        let name = file_name(&name)?;
        Ok(Some(Found::File { path, name }))
    }
}

impl Iterator for Walk {
    type Item = Result<Found, Failure>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let folder = self.open.last_mut()?;
            let Some(entry) = folder.entries.next() else {
                let told = folder.empty.then(|| {
                    format!(
                        "left out {}: it is an empty folder, and the cluster keeps files only",
                        folder.path.display()
                    )
                });
                self.open.pop();
                match told {
                    Some(told) => return Some(Ok(Found::LeftOut(told))),
                    None => continue,
                }
            };
            folder.empty = false;
            let prefix = folder.prefix.clone();
            let found = entry
                .map_err(|e| Failure::failed(format!("cannot read a folder of {prefix}: {e}")))
                .and_then(|entry| self.entry(&entry, &prefix));
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[cfg(unix)]
    #[test]
    fn a_folder_is_walked_to_its_leaves_and_never_out_of_it() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("sub/deep")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        std::fs::write(at("one"), "1").unwrap();
        std::fs::write(at("sub/deep/two"), "2").unwrap();
        symlink(folder.path(), at("sub/loop")).unwrap();
        symlink("../one", at("sub/same")).unwrap();
        symlink(outside.path().join("secret"), at("leak")).unwrap();
        symlink(outside.path(), at("leaks")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let (mut names, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        for found in Walk::new(folder.path(), "n").unwrap() {
            match found.unwrap() {
                Found::File { name, .. } => assert!(names.insert(name.to_string())),
                Found::LeftOut(why) => {
                    let what = why.split(':').next().unwrap_or_default();
                    let what = what.rsplit('/').next().unwrap_or_default();
                    assert!(left_out.insert(what.to_string()), "{why}");
                }
            }
        }
        drop(socket);
        let set = |all: &[&str]| all.iter().map(|s| s.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(names, set(&["n/one", "n/sub/deep/two", "n/sub/same"]));
        assert_eq!(
            left_out,
            set(&["empty", "loop", "leak", "leaks", "dangling", "socket"]),
            "each is told"
        );
    }
}
