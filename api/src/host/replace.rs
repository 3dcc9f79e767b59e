//! Files that are replaced whole: whoever reads one sees what was there before or
//! what is there now, after a crash too.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Ballast;

/// Reads a file; `None` where there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts `content` in the place of the file `path`, with these permissions; durable
/// when it returns. A file that has this content already is left alone. Where the
/// file system has no room `ballast` gives some, and takes it again afterwards.
///
/// What stood there before stays beside it, as the draft of the next time: so that one
/// takes no room, which somebody else may have taken by then.
pub fn replace(path: &Path, content: &[u8], mode: u32, ballast: &Ballast) -> io::Result<()> {
    if read(path)?.as_deref() == Some(content) {
        return Ok(());
    }
    // Opened before anything changes, since it may be what fails.
    let folder = File::open(folder(path))?;
    let draft = draft(path);
    // An exchange that was cut short may not be durable: until it is, what is about to
    // be written over may still be the file.
    folder.sync_all()?;
    ballast.with(content.len() as u64, || {
        write(&draft, content, mode)?;
        exchange(&draft, path)
    })?;
    folder.sync_all()?;
    // That it cannot be filled now is no failure.
    let _ = ballast.fill();
    Ok(())
}

/// Gives a draft the name of the file, and the other way round where there is one.
fn exchange(draft: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, draft, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // There is none, or the file system cannot do that.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::rename(draft, path)
        }
        Err(e) => Err(e.into()),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn draft(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write(draft: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options()
        .create(true)
        // It keeps the room that it has.
        .truncate(false)
        .write(true)
        .mode(mode)
        .open(draft)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::ballast::STEP;
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_file_is_replaced_whole_and_left_alone_when_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), STEP);
        let path = dir.path().join("state.json");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, b"one", 0o600, &ballast).unwrap();
        let first = std::fs::metadata(&path).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o600);
        replace(&path, b"one", 0o600, &ballast).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first.ino());
        replace(&path, b"another", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"another");
        // The next one is written where the first one was.
        replace(&path, b"two", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first.ino());
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [".state.json.new", "ballast", "state.json"]);
    }
}
