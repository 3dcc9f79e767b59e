//! Whose a folder is, and what is kept in it.

use super::*;

#[tokio::test]
async fn a_folder_has_one_supervisor_and_is_named_when_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = Folder::take(&path).await.unwrap();
    let failure = Folder::take(&path).await.unwrap_err();
    assert!(failure.to_string().contains("data"), "{failure}");
    assert_eq!(failure.code(), Some(Code::Unavailable), "as a busy port");
    drop(first);
    assert!(Folder::take(&path).await.is_ok());
}

#[tokio::test]
async fn a_folder_with_other_things_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let failure = Folder::take(dir.path()).await.unwrap_err();
    assert!(failure.to_string().contains("thesis.tex"));
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was made"
    );
}

#[tokio::test]
async fn names_like_ours_do_not_make_a_folder_ours() {
    for foreign in [
        "cluster.yaml",
        "logs/app.log",
        "nodes/README",
        "secret",
        "lock",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(foreign);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "somebody's\n").unwrap();
        assert!(Folder::take(dir.path()).await.is_err(), "{foreign}");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "{foreign}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's\n");
    }
}

#[tokio::test]
async fn a_folder_of_ours_is_taken_again_with_what_somebody_put_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lock"), "").unwrap();
    drop(Folder::take(dir.path()).await.unwrap());
    std::fs::write(dir.path().join(".DS_Store"), "x").unwrap();
    let folder = Folder::take(dir.path()).await.unwrap();
    folder.secret().unwrap();
    drop(folder);
    std::fs::write(dir.path().join("lock"), "").unwrap();
    assert!(Folder::take(dir.path()).await.is_ok(), "as older ones are");
}

#[tokio::test]
async fn a_manifest_that_somebody_put_in_place_of_ours_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).await.unwrap();
    let theirs = crate::up::cluster_manifest::fixtures::manifest("{nodes: 3}");
    folder.write_manifest("cluster.yaml", &theirs).unwrap();
    let failure = folder.kept().unwrap_err().to_string();
    assert!(failure.contains("metadata.uid"), "{failure}");
}

#[tokio::test]
async fn disks_without_their_manifest_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).await.unwrap();
    assert!(folder.kept().unwrap().is_none());
    std::fs::create_dir(folder.disk(0)).unwrap();
    assert!(folder.kept().is_err());
}

#[tokio::test]
async fn the_secret_stays_and_is_for_us_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).await.unwrap();
    let secret = folder.secret().unwrap();
    assert_eq!(folder.secret().unwrap(), secret);
    assert_eq!(secret.len(), 64);
    let mode = std::fs::metadata(folder.at("secret"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_deleted_disk_is_gone_and_only_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).await.unwrap();
    for ordinal in [1, 10] {
        std::fs::create_dir(folder.disk(ordinal)).unwrap();
        std::fs::write(folder.disk(ordinal).join("chunk"), "x").unwrap();
    }
    folder.delete_disk(1).unwrap();
    folder.delete_disk(1).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.at("nodes"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["10"]);
    assert!(folder.disk(10).join("chunk").exists());
}

#[test]
fn a_new_folder_is_refused_where_there_is_no_room_for_its_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    room_for_new(&path, 1).unwrap();
    // No machine has room for so many.
    let failure = room_for_new(&path, u32::MAX).unwrap_err().to_string();
    for part in ["a/b", "24 PiB", "are free"] {
        assert!(failure.contains(part), "{failure}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn room_is_set_aside_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    drop(Folder::take(dir.path()).await.unwrap());
    let ballast = std::fs::metadata(dir.path().join("run/ballast")).unwrap();
    assert_eq!(ballast.len(), BALLAST_BYTES);
}
