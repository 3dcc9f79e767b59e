//! A file that lies on the wrong node goes to its owners and leaves the wrong
//! node. One copy of each file, so that most nodes have no part in most files.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster_spec;
use crate::inspect;
use crate::stage::Cluster;
use crate::stage::node::Node;
use crate::suite::{Ctx, names};
use crate::traffic::content::Content;
use crate::traffic::http::Http;
use crate::traffic::load;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let cluster = ctx
        .stage
        .start(&cluster_spec::spec(json!({"replication": 1})))
        .await?;
    let cases = &ctx.cases;
    cases
        .case(
            "a.txt, dropped on a node that does not own it, reaches its owner and leaves that node",
            dropped(&ctx, &cluster),
        )
        .await?;
    let _ = cases
        .case(
            "dropped again it becomes a new version",
            dropped_again(&ctx, &cluster),
        )
        .await;
    let _ = cases
        .case(
            "a file of several parts goes the same way, part by part",
            async {
                let content = ctx.content("parts", 9_000_000);
                let (_, other) = owner_and_other(&cluster, "dropped/parts.bin").await?;
                drop_on(&other, "dropped/parts.bin", &content).await?;
                let name = ["dropped/parts.bin".to_string()];
                eventually("each part is on its owner alone", secs(40), || {
                    inspect::in_place(&cluster, &name, 1)
                })
                .await?;
                cluster.http()?.get(&name[0], &content).await?;
                Ok(())
            },
        )
        .await;
    let _ = cases
        .case(
            "files dropped on every node are each on their owner alone",
            dropped_on_all(&ctx, &cluster),
        )
        .await;
    let _ = cases
        .case(
            "when a node joins it gets its share, and nothing is left where it was",
            joined(&ctx, &cluster),
        )
        .await;
    Ok(())
}

async fn dropped(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let content = ctx.content("a.txt", 12_345);
    let (owner, other) = owner_and_other(cluster, "a.txt").await?;
    drop_on(&other, "a.txt", &content).await?;
    moved(cluster, "a.txt", &owner, &other).await?;
    cluster.http()?.get("a.txt", &content).await?;
    Ok(())
}

async fn dropped_again(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let content = ctx.content("a.txt again", 54_321);
    let http = cluster.http()?;
    let before = http.ask("HEAD", "/files/a.txt").await?.etag()?;
    let (owner, other) = owner_and_other(cluster, "a.txt").await?;
    drop_on(&other, "a.txt", &content).await?;
    eventually("the endpoint has the new version", secs(30), || async {
        let now = http.ask("HEAD", "/files/a.txt").await?.etag()?;
        ensure!(now != before, "it still has {before}");
        Ok(())
    })
    .await?;
    moved(cluster, "a.txt", &owner, &other).await?;
    http.get("a.txt", &content).await?;
    Ok(())
}

async fn dropped_on_all(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let mut all = Vec::new();
    for node in cluster.nodes().await? {
        let files = ctx.files(&format!("many/{}/", node.name), 8, 3_000);
        for (name, content) in &files {
            drop_on(&node, name, content).await?;
        }
        all.extend(files);
    }
    let wanted = names(&all);
    eventually("each is on its owner alone", secs(40), || {
        inspect::in_place(cluster, &wanted, 1)
    })
    .await?;
    load::get_all(&cluster.http()?, &all).await
}

async fn joined(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let files = ctx.files("share/", 40, 20_000);
    load::put_all(&cluster.http()?, &files).await?;
    cluster.scale(4).await?;
    cluster.settled(4).await?;
    let wanted = names(&files);
    eventually("each file is on its owner alone", secs(60), || {
        inspect::in_place(cluster, &wanted, 1)
    })
    .await?;
    let joined = inspect::list_files(cluster, &cluster.node(3).await?).await?;
    ensure!(
        joined.iter().any(|n| n.starts_with("share/")),
        "the new node has no share: {joined:?}"
    );
    load::get_all(&cluster.http()?, &files).await
}

/// The node that owns a file, and one that does not.
async fn owner_and_other(cluster: &Cluster, name: &str) -> Result<(Node, Node)> {
    // Nodes that are ready may still be on their way into the ring.
    let found = eventually("ring and view agree on the owner", secs(20), || async {
        let found = inspect::successor(cluster, name).await?;
        ensure!(
            found.owners.len() == 1,
            "{name} has the owners {:?}, with one copy",
            found.owners
        );
        ensure!(
            found.successor == found.owners[0],
            "the ring finds {}, the view {:?}",
            found.successor,
            found.owners
        );
        Ok(found)
    })
    .await?;
    let owner = cluster.node_named(&found.owners[0]).await?;
    let other = cluster
        .nodes()
        .await?
        .into_iter()
        .find(|n| n.name != owner.name)
        .context("there is one node only")?;
    Ok((owner, other))
}

async fn drop_on(node: &Node, name: &str, content: &Content) -> Result<()> {
    let http = Http::new(&node.url, false)?;
    let path = Http::path(name)?.replacen("/files/", "/node/files/", 1);
    let answer = http
        .ask_with("PUT", &path, |r| r.body(content.bytes()))
        .await?;
    answer.expect(202).map(|_| ())
}

async fn moved(cluster: &Cluster, name: &str, owner: &Node, other: &Node) -> Result<()> {
    eventually(format!("{} holds {name}", owner.name), secs(30), || async {
        ensure!(
            cluster.files(owner).await?.file_exists(name).await?,
            "it does not"
        );
        Ok(())
    })
    .await?;
    eventually(
        format!("{} holds {name} no more", other.name),
        secs(30),
        || async {
            ensure!(
                !cluster.files(other).await?.file_exists(name).await?,
                "by file_exists it does"
            );
            ensure!(
                !inspect::list_files(cluster, other).await?.contains(name),
                "by list_files it does"
            );
            Ok(())
        },
    )
    .await
}
