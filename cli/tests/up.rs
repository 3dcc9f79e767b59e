//! `chord up` as whoever started it meets it. Its nodes and its operator are stand-ins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not know for such"
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use support::{ends, until};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn a_hang_up_that_was_ignored_from_the_start_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (program, starts) = (dir.path().join("stand-in"), dir.path().join("starts"));
    // It notes its number at each start, and ends with its standard input.
    let script = format!("#!/bin/sh\necho $$ >> '{}'\nexec cat\n", starts.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let started = || -> Vec<i32> {
        let text = std::fs::read_to_string(&starts).unwrap_or_default();
        text.lines().filter_map(|l| l.parse().ok()).collect()
    };
    // As nohup does it.
    let mut up = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_chord"))
        .args(["up", "--port", "0", "--dir"])
        .arg(dir.path().join("data"))
        .env("CHORD_NODE_BIN", &program)
        .env("CHORD_OPERATOR_BIN", &program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = i32::try_from(up.id()).unwrap();
    until("the operator runs", || started().len() == 1);
    signal(pid, Signal::HUP);
    // What is ended now would not be started again by one that is ending.
    signal(started()[0], Signal::KILL);
    until("the operator is started again", || {
        assert!(up.try_wait().unwrap().is_none(), "the hang-up has ended it");
        started().len() == 2
    });
    signal(pid, Signal::TERM);
    assert_eq!(ends(&mut up), Some(0));
}
