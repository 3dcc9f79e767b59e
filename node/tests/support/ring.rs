//! What the rings of real nodes should look like, and whether they do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chord_api::http::{RingPeer, RingState};
use chord_ring::vnode::rules::cut;
use chord_ring::{Config, Peer};
use chord_types::{ClusterUid, Id, Member, Ordinal, Table, Token, View};
use futures::StreamExt;

use super::{Cluster, UID};

/// What a production node has.
pub const CALM: [&str; 2] = ["--capacity", "268435456"];

/// A token as drawn for node `n`.
fn token(n: usize, t: usize) -> Token {
    Token(Id::hash(format!("token {t} of {n}").as_bytes()).prefix())
}

impl Cluster {
    /// A first view of all nodes, with so many tokens each, pushed to all.
    pub async fn form_ring(&self, tokens: usize) -> View {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let table = self.ring_table(&all, tokens).await;
        let view = View::first(ClusterUid(UID.into()), table).unwrap();
        self.push(&view).await;
        view
    }

    /// A table of these nodes with the disks that they have now.
    pub async fn ring_table(&self, nodes: &[usize], tokens: usize) -> Table {
        let mut members = Vec::new();
        for n in nodes {
            members.push(Member {
                ordinal: Ordinal(*n as u32),
                disk: self.report(*n).await.disk,
                tokens: (0..tokens)
                    .map(|t| token(*n, t))
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
                zone: None,
                machine: None,
                out: false,
            });
        }
        let replication = nodes.len().min(3) as u8;
        Table {
            replication,
            members,
        }
    }

    /// Waits until the nodes `of` are the ideal ring of those tokens, each with
    /// the full list of successors; answers how long it took.
    pub async fn ring_of(&self, what: &str, of: &[usize], tokens: usize) -> Duration {
        let began = Instant::now();
        let peers = peers(of, tokens);
        self.within(Duration::from_secs(300), what, async || {
            let mut states = futures::stream::iter(of)
                .map(|n| self.ring_state(*n))
                .buffer_unordered(8);
            while let Some(state) = states.next().await {
                if !ideal(&state?, &peers) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        began.elapsed()
    }

    pub async fn ring_state(&self, n: usize) -> Option<RingState> {
        let response = self.http.get(self.url(n, "/ring")).send().await.ok()?;
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }

    /// Every node of `of` finds the right successor of some ids.
    pub async fn finds_successors(&self, of: &[usize], tokens: usize) {
        let peers = peers(of, tokens);
        for n in of {
            for salt in 0..4 {
                let id = Id::hash(format!("{salt} from {n}").as_bytes());
                let at = peers.partition_point(|p| p.id < id);
                let right = peers.get(at).unwrap_or(&peers[0]);
                let found = self.json(*n, &format!("/ring/successor?id={id}")).await;
                assert_eq!(
                    found["successor"],
                    format!("files-{}", right.ordinal),
                    "of {id}, asked of node {n}"
                );
            }
        }
    }
}

fn peers(of: &[usize], tokens: usize) -> Vec<Peer> {
    let mut peers: Vec<Peer> = of
        .iter()
        .flat_map(|n| {
            (0..tokens).map(|t| Peer {
                id: token(*n, t).id(),
                ordinal: Ordinal(*n as u32),
            })
        })
        .collect();
    peers.sort_unstable();
    peers
}

/// Whether a node's pointers are those of the ideal ring.
fn ideal(state: &RingState, peers: &[Peer]) -> bool {
    let rules = Config::new(0, 1000).rules;
    let shown = |p: &Peer| RingPeer {
        id: p.id.to_string(),
        node: format!("files-{}", p.ordinal),
    };
    let mine = peers
        .iter()
        .enumerate()
        .filter(|(_, p)| format!("files-{}", p.ordinal) == state.node);
    mine.clone().count() == state.vnodes.len()
        && mine.zip(&state.vnodes).all(|((at, me), vnode)| {
            let before = &peers[(at + peers.len() - 1) % peers.len()];
            let after = peers.iter().cycle().skip(at + 1).take(peers.len());
            let list: Vec<RingPeer> = cut(&rules, me, after.copied()).iter().map(shown).collect();
            vnode.id == me.id.to_string()
                && vnode.state == "member"
                && vnode.predecessor.as_ref() == Some(&shown(before))
                && vnode.successors == list
        })
}
