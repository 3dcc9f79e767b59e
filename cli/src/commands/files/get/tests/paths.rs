//! Names of the cluster lead nowhere outside the folder.

use std::path::Path;

use super::{entries, name};
use crate::commands::files::get::paths::{last_part, make_folders, path_below};
use crate::failure::Code;

#[test]
fn names_lead_nowhere_outside_the_folder() {
    assert_eq!(
        path_below(Path::new("out"), "p/", &name("p/a/b")).unwrap(),
        Path::new("out/a/b")
    );
    for bad in ["p/../../etc/passwd", "p//etc/passwd", "p/a/.", "p/"] {
        assert!(
            path_below(Path::new("out"), "p/", &name(bad)).is_err(),
            "{bad}"
        );
    }
    assert_eq!(last_part(&name("a/b")).unwrap(), "b");
    assert!(last_part(&name("a/..")).is_err());
    assert!(last_part(&name("a/")).is_err());
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_below_the_folder() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    std::fs::create_dir(&into).unwrap();
    symlink(outside.path(), into.join("out")).unwrap();
    symlink(outside.path().join("file"), into.join("file")).unwrap();
    std::fs::write(into.join("plain"), "x").unwrap();
    for bad in ["out/x", "out/deep/x", "file", "plain/x"] {
        let failure = make_folders(&into, &into.join(bad)).unwrap_err();
        assert_eq!(failure.code(), Some(Code::Failed), "{bad}");
    }
    assert!(entries(outside.path()).is_empty());
    make_folders(&into, &into.join("a/b/c")).unwrap();
    make_folders(&into, &into.join("a/b/d")).unwrap();
    make_folders(&into, &into.join("plain")).unwrap();
    assert!(into.join("a/b").is_dir());
    let link = folder.path().join("link");
    symlink(&into, &link).unwrap();
    make_folders(&link, &link.join("e/f")).unwrap();
    assert!(
        into.join("e").is_dir(),
        "the folder itself is one's own choice"
    );
}
