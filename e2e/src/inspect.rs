//! Looking at where things are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use chord_api::http::{Successor, Where};
use chord_types::FileName;
use futures::{StreamExt, TryStreamExt};

use crate::stage::Cluster;
use crate::stage::node::Node;
use crate::traffic::http::Http;

/// Everything that every node says it holds, by the node's name.
pub async fn held(cluster: &Cluster) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut all = BTreeMap::new();
    for node in cluster.nodes().await? {
        all.insert(node.name.clone(), list_files(cluster, &node).await?);
    }
    Ok(all)
}

/// What a node says it holds.
pub async fn list_files(cluster: &Cluster, node: &Node) -> Result<BTreeSet<String>> {
    let files = cluster.files(node).await?;
    let mut names = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = files.list_files(after.as_deref(), 1000).await?;
        names.extend(page.files);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(names),
        }
    }
}

/// The nodes that say, when asked for it by name, that they hold a piece.
pub async fn holders(cluster: &Cluster, piece: &str) -> Result<BTreeSet<String>> {
    let mut holders = BTreeSet::new();
    for node in cluster.nodes().await? {
        if cluster.files(&node).await?.file_exists(piece).await? {
            holders.insert(node.name);
        }
    }
    Ok(holders)
}

/// The node that the ring finds, and the owners by the view.
pub async fn successor(cluster: &Cluster, name: &str) -> Result<Successor> {
    let node = cluster.node(0).await?;
    Ok(cluster
        .files(&node)
        .await?
        .successor(&FileName::new(name)?)
        .await?)
}

/// The pieces of a file and their owners.
pub async fn pieces(cluster: &Cluster, name: &str) -> Result<Where> {
    let node = cluster.node(0).await?;
    Ok(cluster
        .files(&node)
        .await?
        .where_is(&FileName::new(name)?)
        .await?)
}

/// That each piece of each file lies on its owners and nowhere else, by what nodes
/// list; the owners of whole files are taken from the ring's answer too.
pub async fn in_place(cluster: &Cluster, names: &[String], copies: usize) -> Result<()> {
    let held = held(cluster).await?;
    let node = cluster.node(0).await?;
    let files = &cluster.files(&node).await?;
    let held = &held;
    futures::stream::iter(names.iter().map(anyhow::Ok))
        .try_for_each_concurrent(8, |name| async move {
            let name = FileName::new(name)?;
            for piece in files.where_is(&name).await?.pieces {
                let owners: BTreeSet<&String> = piece.owners.iter().collect();
                ensure!(
                    owners.len() == copies,
                    "{} has the owners {owners:?}",
                    piece.piece
                );
                let on: BTreeSet<&String> = held
                    .iter()
                    .filter(|(_, held)| held.contains(&piece.piece))
                    .map(|(node, _)| node)
                    .collect();
                ensure!(
                    on == owners,
                    "{:?} is on {on:?}, and its owners are {owners:?}",
                    piece.piece
                );
            }
            Ok(())
        })
        .await
}

/// That every copy of every file is whole, by its checksums.
pub async fn verified(http: &Http, names: &[String], copies: usize) -> Result<()> {
    futures::stream::iter(names.iter())
        .map(|name| async move {
            let name = FileName::new(name)?;
            let answer = http
                .ask("GET", &format!("/verify?name={}", name.to_query()))
                .await?;
            let check: chord_api::http::Verification =
                serde_json::from_slice(&answer.expect(200)?.body)
                    .context("reading what verify says")?;
            let bad: Vec<String> = check
                .copies
                .iter()
                .filter(|c| c.state != "ok")
                .map(|c| format!("{:?} on {} is {}", c.piece, c.node, c.state))
                .collect();
            ensure!(
                check.ok && bad.is_empty(),
                "{name:?} is not whole: {}",
                bad.join(", ")
            );
            let mut pieces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for copy in &check.copies {
                pieces.entry(&copy.piece).or_default().insert(&copy.node);
            }
            for (piece, nodes) in pieces {
                ensure!(
                    nodes.len() == copies,
                    "{piece:?} was checked on {nodes:?} only"
                );
            }
            anyhow::Ok(())
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}
