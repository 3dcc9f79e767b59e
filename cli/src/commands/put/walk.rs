//! The files below a folder.

use std::path::{Path, PathBuf};

use chord_api::FileName;

use super::plan::{check, text};
use crate::exit::Failure;

/// Every file below a folder with its name in the cluster. Links to folders are
/// not followed, since they may lead back.
pub struct Walk {
    open: Vec<(std::fs::ReadDir, String)>,
}

impl Walk {
    pub fn new(folder: &Path, name: &str) -> Result<Walk, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
