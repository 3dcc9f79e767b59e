//! Views and look-ups that a test draws.

use chord_api::http::{RingPeer, Successor};
use chord_types::{ClusterUid, DiskId, Epoch, FileName, Id, Member, Ordinal, Table, Token, View};

use super::layout::{Layout, layout};
use crate::commands::cluster::fixtures::{member, node, report};

/// A view of nodes with these tokens.
pub fn view(replication: u8, tokens: &[&[u64]]) -> View {
    let members = tokens.iter().enumerate().map(|(n, tokens)| Member {
        ordinal: Ordinal(n as u32),
        disk: DiskId(uuid::Uuid::from_u128(n as u128)),
        tokens: tokens.iter().map(|t| Token(*t)).collect(),
        zone: None,
        machine: None,
        out: false,
    });
    View::first(
        ClusterUid("u".into()),
        Table {
            replication,
            members: members.collect(),
        },
    )
    .unwrap()
}

/// The ring of so many nodes, as a node of it would show it.
pub fn large(nodes: u32, tokens: u64) -> Layout {
    let all: Vec<Vec<u64>> = (0..u64::from(nodes))
        .map(|n| (0..tokens).map(|t| spread(n * tokens + t)).collect())
        .collect();
    let all: Vec<&[u64]> = all.iter().map(|t| t.as_slice()).collect();
    let members: Vec<_> = (0..nodes)
        .map(|n| {
            let mut member = member(n, false, true, true);
            if n != 1 {
                (member["alive"], member["report"]) = (true.into(), report(n, n.into()));
            }
            member
        })
        .collect();
    layout(&view(3, &all), &node(&members))
}

fn spread(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

/// A look-up of `name` that went through these virtual nodes.
pub fn found(name: &FileName, path: &[u64], owners: &[&str]) -> Successor {
    let names: Vec<String> = path.iter().map(|_| "files-0".into()).collect();
    let hop = |t: &u64| RingPeer {
        id: Token(*t).id().to_string(),
        node: "files-0".into(),
    };
    Successor {
        id: Id::of_file(name).to_string(),
        successor: owners[0].into(),
        owners: owners.iter().map(|o| o.to_string()).collect(),
        path: names,
        hops: path.iter().map(hop).collect(),
        epoch: Epoch(1),
    }
}

/// A view of four nodes, a token each, the key of `x` before the first: two
/// copies, one in each of two zones.
pub fn zoned() -> View {
    let tokens: [&[u64]; 4] = [
        &[0x2000_0000_0000_0000, 0x2800_0000_0000_0000],
        &[0x3000_0000_0000_0000],
        &[0x4000_0000_0000_0000],
        &[0x5000_0000_0000_0000],
    ];
    let mut view = view(2, &tokens);
    let chord_types::Tables::Stable(table) = &mut view.tables else {
        panic!("not stable")
    };
    for (member, zone) in table.members.iter_mut().zip(["a", "a", "b", "b"]) {
        member.zone = Some(zone.into());
        member.machine = Some(format!("m{}", member.ordinal));
    }
    view
}
