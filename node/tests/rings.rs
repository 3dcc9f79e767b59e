//! Rings of real processes: they form, lose a third at once, heal, and are not
//! misled by nodes that stand still, move, or come back with another disk.
//!
//! Times are printed, not asserted: they belong to the machine. The ring of 64 is
//! run by `make soak`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use chord_api::problem::ProblemBody;
use chord_types::{ClusterUid, Id, View};
use rustix::process::{Pid, Signal, kill_process};
use support::ring::CALM;
use support::{Cluster, UID};

const TOKENS: usize = 8;

/// Forms, loses every third node by SIGKILL at one moment, gets them back.
async fn loses_a_third_and_gets_it_back(count: u32) {
    let began = Instant::now();
    let mut cluster = Cluster::start_with(count, &CALM);
    let all: Vec<usize> = (0..count as usize).collect();
    for n in &all {
        cluster.report(*n).await;
    }
    let started = began.elapsed();
    let began = Instant::now();
    cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;
    let formed = began.elapsed();
    cluster.finds_successors(&all, TOKENS).await;

    let (lost, left): (Vec<usize>, Vec<usize>) = all.iter().partition(|n| *n % 3 == 1);
    cluster.kill_all(&lost);
    let healed = cluster
        .ring_of("those left form a ring", &left, TOKENS)
        .await;
    cluster.finds_successors(&left, TOKENS).await;

    let began = Instant::now();
    lost.iter().for_each(|n| cluster.run(*n));
    cluster
        .ring_of("all are in one ring again", &all, TOKENS)
        .await;
    let back = began.elapsed();
    cluster.finds_successors(&all, TOKENS).await;
    println!(
        "{count} nodes of {TOKENS} tokens: started in {:.1} s; view to ideal ring {:.1} s; \
         {} killed at once, ideal without them after {:.1} s; started again, ideal after {:.1} s",
        started.as_secs_f64(),
        formed.as_secs_f64(),
        lost.len(),
        healed.as_secs_f64(),
        back.as_secs_f64(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_three_loses_one_and_gets_it_back() {
    loses_a_third_and_gets_it_back(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_sixteen_loses_a_third_and_gets_it_back() {
    loses_a_third_and_gets_it_back(16).await;
}

/// 64 processes only in the long form, `RINGS=all`, as `make soak` has it; else the
/// size between.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_ring_loses_a_third_and_gets_it_back() {
    let long = std::env::var("RINGS").is_ok_and(|r| r == "all");
    loses_a_third_and_gets_it_back(if long { 64 } else { 8 }).await;
}

/// Nobody has refused a message of another: what honest nodes say is in order. Only
/// one that had no view yet could not know.
async fn nothing_was_refused(cluster: &Cluster, nodes: &[usize]) {
    for n in nodes {
        let response = cluster.http.get(cluster.url(*n, "/metrics")).send().await;
        let text = response.unwrap().text().await.unwrap();
        let refused = |l: &&str| {
            let counts = l.starts_with("chord_ring_refused_total{") && !l.contains("\"no_view\"");
            counts && !l.ends_with(" 0")
        };
        let lines: Vec<&str> = text.lines().filter(refused).collect();
        assert!(lines.is_empty(), "node {n}: {lines:?}");
    }
}

/// The process of a node is not run, or is again.
fn signal(cluster: &Cluster, n: usize, signal: Signal) {
    let child = cluster.nodes[n].child.as_ref().unwrap();
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Half of the nodes stand still: connections to them are accepted and never
/// answered, and for them time jumps.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_ring_stands_still_and_goes_on_in_the_same_ring() {
    let cluster = Cluster::start(8);
    let all: Vec<usize> = (0..8).collect();
    let (still, left): (Vec<usize>, Vec<usize>) = all.iter().partition(|n| *n % 2 == 1);
    cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;
    still
        .iter()
        .for_each(|n| signal(&cluster, *n, Signal::STOP));
    let took = cluster
        .ring_of("the other half is a ring", &left, TOKENS)
        .await;
    cluster.finds_successors(&left, TOKENS).await;
    still
        .iter()
        .for_each(|n| signal(&cluster, *n, Signal::CONT));
    let healed = cluster.ring_of("one ring again", &all, TOKENS).await;
    nothing_was_refused(&cluster, &all).await;
    cluster.finds_successors(&all, TOKENS).await;
    println!(
        "4 of 8 stopped: ideal without them after {:.1} s; continued: one ring after {:.1} s",
        took.as_secs_f64(),
        healed.as_secs_f64()
    );
}

/// A node that is not run for a moment is slow, not dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_pause_changes_no_list() {
    let cluster = Cluster::start_with(4, &CALM);
    let all = [0, 1, 2, 3];
    cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;
    let before = cluster.ring_state(0).await.unwrap().vnodes;
    signal(&cluster, 2, Signal::STOP);
    let end = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < end {
        let now = cluster.ring_state(0).await.unwrap().vnodes;
        let lists = |v: &[chord_api::http::VnodeState]| {
            v.iter().map(|v| v.successors.clone()).collect::<Vec<_>>()
        };
        assert_eq!(lists(&now), lists(&before));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    signal(&cluster, 2, Signal::CONT);
    cluster.ring_of("nothing has changed", &all, TOKENS).await;
    nothing_was_refused(&cluster, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_at_another_address_is_found() {
    let mut cluster = Cluster::start(4);
    let all = [0, 1, 2, 3];
    cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;
    assert_eq!(cluster.put(3, "file", vec![7; 1000]).await.status(), 201);
    for n in [2, 3] {
        cluster.kill(n);
        cluster.move_away(n);
        cluster.run(n);
    }
    cluster.ring_of("all are in it again", &all, TOKENS).await;
    cluster.finds_successors(&all, TOKENS).await;
    for n in all {
        assert_eq!(cluster.get(n, "file").await, Some(vec![7; 1000]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_another_disk_is_nobody_until_the_view_says_so() {
    let mut cluster = Cluster::start(5);
    let all = [0, 1, 2, 3, 4];
    let first = cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;

    // Two exchange their disks: each holds a view in which it is not.
    cluster.kill_all(&[3, 4]);
    let swap = |cluster: &Cluster| {
        let aside = cluster.dir.path().join("aside");
        std::fs::rename(cluster.disk(3), &aside).unwrap();
        std::fs::rename(cluster.disk(4), cluster.disk(3)).unwrap();
        std::fs::rename(&aside, cluster.disk(4)).unwrap();
    };
    swap(&cluster);
    cluster.run(3);
    cluster.run(4);
    for n in [3, 4] {
        assert!(!cluster.report(n).await.ready, "node {n} is no member");
    }
    cluster
        .ring_of("the ring is that of the three", &[0, 1, 2], TOKENS)
        .await;
    cluster.finds_successors(&[0, 1, 2], TOKENS).await;
    for n in [3, 4] {
        assert_eq!(cluster.ring_state(n).await.unwrap().vnodes, []);
    }
    cluster.kill_all(&[3, 4]);
    swap(&cluster);
    cluster.run(3);
    cluster.run(4);
    cluster.ring_of("all are in it again", &all, TOKENS).await;

    // A new disk, which no view knows.
    cluster.kill(4);
    std::fs::remove_dir_all(cluster.disk(4)).unwrap();
    cluster.run(4);
    cluster.report(4).await;
    cluster
        .ring_of("the ring is that of the four", &[0, 1, 2, 3], TOKENS)
        .await;
    assert!(!cluster.report(4).await.ready);
    let table = cluster.ring_table(&all, TOKENS).await;
    assert_ne!(table.members[4].disk, first.old().members[4].disk);
    let joint = first.change_to(table).unwrap();
    cluster.push(&joint).await;
    cluster
        .ring_of("the new disk is a member", &all, TOKENS)
        .await;
    cluster.finds_successors(&all, TOKENS).await;
}

/// A node that knows the members from its view and reaches none of them is in no ring:
/// it must not name one of them, dead or given up, as what the ring found.
#[tokio::test(flavor = "multi_thread")]
async fn the_view_does_not_answer_where_the_ring_finds_nothing() {
    let mut cluster = Cluster::start_with(4, &CALM);
    let old = cluster.ring_table(&[0, 1, 2], TOKENS).await;
    let mut new = cluster.ring_table(&[0, 1, 2, 3], TOKENS).await;
    new.members[0].out = true;
    let first = View::first(ClusterUid(UID.into()), old).unwrap();
    let joint = first.change_to(new).unwrap();
    cluster.kill_all(&[0, 1, 2]);
    cluster.push(&joint).await;
    for salt in 0..6 {
        let id = Id::hash(format!("{salt}").as_bytes());
        let url = cluster.url(3, &format!("/ring/successor?id={id}"));
        let answer = cluster.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{:?}", answer.text().await);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = answer.bytes().await.unwrap();
        let problem: ProblemBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.kind, "urn:chord:no-quorum");
        assert!(problem.detail.contains(&id.to_string()), "{problem:?}");
    }
}
