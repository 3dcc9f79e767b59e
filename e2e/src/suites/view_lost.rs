//! The stored view is lost, or an old copy of it is put back: the operator takes
//! over what the nodes hold, or waits. No epoch goes back, no member is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use chord_types::{DiskId, Epoch, Ordinal, View};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cluster_spec;
use crate::inspect;
use crate::stage::Cluster;
use crate::suite::Ctx;
use crate::traffic::load::Load;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let cluster = ctx
        .stage
        .start(&cluster_spec::spec(json!({"chunkSize": "256Ki"})))
        .await?;
    let cases = &ctx.cases;
    let mut load = Load::start(cluster.endpoint(), ctx.seed, ctx.stage.load())?;
    let watch = Watch::start(&cluster);
    cases
        .case("clients read and write", load.progress(20, 20))
        .await?;
    let old = cluster.copy_view().await?;

    cases
        .case(
            "the stored view is deleted: it comes back as the nodes hold it",
            async {
                let before = cluster.view().await?;
                cluster.put_view(None).await?;
                load.during(back(&cluster, &before, 3)).await?;
                load.progress(5, 5).await
            },
        )
        .await?;
    cases
        .case("nodes still come: a fourth joins", async {
            cluster.scale(4).await?;
            load.during(cluster.settled(4)).await
        })
        .await?;
    cases
        .case(
            "a copy from before that is put back: the newer view of the nodes is taken over",
            put_back(&cluster, &mut load, &old),
        )
        .await?;
    cases
        .case(
            "it is deleted while the operator is dead: the same",
            async {
                let before = cluster.view().await?;
                let (killed, deleted) =
                    tokio::join!(cluster.kill_operator(), cluster.put_view(None));
                killed?;
                deleted?;
                load.during(back(&cluster, &before, 4)).await
            },
        )
        .await?;
    cases
        .case("nodes still go: back to three", async {
            cluster.scale(3).await?;
            load.during(cluster.settled(3)).await
        })
        .await?;
    let _ = cases
        .case("no node's epoch ever went back", async { watch.stop() })
        .await;
    cases
        .case(
            "every acknowledged file is there, with three whole copies",
            async {
                load.stop().await?;
                load.all_there().await?;
                let http = cluster.http()?;
                let all = load.kept();
                eventually("all copies are whole", secs(60), || {
                    inspect::verified(&http, &all, 3)
                })
                .await
            },
        )
        .await?;
    cases.note(&load.summary());
    Ok(())
}

async fn put_back(cluster: &Cluster, load: &mut Load, old: &[u8]) -> Result<()> {
    let before = cluster.view().await?;
    ensure!(
        members(&before).len() == 4,
        "view {} has not four members",
        before.epoch
    );
    cluster.put_view(Some(old)).await?;
    load.during(back(cluster, &before, 4)).await?;
    load.progress(5, 5).await
}

fn members(view: &View) -> Vec<(Ordinal, DiskId)> {
    view.new_table()
        .members
        .iter()
        .map(|m| (m.ordinal, m.disk))
        .collect()
}

/// Waits until a view is stored again, and the cluster is as it was.
async fn back(cluster: &Cluster, before: &View, nodes: u32) -> Result<()> {
    eventually("a view that is no older is stored", secs(60), || async {
        let now = cluster.view().await?;
        ensure!(
            now.epoch >= before.epoch,
            "view {} is stored, and it was {}",
            now.epoch,
            before.epoch
        );
        if now.cluster != before.cluster {
            bail!(crate::wait::Never(format!(
                "the stored view is of the cluster {}",
                now.cluster
            )));
        }
        Ok(())
    })
    .await?;
    cluster.settled(nodes).await?;
    let now = cluster.view().await?;
    ensure!(
        members(&now) == members(before),
        "the members are {:?}, and were {:?}",
        members(&now),
        members(before)
    );
    Ok(())
}

/// Looks at the epoch of every node, again and again.
struct Watch {
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    wrong: Arc<Mutex<Option<String>>>,
    looks: Arc<std::sync::atomic::AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    fn start(cluster: &Cluster) -> Watch {
        let wrong: Arc<Mutex<Option<String>>> = Arc::default();
        let looks = Arc::default();
        let (found, counted, cluster) = (Arc::clone(&wrong), Arc::clone(&looks), cluster.clone());
        let task = tokio::spawn(async move {
            let counted: Arc<std::sync::atomic::AtomicU64> = counted;
            // By disk: one that is made anew may start anew.
            let mut highest: BTreeMap<DiskId, Epoch> = BTreeMap::new();
            loop {
                for node in cluster.nodes().await.unwrap_or_default() {
                    let Ok(files) = cluster.files(&node).await else {
                        continue;
                    };
                    let asked = tokio::time::timeout(secs(3), files.status()).await;
                    let Ok(Ok(status)) = asked else { continue };
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(view) = status.report.view else {
                        continue;
                    };
                    let before = highest.entry(status.report.disk).or_insert(view.epoch);
                    if view.epoch < *before {
                        let text = format!(
                            "{} went from view {before} to view {}",
                            node.name, view.epoch
                        );
                        found.lock().get_or_insert(text);
                    }
                    *before = view.epoch;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Watch { wrong, looks, task }
    }

    fn stop(self) -> Result<()> {
        self.task.abort();
        ensure!(
            self.looks.load(std::sync::atomic::Ordering::Relaxed) > 20,
            "nobody looked"
        );
        match self.wrong.lock().take() {
            Some(wrong) => bail!(wrong),
            None => Ok(()),
        }
    }
}
