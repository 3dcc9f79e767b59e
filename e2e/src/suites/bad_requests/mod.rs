//! Requests that are wrong, broken off or hostile, and disks that are full: each is
//! answered as promised, nothing half is ever seen, and no process goes down.

mod broken;
mod full;
mod wrong;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster_spec;
use crate::stage::Cluster;
use crate::suite::Ctx;
use crate::traffic::http::Http;

const MIB: u64 = 1 << 20;

pub async fn run(ctx: Ctx) -> Result<()> {
    let spec = cluster_spec::spec(json!({"storage": {"size": "64Mi"}, "chunkSize": "1Mi"}));
    let cluster = ctx.stage.start(&spec).await?;
    let http = cluster.http()?;
    let before = cluster.identities().await?;
    let cases = &ctx.cases;
    let _ = cases
        .case(
            "wrong and unreadable digests are refused, right ones taken",
            wrong::digests(&ctx, &http),
        )
        .await;
    let _ = cases
        .case(
            "ranges outside the file are 416, what is no range is the whole",
            wrong::ranges(&ctx, &http),
        )
        .await;
    let _ = cases
        .case("bad names are refused in every form", wrong::names(&http))
        .await;
    let _ = cases
        .case(
            "preconditions that do not hold are 412 with the current version",
            wrong::conditions(&ctx, &http),
        )
        .await;
    let _ = cases
        .case("what there is not is a problem too", wrong::unknown(&http))
        .await;
    let _ = cases
        .case(
            "a PUT that breaks off leaves nothing, and an older version as it was",
            broken::broken_off(&ctx, &http),
        )
        .await;
    let _ = cases
        .case(
            "what broke off and what was deleted gives its room back",
            broken::room_again(&cluster),
        )
        .await;
    let _ = cases
        .case(
            "the peer port wants the secret",
            broken::no_secret(&cluster),
        )
        .await;
    let _ = cases
        .case(
            "garbage on every port harms nobody",
            broken::garbage(&ctx, &cluster),
        )
        .await;
    let _ = cases
        .case("no process went down", still_there(&cluster, &before))
        .await;
    if ctx.cases.tally().failed == 0 {
        ctx.stage.clear(None).await?;
    }
    let _ = cases
        .case(
            "full disks answer 507 before the body, and writes go on after deletes",
            full::full(&ctx, &spec),
        )
        .await;
    Ok(())
}

/// That every process is the one it was, lives, and has counted no panic.
async fn still_there(cluster: &Cluster, before: &BTreeMap<u32, String>) -> Result<()> {
    let after = cluster.identities().await?;
    ensure!(*before == after, "they were {before:?} and are {after:?}");
    for node in cluster.nodes().await? {
        Http::new(&node.url, false)?
            .ask("GET", "/livez")
            .await?
            .expect(200)?;
        let metrics = Http::new(&node.url, false)?.ask("GET", "/metrics").await?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let panics = text
            .lines()
            .find(|l| l.contains("panic") && !l.starts_with('#'));
        ensure!(
            panics.is_none_or(|l| l.ends_with(" 0")),
            "{}: {panics:?}",
            node.name
        );
    }
    Ok(())
}
