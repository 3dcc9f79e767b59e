//! Files that are replaced whole: whoever reads one sees what was there before or
//! what is there now, after a crash too.
//!
//! Where there is room the new content goes into a new file. The version before stays
//! beside it as room for the time when there is none: then it is written over, and
//! whoever has had it open since before the last replacement may read some of both.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Ballast;
use super::ballast::no_room;

/// Reads a file; `None` where there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts `content` in the place of the file `path`, with the permissions `mode`; durable
/// when it returns. A file that has this content already is left alone. Where the file
/// system has no room `ballast` gives some, and takes it again afterwards.
pub fn replace(path: &Path, content: &[u8], mode: u32, ballast: &Ballast) -> io::Result<()> {
    // Opened before anything changes, since it may be what fails.
    let folder = File::open(folder(path))?;
    let (fresh, draft) = (beside(path, ".fresh"), beside(path, ".new"));
    // While there is a fresh file a replacement is not known to be durable.
    if fresh.try_exists()? {
        finish(&folder, &fresh, &draft)?;
    }
    if read(path)?.as_deref() == Some(content) {
        return Ok(());
    }
    match write_new(&fresh, content, mode).and_then(|()| exchange(&fresh, path)) {
        Err(e) if no_room(&e) => write_over(path, content, mode, ballast)?,
        done => done?,
    }
    finish(&folder, &fresh, &draft)?;
    // That it cannot be filled now is no failure.
    let _ = ballast.fill();
    Ok(())
}

/// Writes the content over the version before, and gives it the name of the file. That
/// takes no room, which somebody else may have taken by then.
fn write_over(path: &Path, content: &[u8], mode: u32, ballast: &Ballast) -> io::Result<()> {
    let (fresh, draft) = (beside(path, ".fresh"), beside(path, ".new"));
    // A part of the new content, for which there was no room.
    missing_is_fine(std::fs::remove_file(&fresh))?;
    missing_is_fine(std::fs::rename(&draft, &fresh))?;
    ballast.with(content.len() as u64, || {
        write(&fresh, content, mode)?;
        exchange(&fresh, path)
    })
}

/// Makes a replacement durable, and then keeps what was the file before as the next
/// draft: not earlier, since a draft may be written over.
fn finish(folder: &File, fresh: &Path, draft: &Path) -> io::Result<()> {
    folder.sync_all()?;
    missing_is_fine(std::fs::rename(fresh, draft))
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
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

/// A hidden name beside a file.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

fn write_new(fresh: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // Left by one that was cut short, perhaps with other permissions.
    missing_is_fine(std::fs::remove_file(fresh))?;
    write(fresh, content, mode)
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
    use std::io::Read;
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
        let mut reader = File::open(&path).unwrap();
        replace(&path, b"another", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"another");
        replace(&path, b"two", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"one", "who has it open reads one version");
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [".state.json.new", "ballast", "state.json"]);
    }

    #[test]
    fn without_room_the_version_before_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), STEP);
        let path = dir.path().join("state.json");
        replace(&path, b"one", 0o600, &ballast).unwrap();
        let first = std::fs::metadata(&path).unwrap();
        replace(&path, b"another", 0o600, &ballast).unwrap();
        write_over(&path, b"2", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"2");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first.ino());
        let former = beside(&path, ".fresh");
        assert_eq!(read(&former).unwrap().unwrap(), b"another");
    }

    #[test]
    fn one_that_was_cut_short_is_finished_before_its_content_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), STEP);
        let path = dir.path().join("view.bin");
        let (fresh, draft) = (beside(&path, ".fresh"), beside(&path, ".new"));
        replace(&path, b"one", 0o600, &ballast).unwrap();
        // The exchange has happened; whether it is durable nobody knows.
        write_new(&fresh, b"two", 0o600).unwrap();
        exchange(&fresh, &path).unwrap();
        replace(&path, b"two", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(read(&draft).unwrap().unwrap(), b"one");
        assert!(!fresh.exists(), "it is known to be durable now");
        // The end came before the exchange.
        write_new(&fresh, b"thr", 0o600).unwrap();
        replace(&path, b"three", 0o600, &ballast).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"three");
        assert_eq!(read(&draft).unwrap().unwrap(), b"two");
        assert!(!fresh.exists());
    }
}
