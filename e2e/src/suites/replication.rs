//! Three copies of everything, exactly: missing ones come back, superfluous ones go.

use anyhow::{Context, Result, ensure};
use chord_types::{Member, Ordinal};
use serde_json::json;

use crate::cluster_spec;
use crate::inspect;
use crate::stage::Cluster;
use crate::stage::node::Hurt;
use crate::suite::{Ctx, names};
use crate::traffic::content::Content;
use crate::traffic::load;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let cluster = ctx
        .stage
        .start(&cluster_spec::spec(json!({"chunkSize": "256Ki"})))
        .await?;
    let http = cluster.http()?;
    let cases = &ctx.cases;
    let mut files = ctx.files("small/", 30, 9_000);
    files.extend(ctx.files("parts/", 8, 700_000));
    let all = names(&files);
    cases
        .case("each file is on three nodes", async {
            load::put_all(&http, &files).await?;
            in_place(&cluster, &all, 40).await?;
            inspect::verified(&http, &all, 3).await
        })
        .await?;
    cases
        .case(
            "with a fourth node each file is on exactly three, and old owners have dropped theirs",
            async {
                cluster.scale(4).await?;
                cluster.settled(4).await?;
                in_place(&cluster, &all, 60).await?;
                let holders = inspect::holders(&cluster, "small/000").await?;
                ensure!(holders.len() == 3, "small/000 is on {holders:?}");
                inspect::verified(&http, &all, 3).await
            },
        )
        .await?;
    copy_comes_back(&ctx, &cluster, &files).await?;
    let _ = cases
        .case(
            "all copies of a node that lost its disk come back",
            disk_comes_back(&cluster, &files),
        )
        .await;
    let _ = cases
        .case(
            "back at three nodes each file is on all of them, and the disk of the fourth is deleted",
            async {
                cluster.scale(3).await?;
                cluster.settled(3).await?;
                eventually("the disk of node 3 is gone", secs(60), || async {
                    ensure!(!cluster.disk_exists(3).await?, "it is there");
                    Ok(())
                })
                .await?;
                in_place(&cluster, &all, 60).await?;
                inspect::verified(&http, &all, 3).await
            },
        )
        .await;
    Ok(())
}

/// Waits until each file is on its three owners and nowhere else.
async fn in_place(cluster: &Cluster, names: &[String], limit: u64) -> Result<()> {
    eventually("all are in place", secs(limit), || {
        inspect::in_place(cluster, names, 3)
    })
    .await
}

const COPY: &str = "a part that was deleted from the disk of its primary comes back";

async fn copy_comes_back(ctx: &Ctx, cluster: &Cluster, files: &[(String, Content)]) -> Result<()> {
    if !lose_a_copy(cluster, files).await? {
        let why = "the disks of this cluster cannot be reached from here";
        ctx.cases.skipped(COPY, why);
        return Ok(());
    }
    let (http, all) = (cluster.http()?, names(files));
    let _ = ctx
        .cases
        .case(COPY, async {
            // Of all files: who looks at a copy finds that it is gone.
            eventually("every copy is whole again", secs(60), || {
                inspect::verified(&http, &all, 3)
            })
            .await?;
            in_place(cluster, &all, 30).await?;
            load::get_all(&http, files).await
        })
        .await;
    Ok(())
}

async fn disk_comes_back(cluster: &Cluster, files: &[(String, Content)]) -> Result<()> {
    let (http, all) = (cluster.http()?, names(files));
    let before = inspect::list_files(cluster, &cluster.node(1).await?).await?;
    ensure!(!before.is_empty(), "node 1 holds nothing");
    let stood = member(cluster, 1).await?;
    cluster.hurt(1, Hurt::Lose).await?;
    cluster.settled(4).await?;
    in_place(cluster, &all, 90).await?;
    let after = inspect::list_files(cluster, &cluster.node(1).await?).await?;
    let stands = member(cluster, 1).await?;
    ensure!(stood.tokens == stands.tokens, "its tokens are others now");
    // A scheduler may have put it on another machine, and then it keeps others'.
    ensure!(
        stood.site() != stands.site() || before == after,
        "it held {} names and holds {} now",
        before.len(),
        after.len()
    );
    inspect::verified(&http, &all, 3).await?;
    load::get_all(&http, files).await
}

/// Deletes the first part of a file from the disk of its first owner: of all files of
/// that length there, since names on disk are the node's own affair. False: its disk
/// cannot be reached from here.
async fn lose_a_copy(cluster: &Cluster, files: &[(String, Content)]) -> Result<bool> {
    let name = files
        .iter()
        .map(|(name, _)| name)
        .find(|name| name.starts_with("parts/"));
    let name = name.context("there is no file of several parts")?;
    let pieces = inspect::pieces(cluster, name).await?.pieces;
    let part = pieces
        .iter()
        .find(|p| p.piece.ends_with("-part1"))
        .context("the file has no part 1")?;
    let primary = cluster
        .node_named(part.owners.first().context("a part without owners")?)
        .await?;
    let Some(on_disk) = cluster.chunk_files(primary.ordinal).await? else {
        return Ok(false);
    };
    let long =
        |path: &&std::path::PathBuf| std::fs::metadata(path).is_ok_and(|m| m.len() >= part.size);
    let doomed: Vec<_> = on_disk.iter().filter(long).collect();
    ensure!(
        !doomed.is_empty(),
        "{} has no file of {} bytes on its disk",
        primary.name,
        part.size
    );
    for path in doomed {
        std::fs::remove_file(path).with_context(|| format!("deleting {}", path.display()))?;
    }
    Ok(true)
}

/// A node as the view has it.
async fn member(cluster: &Cluster, ordinal: u32) -> Result<Member> {
    let view = cluster.view().await?;
    let member = view.new_table().member(Ordinal(ordinal));
    member
        .cloned()
        .with_context(|| format!("node {ordinal} is no member"))
}
