//! What real nodes refuse on the ring's wire: with a clear status, counted, and
//! without a trace in the ring.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use chord_api::client::bearer;
use chord_node::peer::ring::MAX_BODY;
use chord_node::peer::wire::Refusal;
use chord_ring::wire::{RING_VERSION, RingExchange};
use chord_ring::{Envelope, Message, Peer, RequestId};
use chord_types::view::ViewHash;
use chord_types::{ClusterUid, DiskId, Epoch, Id, Ordinal, Token, View};
use reqwest::StatusCode;
use support::{Cluster, SECRET, UID};

/// Node 0 is spoken to; node 1 is a member that does not run, so that nobody but
/// this test speaks for it. Most of its virtual nodes stand just before node 0's.
const DEAD: usize = 1;

struct Ring {
    cluster: Cluster,
    view: View,
}

impl Ring {
    async fn start() -> Ring {
        let mut cluster = Cluster::start(4);
        let view = cluster.form(3).await;
        cluster.kill(DEAD);
        let ring = Ring { cluster, view };
        // The three that are left agree, and from here on nothing has to change.
        // parking_lot's mutex: nothing is awaited while it is held.
        let before = parking_lot::Mutex::new((String::new(), 0));
        ring.cluster
            .eventually("the ring closes over the dead node", async || {
                let state = ring.pointers().await;
                let mut before = before.lock();
                let (last, times) = &mut *before;
                *times = if *last == state { *times + 1 } else { 0 };
                *last = state;
                (*times >= 20 && !last.contains(&format!("files-{DEAD}"))).then_some(())
            })
            .await;
        ring
    }

    /// `GET /ring` of node 0.
    async fn pointers(&self) -> String {
        self.cluster.json(0, "/ring").await.to_string()
    }

    fn peer(&self, n: usize) -> Peer {
        let member = &self.view.old().members[n];
        Peer {
            id: member.tokens[0].id(),
            ordinal: member.ordinal,
        }
    }

    /// What node 1 might send to node 0: that it is the predecessor, wherever it
    /// would be, which leaves its mark if it is taken in.
    fn exchange(&self, number: u64) -> RingExchange {
        let member = &self.view.old().members[DEAD];
        let mut all: Vec<Peer> = Vec::new();
        for member in &self.view.old().members {
            let ordinal = member.ordinal;
            let peer = |t: &Token| Peer {
                id: t.id(),
                ordinal,
            };
            all.extend(member.tokens.iter().map(peer));
        }
        all.sort_unstable();
        let pairs = all.iter().zip(all.iter().cycle().skip(1));
        let messages: Vec<Envelope> = pairs
            .filter(|(from, to)| from.ordinal == member.ordinal && to.ordinal == Ordinal(0))
            .map(|(from, to)| Envelope {
                from: *from,
                to: *to,
                message: Message::Notify,
            })
            .collect();
        assert!(!messages.is_empty(), "node 0 follows node 1 nowhere");
        RingExchange {
            version: RING_VERSION,
            cluster: ClusterUid(UID.into()),
            from: member.ordinal,
            disk: member.disk,
            boot: 1,
            number,
            view: self.view.reference(),
            available: 0,
            messages,
        }
    }

    async fn send(&self, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let response = self
            .cluster
            .http
            .post(format!("{}/peer/ring", self.cluster.nodes[0].peer))
            .header("Authorization", bearer(SECRET))
            .body(body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        (status, response.bytes().await.unwrap().to_vec())
    }

    async fn counted(&self, reason: &str) -> u64 {
        let response = self.cluster.http.get(self.cluster.url(0, "/metrics"));
        let text = response.send().await.unwrap().text().await.unwrap();
        let line = format!("chord_ring_refused_total{{reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|l| l.strip_prefix(&line));
        count
            .unwrap_or_else(|| panic!("no {reason} in\n{text}"))
            .parse()
            .unwrap()
    }

    /// Sends what must be refused, and looks that nothing came of it but a count.
    async fn refuses(&self, reason: &str, status: u16, body: Vec<u8>) -> Refusal {
        let (pointers, count) = (self.pointers().await, self.counted(reason).await);
        let (got, answer) = self.send(body).await;
        assert_eq!(got, status, "{reason}");
        assert_eq!(self.counted(reason).await, count + 1, "{reason}");
        assert_eq!(self.pointers().await, pointers, "{reason}");
        rmp_serde::from_slice(&answer).unwrap_or_else(|e| panic!("{reason}: {e}"))
    }
}

fn bytes(exchange: &RingExchange) -> Vec<u8> {
    rmp_serde::to_vec_named(exchange).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_may_not_say_is_refused_counted_and_changes_nothing() {
    let ring = Ring::start().await;
    // A number past all that node 1 itself has used.
    let good = ring.exchange(1 << 20);
    let with = |change: &dyn Fn(&mut RingExchange)| {
        let mut exchange = good.clone();
        change(&mut exchange);
        bytes(&exchange)
    };
    let all = |change: &dyn Fn(&mut Envelope)| {
        with(&|e: &mut RingExchange| e.messages.iter_mut().for_each(change))
    };
    let whole = bytes(&good);

    let half = whole[..whole.len() / 2].to_vec();
    ring.refuses("unreadable", 400, half).await;
    ring.refuses("unreadable", 400, Vec::new()).await;
    let longer = [&whole[..], b"and more"].concat();
    ring.refuses("trailing_bytes", 400, longer).await;
    let huge = [&whole[..], &vec![0; MAX_BODY]].concat();
    ring.refuses("too_large", 413, huge).await;
    let many = with(&|e| e.messages = vec![e.messages[0].clone(); 5_000]);
    ring.refuses("too_many_messages", 400, many).await;
    let big_boot = with(&|e| e.boot = u64::MAX);
    ring.refuses("out_of_range", 400, big_boot).await;

    let later = with(&|e| e.version = RING_VERSION + 1);
    let refusal = ring.refuses("other_version", 409, later).await;
    assert!(matches!(refusal, Refusal::Failed(why) if why.to_string().contains("version 3")));
    let foreign = with(&|e| e.cluster = ClusterUid("another".into()));
    let refusal = ring.refuses("other_cluster", 409, foreign).await;
    assert_eq!(refusal, Refusal::OtherCluster);
    let conflict = with(&|e| e.view.hash = ViewHash::NONE);
    let refusal = ring.refuses("conflicting_view", 409, conflict).await;
    assert_eq!(refusal, Refusal::OtherView(Some(ring.view.reference())));
    let stranger = with(&|e| e.from = Ordinal(77));
    let refusal = ring.refuses("stranger", 409, stranger).await;
    assert_eq!(refusal, Refusal::OtherView(Some(ring.view.reference())));
    let old = with(&|e| (e.from, e.view.epoch) = (Ordinal(77), Epoch(0)));
    ring.refuses("stranger", 409, old).await;
    let other_disk = with(&|e| e.disk = DiskId::random());
    ring.refuses("other_disk", 409, other_disk).await;
    let own = with(&|e| (e.from, e.disk) = (Ordinal(0), ring.view.old().members[0].disk));
    ring.refuses("from_self", 403, own).await;

    let for_another = all(&|m| m.from = ring.peer(2));
    ring.refuses("speaks_for_other", 403, for_another).await;
    let claimed = all(&|m| m.from.id = ring.peer(2).id);
    ring.refuses("claimed_token", 403, claimed).await;
    let unknown = all(&|m| m.from.id = Id::hash(b"in no view"));
    ring.refuses("unknown_token", 403, unknown).await;
    let misaddressed = all(&|m| m.to = ring.peer(2));
    ring.refuses("misaddressed", 403, misaddressed).await;
    let unasked = all(&|m| {
        m.message = Message::State {
            request: RequestId(1),
            pred: None,
            succ: vec![],
        }
    });
    ring.refuses("wrong_direction", 400, unasked).await;

    // Without any of these faults it is taken, which shows that they were the cause.
    let (status, answer) = ring.send(bytes(&ring.exchange(1 << 20))).await;
    assert_eq!(status, 200);
    let answer: RingExchange = rmp_serde::from_slice(&answer).unwrap();
    assert_eq!(answer.from, Ordinal(0));
    assert!(
        ring.pointers().await.contains(&format!("files-{DEAD}")),
        "the same message without a fault is taken in"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_and_an_earlier_start_are_refused() {
    let ring = Ring::start().await;
    let quiet = |boot, number| {
        let exchange = RingExchange {
            boot,
            messages: vec![],
            ..ring.exchange(number)
        };
        bytes(&exchange)
    };
    // As from a restarted process: higher than what the nodes themselves had.
    assert_eq!(ring.send(quiet(9, 1)).await.0, 200);
    ring.refuses("replayed", 409, quiet(9, 1)).await;
    ring.refuses("old_boot", 409, quiet(8, 2)).await;
    assert_eq!(ring.send(quiet(9, 2)).await.0, 200);
    assert_eq!(ring.send(quiet(10, 1)).await.0, 200);
    ring.refuses("old_boot", 409, quiet(9, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_behave_are_not_refused() {
    let mut cluster = Cluster::start(3);
    cluster.form(3).await;
    cluster.kill(2);
    cluster.run(2);
    cluster.report(2).await;
    cluster
        .eventually("node 2 is back in the ring", async || {
            let ring = cluster.json(2, "/ring").await;
            let vnodes = ring["vnodes"].as_array()?;
            let inside = !vnodes.is_empty() && vnodes.iter().all(|v| v["state"] == "member");
            inside.then_some(())
        })
        .await;
    let found = cluster.json(2, "/ring/successor?name=a").await;
    assert_eq!(found["owners"].as_array().unwrap().len(), 3);
    for n in 0..3 {
        let response = cluster.http.get(cluster.url(n, "/metrics"));
        let text = response.send().await.unwrap().text().await.unwrap();
        let refused: Vec<&str> = text
            .lines()
            .filter(|l| l.starts_with("chord_ring_refused_total") && !l.ends_with(" 0"))
            // It may have spoken before all had taken the first view.
            .filter(|l| !l.contains("no_view"))
            .collect();
        assert!(refused.is_empty(), "node {n}: {refused:?}");
    }
}
