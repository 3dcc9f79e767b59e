//! Where on this machine a file of the cluster goes: never outside the folder that was
//! named, whatever its name.

use std::path::{Path, PathBuf};

use chord_types::FileName;

use crate::failure::Failure;

/// Whether a part of a name can be the name of a file on this machine.
pub fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".."
}

/// What a file is called here when nobody says.
pub fn last_part(name: &FileName) -> Result<String, Failure> {
    match name.as_str().rsplit('/').next() {
        Some(part) if is_plain(part) => Ok(part.to_string()),
        _ => Err(Failure::usage(format!(
            "{name:?} ends in nothing that a file can be called: say where to write it"
        ))),
    }
}

/// Where a file goes below a folder; never anywhere else, whatever its name.
pub fn path_below(into: &Path, prefix: &str, name: &FileName) -> Result<PathBuf, Failure> {
    let rest = name.as_str().strip_prefix(prefix).unwrap_or(name.as_str());
    if !rest.split('/').all(is_plain) {
        return Err(Failure::failed(format!(
            "{name:?} cannot be a path here: fetch it by itself, with a path for it"
        )));
    }
    Ok(into.join(rest))
}

/// Makes the folders that a file below `into` lies in. A link that is there may lead
/// anywhere: names of the cluster are not to choose what is written through it.
pub fn make_folders(into: &Path, place: &Path) -> Result<(), Failure> {
    let cannot = |path: &Path, e: std::io::Error| {
        Failure::failed(format!("cannot make the folder {}: {e}", path.display()))
    };
    std::fs::create_dir_all(into).map_err(|e| cannot(into, e))?;
    let rest = place.strip_prefix(into).unwrap_or(place);
    let mut path = into.to_path_buf();
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let last = parts.peek().is_none();
        if !last {
            match std::fs::create_dir(&path) {
                Ok(()) => continue,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(cannot(&path, e)),
            }
        }
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                return Err(Failure::failed(format!(
                    "cannot write {}: {} is a link, and may lead out of {}: take it away, or fetch this file by itself",
                    place.display(),
                    path.display(),
                    into.display()
                )));
            }
            Ok(found) if !last && !found.is_dir() => {
                return Err(Failure::failed(format!(
                    "cannot write {}: {} is a file",
                    place.display(),
                    path.display()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
