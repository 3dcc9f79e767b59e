//! Nodes are added when the disks fill and removed when there is room again, and
//! all the while every file can be read.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster_spec;
use crate::inspect;
use crate::stage::{Cluster, summary};
use crate::suite::{Ctx, names};
use crate::traffic::content::Content;
use crate::traffic::load::{self, Load, LoadShape};
use crate::wait::{eventually, secs};

const MIB: u64 = 1 << 20;

/// A name with its content.
type File = (String, Content);

/// Files of one MiB that fill three nodes of 64 MiB above a third.
const ENOUGH: usize = 30;
/// Files that stay: with them three nodes are less than a fifth full.
const STAY: usize = 6;

pub async fn run(ctx: Ctx) -> Result<()> {
    let rules = |window| json!({"stabilizationWindowSeconds": window, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]});
    let spec = cluster_spec::spec(json!({
        "chunkSize": "1Mi",
        "storage": {"size": "64Mi"},
        "autoscaling": {
            "minNodes": 3,
            "maxNodes": 5,
            "diskUsage": {"scaleOutAbove": 33, "scaleInBelow": 20},
            "behavior": {"scaleUp": rules(0), "scaleDown": rules(8)},
        },
    }));
    let cluster = ctx.stage.start(&spec).await?;
    let http = cluster.http()?;
    let cases = &ctx.cases;
    let files = ctx.files("fill/", ENOUGH, MIB);
    // A reader that looks at everything there is, again and again, and a slow writer.
    let shape = LoadShape {
        writers: 1,
        pause: Duration::from_millis(400),
        files: 40,
        longest: 40_000,
        ..ctx.stage.load()
    };
    let mut load = Load::start(cluster.endpoint(), ctx.seed, shape)?;

    let stored = cases
        .case(
            "three nodes are filled above 33 %, and a fourth is added with no hand",
            grow(&cluster, &mut load, &files),
        )
        .await?;
    let nodes = cases
        .case(
            "the new node takes a share, and the fullest falls under 33 %",
            share(&cluster, &mut load),
        )
        .await?;
    let _ = cases
        .case("every file is whole, with three copies", async {
            load.check().await?;
            load::get_all(&http, &stored).await?;
            let all = names(&stored);
            eventually("all are in place", secs(60), || {
                inspect::in_place(&cluster, &all, 3)
            })
            .await?;
            inspect::verified(&http, &all, 3).await
        })
        .await;
    cases
        .case(
            "files are deleted, and the nodes that came go again, with their disks",
            shrink(&cluster, &mut load, &stored, nodes),
        )
        .await?;
    let _ = cases
        .case(
            "the files that stay are whole",
            whole(&cluster, &mut load, &stored),
        )
        .await;
    cases.note(&load.summary());
    Ok(())
}

/// Stores files until the disks are full enough, and waits for the fourth node. The
/// files that were stored.
async fn grow(cluster: &Cluster, load: &mut Load, files: &[File]) -> Result<Vec<File>> {
    let http = cluster.http()?;
    let mut stored = Vec::new();
    for (name, content) in files {
        http.put(name, content).await?;
        stored.push((name.clone(), *content));
        load.check().await?;
        // What the nodes say is what the operator will see; it may take a while.
        if fullest(cluster).await? > 33 {
            break;
        }
    }
    let grown = eventually("there are four nodes", secs(90), || async {
        let status = cluster.status().await?;
        ensure!(
            status["nodes"].as_u64() >= Some(4),
            "{} files, {}",
            stored.len(),
            summary(&status)
        );
        Ok(())
    });
    load.during(grown).await?;
    Ok(stored)
}

/// Waits until the new node has taken its share. How many nodes there are then.
async fn share(cluster: &Cluster, load: &mut Load) -> Result<u32> {
    let fallen = eventually("the fullest node is under 33 %", secs(90), || async {
        let status = cluster.status().await?;
        let fullest = status["storage"]["fullestPercent"]
            .as_u64()
            .context("no figure")?;
        ensure!(
            status["phase"] == "Ready" && fullest < 33,
            "{}",
            summary(&status)
        );
        Ok(u32::try_from(status["nodes"].as_u64().unwrap_or(4))?)
    });
    let nodes = load.during(fallen).await?;
    let share = inspect::list_files(cluster, &cluster.node(3).await?).await?;
    ensure!(
        share.iter().any(|n| n.starts_with("fill/")),
        "node 3 holds {share:?}"
    );
    Ok(nodes)
}

/// Deletes most files, and waits until the nodes that came have gone.
async fn shrink(cluster: &Cluster, load: &mut Load, stored: &[File], nodes: u32) -> Result<()> {
    let http = cluster.http()?;
    for (name, _) in &stored[STAY.min(stored.len())..] {
        http.delete(name).await?;
    }
    let shrunk = eventually("there are three nodes", secs(150), || async {
        let status = cluster.status().await?;
        ensure!(
            status["nodes"] == 3 && status["phase"] == "Ready",
            "{}",
            summary(&status)
        );
        Ok(())
    });
    load.during(shrunk).await?;
    for ordinal in 3..nodes {
        eventually(
            format!("the disk of node {ordinal} is gone"),
            secs(60),
            || async {
                ensure!(!cluster.disk_exists(ordinal).await?, "it is there");
                Ok(())
            },
        )
        .await?;
    }
    cluster.settled(3).await
}

/// Percent of its disk that the fullest node uses, by what the nodes say.
async fn fullest(cluster: &Cluster) -> Result<u64> {
    let mut fullest = 0;
    for node in cluster.nodes().await? {
        let space = cluster.files(&node).await?.status().await?.report.space;
        fullest = fullest.max(space.used * 100 / space.capacity.max(1));
    }
    Ok(fullest)
}

async fn whole(cluster: &Cluster, load: &mut Load, stored: &[File]) -> Result<()> {
    load.stop().await?;
    load.all_there().await?;
    let http = cluster.http()?;
    let stay = &stored[..STAY.min(stored.len())];
    load::get_all(&http, stay).await?;
    let mut all = names(stay);
    all.extend(load.kept());
    eventually("all copies are whole", secs(60), || {
        inspect::verified(&http, &all, 3)
    })
    .await
}
