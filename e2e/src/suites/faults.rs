//! Processes, pods and disks die while clients read and write: what was
//! acknowledged stays, and reading and writing go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster_spec;
use crate::inspect;
use crate::stage::Cluster;
use crate::stage::node::Hurt;
use crate::suite::Ctx;
use crate::traffic::load::Load;
use crate::wait::{closely, eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let cluster = ctx
        .stage
        .start(&cluster_spec::spec(json!({"chunkSize": "256Ki"})))
        .await?;
    let cases = &ctx.cases;
    let mut load = Load::start(cluster.endpoint(), ctx.seed, ctx.stage.load())?;
    cases
        .case("clients read and write", load.progress(30, 30))
        .await?;

    cases
        .case(
            "kill -9 of a node: reads and writes go on, and it comes back",
            hurt(&cluster, &mut load, 1, Hurt::Kill, 3),
        )
        .await?;
    cases
        .case(
            "kill -9 of the operator in the middle of a scale-out, which is finished all the same",
            async { scale_and_kill(&ctx, &cluster, &mut load, 4).await },
        )
        .await?;
    cases
        .case(
            "a node is told to end (its pod is deleted): reads and writes go on",
            hurt(&cluster, &mut load, 2, Hurt::Stop, 4),
        )
        .await?;
    cases
        .case(
            "a node dies with its disk: reads and writes go on, and all copies come back",
            hurt(&cluster, &mut load, 0, Hurt::Lose, 4),
        )
        .await?;
    cases
        .case(
            "kill -9 of the operator in the middle of a scale-in, which is finished all the same",
            async {
                scale_and_kill(&ctx, &cluster, &mut load, 3).await?;
                eventually("the disk of node 3 is gone", secs(60), || async {
                    ensure!(!cluster.disk_exists(3).await?, "it is there");
                    Ok(())
                })
                .await
            },
        )
        .await?;
    cases
        .case(
            "every acknowledged file is there, with the right bytes, and none that was deleted",
            finish(&mut load),
        )
        .await?;
    cases
        .case("every copy of every file is whole", async {
            let http = cluster.http()?;
            let all = load.kept();
            eventually("all copies are whole", secs(90), || {
                inspect::verified(&http, &all, 3)
            })
            .await?;
            inspect::in_place(&cluster, &all, 3).await
        })
        .await?;
    cases.note(&load.summary());
    Ok(())
}

/// Hurts a node; clients must get on without it, and it must come back.
async fn hurt(
    cluster: &Cluster,
    load: &mut Load,
    ordinal: u32,
    how: Hurt,
    nodes: u32,
) -> Result<()> {
    cluster.hurt(ordinal, how).await?;
    load.progress(10, 10).await?;
    load.during(cluster.settled(nodes)).await?;
    load.progress(5, 5).await
}

/// Asks for another number of nodes, and kills the operator as soon as it has begun.
async fn scale_and_kill(ctx: &Ctx, cluster: &Cluster, load: &mut Load, nodes: u32) -> Result<()> {
    let before = cluster.view().await?.epoch;
    cluster.scale(nodes).await?;
    let often = Duration::from_millis(15);
    let view = closely("the change has begun", secs(90), often, async || {
        let view = cluster.view().await?;
        if view.epoch > before {
            return Ok(Ok(view));
        }
        load.check().await?;
        Ok(Err(format!("view {}", view.epoch)))
    });
    let view = view.await?;
    ctx.cases.note(&format!(
        "the operator is killed at view {} ({}), which was {before}",
        view.epoch,
        view.state()
    ));
    cluster.kill_operator().await?;
    load.during(cluster.settled(nodes)).await?;
    load.progress(5, 5).await
}

async fn finish(load: &mut Load) -> Result<()> {
    load.stop().await?;
    load.all_there().await
}
