//! Node processes with a stand-in for the node: a shell script that writes down
//! how it was started and ends with its standard input.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_operator::local::durable::read_json;
use chord_operator::local::files::Nodes as NodesFile;
use chord_types::Ordinal;

use super::nodes::Nodes;
use crate::output::{Format, Output};
use crate::up::cluster_manifest::{decide, fixtures::manifest};
use crate::up::folder::Folder;
use crate::up::messages::Messages;

struct Stage {
    nodes: Nodes,
    folder: Arc<Folder>,
    _dir: tempfile::TempDir,
}

/// The stand-in makes its disk, as a node does, and notes each start in it.
const SCRIPT: &str = "#!/bin/sh\nmkdir -p \"$2\"\necho \"$@\" >> \"$2/starts\"\nexec cat\n";

async fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("node.sh");
    std::fs::write(&program, SCRIPT).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = Arc::new(Folder::take(&dir.path().join("data")).await.unwrap());
    let cluster = decide(Some(&manifest("{nodes: 3}")), None).unwrap();
    folder.write_manifest("cluster.yaml", &cluster).unwrap();
    let messages = Messages::new(Output {
        format: Format::Json,
        verbose: false,
    });
    let nodes = Nodes::new(
        Arc::clone(&folder),
        program,
        "http://127.0.0.1:1".into(),
        cluster,
        messages,
    );
    Stage {
        nodes,
        folder,
        _dir: dir,
    }
}

impl Stage {
    fn want(&self, slots: &str) {
        self.folder
            .write(
                "operator/slots.json",
                format!("{{\"slots\":{slots}}}").as_bytes(),
            )
            .unwrap();
    }

    /// Steps until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Stage) -> bool) {
        let limit = Instant::now() + Duration::from_secs(180);
        loop {
            self.nodes.step(Instant::now());
            if holds(self) {
                return;
            }
            assert!(Instant::now() < limit, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn pid(&self, ordinal: u32) -> Option<u32> {
        self.nodes.seen().get(&ordinal).and_then(|n| n.pid)
    }

    fn starts(&self, ordinal: u32) -> Vec<String> {
        let text =
            std::fs::read_to_string(self.folder.disk(ordinal).join("starts")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn nodes_run_as_the_operator_wants_and_come_back_when_they_die() {
    let mut stage = stage().await;
    stage.nodes.step(Instant::now());
    assert!(stage.nodes.seen().is_empty(), "nothing is wanted yet");
    stage.want(r#"{"0":{"running":{"revision":"a"}},"1":{"running":{"revision":"a"}}}"#);
    stage
        .until("both have started", |s| {
            s.starts(0).len() == 1 && s.starts(1).len() == 1
        })
        .await;
    let file: NodesFile = read_json(&stage.folder.at("run/nodes.json"))
        .unwrap()
        .unwrap();
    let listed = &file.nodes[&Ordinal(0)];
    assert_eq!(
        (listed.pid, listed.revision.as_deref()),
        (stage.pid(0), Some("a"))
    );
    let started = &stage.starts(0)[0];
    let client = listed.client_url.clone().unwrap();
    for part in [
        "--name files-0",
        "--ordinal 0",
        "--capacity 10737418240",
        "--exit-with-stdin",
        &client["http://".len()..],
    ] {
        assert!(started.contains(part), "{part} is not in {started}");
    }

    let (old, other) = (stage.pid(0), stage.pid(1));
    kill(old.unwrap());
    stage
        .until("it runs again", |s| {
            s.starts(0).len() == 2 && s.pid(0).is_some()
        })
        .await;
    assert_ne!(stage.pid(0), old);
    assert_eq!(stage.pid(1), other, "the other one is left alone");
    let again: NodesFile = read_json(&stage.folder.at("run/nodes.json"))
        .unwrap()
        .unwrap();
    assert_eq!(
        again.nodes[&Ordinal(0)].client_url.as_ref(),
        Some(&client),
        "its ports stay"
    );
}

#[tokio::test]
async fn another_revision_restarts_just_that_node() {
    let mut stage = stage().await;
    stage.want(r#"{"0":{"running":{"revision":"a"}},"1":{"running":{"revision":"a"}}}"#);
    stage
        .until("both have started", |s| {
            s.starts(0).len() == 1 && s.starts(1).len() == 1
        })
        .await;
    let other = stage.pid(1);
    stage.want(r#"{"0":{"running":{"revision":"b"}},"1":{"running":{"revision":"a"}}}"#);
    stage
        .until("the first has started again", |s| {
            s.starts(0).len() == 2 && s.pid(0).is_some()
        })
        .await;
    assert_eq!(stage.pid(1), other);
}

#[tokio::test]
async fn a_node_that_leaves_is_stopped_before_its_disk_is_touched() {
    let mut stage = stage().await;
    stage.want(r#"{"0":{"running":{"revision":"a"}},"1":{"running":{"revision":"a"}}}"#);
    stage
        .until("both have started", |s| {
            s.starts(0).len() == 1 && s.starts(1).len() == 1
        })
        .await;
    stage.want(r#"{"0":{"absent":{"deleteDisk":false}},"1":{"absent":{"deleteDisk":true}}}"#);
    stage
        .until("both are gone", |s| {
            s.pid(0).is_none() && s.pid(1).is_none() && !s.folder.disk(1).exists()
        })
        .await;
    assert!(
        stage.folder.disk(0).exists(),
        "a disk that is to stay stays"
    );
    let file: NodesFile = read_json(&stage.folder.at("run/nodes.json"))
        .unwrap()
        .unwrap();
    assert!(file.nodes[&Ordinal(0)].disk_exists && file.nodes[&Ordinal(0)].pid.is_none());
    assert!(!file.nodes.contains_key(&Ordinal(1)));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_changes_nothing() {
    let mut stage = stage().await;
    stage.want(r#"{"0":{"running":{"revision":"a"}}}"#);
    stage
        .until("it has started", |s| s.starts(0).len() == 1)
        .await;
    let pid = stage.pid(0);
    stage
        .folder
        .write("operator/slots.json", b"{\"slots\":{\"0\":{\"abs")
        .unwrap();
    stage.nodes.step(Instant::now());
    std::fs::remove_file(stage.folder.at("operator/slots.json")).unwrap();
    stage.nodes.step(Instant::now());
    assert_eq!(stage.pid(0), pid);
    assert!(Path::new(&stage.folder.disk(0)).exists());
}

#[tokio::test]
async fn all_of_them_end_when_they_are_told_to() {
    let mut stage = stage().await;
    stage.want(r#"{"0":{"running":{"revision":"a"}},"1":{"running":{"revision":"a"}}}"#);
    stage
        .until("both have started", |s| {
            s.starts(0).len() == 1 && s.starts(1).len() == 1
        })
        .await;
    stage.nodes.stop_all(Instant::now());
    let limit = Instant::now() + Duration::from_secs(180);
    while !stage.nodes.all_ended(Instant::now()) {
        assert!(Instant::now() < limit, "they do not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
