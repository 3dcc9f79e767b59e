//! How long it takes from the PUT that fills the disks above the threshold until a
//! node has come and serves.

use std::path::Path;
use std::time::Instant;

use crate::wait::{closely, eventually, secs};
use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::client::{FileSet, Paths, Puts, Source, Until, run_clients};
use super::cluster::{Cluster, readyz};
use super::figures::Figures;

/// One of these leaves three nodes of 64 MiB below 33 %, two do not.
const BYTES: usize = 12 << 20;
const LONGEST: std::time::Duration = secs(180);
/// The node that is to come.
const NEW: u32 = 3;

/// Measures it once, with a cluster of its own in `beside`.
pub async fn run(beside: &Path, source: &Source, figures: &mut Figures) -> Result<()> {
    let spec = json!({
        "nodes": 3,
        "replication": 3,
        "chunkSize": "1Mi",
        "storage": {"size": "64Mi"},
        "durability": "Durable",
        "autoscaling": {
            "minNodes": 3,
            "maxNodes": 4,
            "diskUsage": {"scaleOutAbove": 33, "scaleInBelow": 5},
        },
    });
    let cluster = Cluster::start(beside, &spec, 3).await?;
    let result = cross(&cluster, source, figures).await;
    let stopped = cluster.stop().await;
    result.and(stopped)
}

async fn cross(cluster: &Cluster, source: &Source, figures: &mut Figures) -> Result<()> {
    let nodes = cluster.addresses()?;
    let put = |prefix: &str| Puts {
        source: source.clone(),
        set: FileSet::new(prefix, BYTES),
        paths: Paths::FILES,
    };
    run_clients(&nodes, 1, Until::requests(1), put("below")).await?;
    eventually("the first file is seen", secs(90), || async {
        let status = cluster.status()?;
        let fullest = status["storage"]["fullestPercent"]
            .as_u64()
            .context("no figure")?;
        ensure!(
            (15..=33).contains(&fullest),
            "the fullest node is filled to {fullest} %"
        );
        ensure!(
            status["nodes"] == 3 && status["phase"] == "Ready",
            "the phase is {}",
            status["phase"]
        );
        Ok(())
    })
    .await?;
    run_clients(&nodes, 1, Until::requests(1), put("above")).await?;
    let crossed = Instant::now();
    let often = std::time::Duration::from_millis(50);
    closely("a node has come", LONGEST, often, async || {
        let node = cluster.nodes()?.into_iter().find(|n| n.ordinal == NEW);
        if let Some(node) = node
            && cluster.state_of(NEW).is_ok_and(|state| state == "Ready")
            && readyz(node.address).await.is_ok()
        {
            return Ok(Ok(()));
        }
        Ok(Err(cluster.status()?.to_string()))
    })
    .await?;
    figures.add(
        "threshold_to_serving_s",
        "s",
        crossed.elapsed().as_secs_f64(),
    );
    eventually("the change is done", LONGEST, || async {
        let status = cluster.status()?;
        ensure!(
            status["nodes"] == 4 && status["phase"] == "Ready",
            "the phase is {}",
            status["phase"]
        );
        Ok(())
    })
    .await?;
    figures.add(
        "threshold_to_ready_again_s",
        "s",
        crossed.elapsed().as_secs_f64(),
    );
    Ok(())
}
