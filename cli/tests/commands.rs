//! The program as scripts run it: with nobody reading what it says, ended in the
//! middle, and with its errors read by a program. The cluster is a stand-in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not know for such"
)]

mod support;

use std::path::Path;

use serde_json::Value;

use support::{Cluster, closed, ends, entries, numbered, until};

#[test]
fn work_is_done_to_its_end_though_nobody_reads_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let many = dir.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for n in 0..40 {
        std::fs::write(many.join(n.to_string()), "x").unwrap();
    }
    let cluster = Cluster::with([]);
    let many = many.display().to_string();
    for format in ["text", "json"] {
        let out = dir.path().join(format).display().to_string();
        for (args, left) in [
            (vec!["put", "-r", &many, "-o", format], 40),
            (vec!["get", "-r", "many", &out, "-o", format], 40),
            (vec!["rm", "-r", "-v", "many", "-o", format], 0),
        ] {
            let mut command = cluster.command(&args);
            let mut child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
            assert_eq!(ends(&mut child), Some(0), "{args:?}");
            assert_eq!(cluster.names(), left, "{args:?}");
        }
        assert_eq!(entries(Path::new(&out)).len(), 40);
    }
}

#[test]
fn a_failure_is_one_though_nobody_reads_of_it() {
    let cluster = Cluster::with(numbered(1));
    let mut command = cluster.command(&["rm", "gone", "many/0", "gone-too"]);
    let mut child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
    assert_eq!(ends(&mut child), Some(3));
    assert_eq!(cluster.names(), 0, "what could be deleted is");
}

#[test]
fn a_command_that_is_ended_takes_what_it_began_to_write_away() {
    let cluster = Cluster::with(["endless".to_string()]);
    let dir = tempfile::tempdir().unwrap();
    let mut child = cluster
        .command(&["get", "endless"])
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    until("it begins", || !entries(dir.path()).is_empty());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(ends(&mut child), Some(143));
    assert!(entries(dir.path()).is_empty(), "{:?}", entries(dir.path()));
}

#[test]
fn programs_read_every_error_as_json() {
    let cluster = Cluster::with([]);
    for (args, code, lines) in [
        (&["rm", "a", "b", "-o", "json"][..], 3, 3),
        (&["stat", "a", "-o", "json"], 3, 1),
        (&["ls", "--limit", "x", "--output=json"], 2, 1),
        (&["nonsense", "-o", "json"], 2, 1),
        (&["put", "x", "--meta", "a b=c", "-o", "json"], 2, 1),
    ] {
        let ran = cluster.run(args);
        assert_eq!(ran.status.code(), Some(code), "{args:?}");
        let told: Vec<Value> = String::from_utf8(ran.stderr)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!(told.len(), lines, "{args:?}: {told:?}");
        for one in told {
            assert!(one["error"].is_string() && one["exit"] == code, "{one}");
        }
    }
}

#[test]
fn stat_says_why_a_file_cannot_be_looked_up() {
    let ran = Cluster::with([]).run(&["stat", "lost"]);
    assert_eq!(ran.status.code(), Some(5));
    let told = String::from_utf8(ran.stderr).unwrap();
    for words in ["lost", "2 of 3 nodes do not answer"] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_media_type_that_nobody_said_is_listed_as_none() {
    let ran = Cluster::with(numbered(1)).run(&["ls", "-o", "json"]);
    let listed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(listed["files"][0].get("contentType"), Some(&Value::Null));
}

#[test]
fn errors_name_what_they_are_about() {
    let cluster = Cluster::with(numbered(3));
    let ran = cluster.run(&["stat", "letter.txt"]);
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("letter.txt"), "{told}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let ran = cluster.run(&["get", "-r", "many", &file.display().to_string()]);
    assert_eq!(ran.status.code(), Some(1));
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(told.lines().count(), 1, "once, not for each file: {told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
