//! Where suites run, and the clusters there.
//!
//! A suite sees a [`Cluster`] alone: something with nodes, an endpoint, a stored
//! view and an operator, whose parts can be hurt. What that means is [`local`]'s
//! and [`kube`]'s to know.

pub mod kube;
pub mod local;
pub mod namespace;
pub mod node;
pub mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chord_api::files::FilesClient;
use chord_types::View;
use serde_json::Value;

use self::node::{Hurt, Node};
use crate::traffic::http::Http;
use crate::traffic::load::LoadShape;
use crate::wait::{eventually, secs};

/// Where suites run.
#[derive(Clone)]
pub enum Stage {
    Local(Arc<local::Local>),
    Kube(Arc<kube::Kube>),
}

/// A cluster that runs.
#[derive(Clone)]
pub enum Cluster {
    Local(Arc<local::LocalCluster>),
    Kube(Arc<kube::KubeCluster>),
}

macro_rules! on {
    ($self:ident, $cluster:ident => $work:expr) => {
        match $self {
            Cluster::Local($cluster) => $work,
            Cluster::Kube($cluster) => $work,
        }
    };
}

impl Stage {
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Local(_) => "local",
            Stage::Kube(_) => "kube",
        }
    }

    pub fn is_kube(&self) -> bool {
        matches!(self, Stage::Kube(_))
    }

    /// A cluster with this spec, formed and ready.
    pub async fn start(&self, spec: &Value) -> Result<Cluster> {
        let cluster = match self {
            Stage::Local(stage) => Cluster::Local(stage.start(spec).await?),
            Stage::Kube(stage) => Cluster::Kube(stage.start(spec).await?),
        };
        let nodes = spec["nodes"].as_u64().unwrap_or(3);
        cluster
            .settled(u32::try_from(nodes)?)
            .await
            .context("the cluster did not form")?;
        Ok(cluster)
    }

    /// Ends all clusters of the suite; of a failed one the logs are kept in `keep`.
    pub async fn clear(&self, keep: Option<&Path>) -> Result<()> {
        match self {
            Stage::Local(stage) => stage.clear(keep).await,
            Stage::Kube(stage) => stage.clear(keep).await,
        }
    }

    /// Less of everything where every byte goes through a port-forward.
    pub fn load(&self) -> LoadShape {
        let kube = self.is_kube();
        LoadShape {
            writers: if kube { 1 } else { 2 },
            readers: if kube { 1 } else { 2 },
            pause: Duration::from_millis(if kube { 150 } else { 60 }),
            files: if kube { 150 } else { 300 },
            longest: if kube { 300_000 } else { 700_000 },
            reuse: kube,
        }
    }
}

impl Cluster {
    /// The one endpoint.
    pub fn endpoint(&self) -> &str {
        on!(self, c => c.endpoint())
    }

    /// A client of the endpoint.
    pub fn http(&self) -> Result<Http> {
        Http::new(self.endpoint(), matches!(self, Cluster::Kube(_)))
    }

    /// The nodes that run, by ordinal.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        on!(self, c => c.nodes().await)
    }

    pub async fn node(&self, ordinal: u32) -> Result<Node> {
        let nodes = self.nodes().await?;
        nodes
            .into_iter()
            .find(|n| n.ordinal == ordinal)
            .with_context(|| format!("node {ordinal} does not run"))
    }

    pub async fn node_named(&self, name: &str) -> Result<Node> {
        let nodes = self.nodes().await?;
        nodes
            .into_iter()
            .find(|n| n.name == name)
            .with_context(|| format!("the node {name} does not run"))
    }

    /// A client of one node's client port.
    pub async fn files(&self, node: &Node) -> Result<FilesClient> {
        Ok(FilesClient::new(&node.url)?)
    }

    /// The base URL of a node's peer port.
    pub async fn peer_url(&self, ordinal: u32) -> Result<String> {
        on!(self, c => c.peer_url(ordinal).await)
    }

    /// Which process each node is: another text after a restart.
    pub async fn identities(&self) -> Result<BTreeMap<u32, String>> {
        on!(self, c => c.identities().await)
    }

    pub async fn hurt(&self, ordinal: u32, how: Hurt) -> Result<()> {
        on!(self, c => c.hurt(ordinal, how).await)
            .with_context(|| format!("{how:?} of node {ordinal}"))
    }

    /// `kill -9` of the operator, which its keeper starts again.
    pub async fn kill_operator(&self) -> Result<()> {
        on!(self, c => c.kill_operator().await).context("killing the operator")
    }

    /// The number of nodes, by hand.
    pub async fn scale(&self, nodes: u32) -> Result<()> {
        on!(self, c => c.scale(nodes).await).with_context(|| format!("scaling to {nodes} nodes"))
    }

    /// The ChordCluster's status.
    pub async fn status(&self) -> Result<Value> {
        on!(self, c => c.status().await)
    }

    /// What the operator has stored its view as; `None`: nothing.
    pub async fn view_bytes(&self) -> Result<Option<Vec<u8>>> {
        on!(self, c => c.view_bytes().await)
    }

    /// A copy of the object that the view is stored in, to be put back later.
    pub async fn copy_view(&self) -> Result<Vec<u8>> {
        on!(self, c => c.copy_view().await)
    }

    /// Deletes the object with the view, or puts an old copy in its place.
    pub async fn put_view(&self, copy: Option<&[u8]>) -> Result<()> {
        on!(self, c => c.put_view(copy).await)
    }

    /// Whether there is a disk for this ordinal.
    pub async fn disk_exists(&self, ordinal: u32) -> Result<bool> {
        on!(self, c => c.disk_exists(ordinal).await)
    }

    /// The files of chunks on a node's disk; `None` where they cannot be reached.
    pub async fn chunk_files(&self, ordinal: u32) -> Result<Option<Vec<std::path::PathBuf>>> {
        on!(self, c => c.chunk_files(ordinal).await)
    }

    /// The stored view.
    pub async fn view(&self) -> Result<View> {
        let bytes = self.view_bytes().await?.context("no view is stored")?;
        View::decode(&bytes).context("reading the stored view")
    }

    /// Waits until the cluster has so many nodes, all ready, in a stable view, with
    /// all copies of everything.
    pub async fn settled(&self, nodes: u32) -> Result<()> {
        eventually(
            format!("{nodes} nodes are ready and have all copies"),
            secs(120),
            || self.is_settled(nodes),
        )
        .await
    }

    pub async fn is_settled(&self, nodes: u32) -> Result<()> {
        let status = self.status().await?;
        let seen = summary(&status);
        ensure!(status["phase"] == "Ready", "{seen}");
        ensure!(
            status["nodes"] == nodes && status["readyNodes"] == nodes,
            "{seen}"
        );
        ensure!(status["view"]["tables"] == "Stable", "{seen}");
        let stored = self.view().await?;
        ensure!(
            status["view"]["epoch"] == stored.epoch.0,
            "{seen}, and view {} is stored",
            stored.epoch
        );
        let running = self.nodes().await?;
        ensure!(
            running.len() == nodes as usize,
            "{} nodes run, and {seen}",
            running.len()
        );
        for node in &running {
            let report = self
                .files(node)
                .await?
                .status()
                .await
                .with_context(|| seen.clone())?
                .report;
            let view = report.view.context("a node without a view")?;
            ensure!(
                view.epoch == stored.epoch,
                "{} holds view {}, {seen}",
                node.name,
                view.epoch
            );
            let copies = &report.copies;
            ensure!(
                copies.epoch == stored.epoch && copies.complete && copies.missing == 0,
                "the copies of {} are {copies:?} at view {}",
                node.name,
                stored.epoch
            );
            ensure!(
                report.inventory.hints == 0,
                "{} has {} hints left",
                node.name,
                report.inventory.hints
            );
        }
        Ok(())
    }
}

/// A status in one line.
pub fn summary(status: &Value) -> String {
    let conditions: Vec<String> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|c| {
            !matches!(
                c["type"].as_str(),
                Some("Ready" | "StorageHealthy" | "CopiesSpread")
            ) == (c["status"] == "True")
        })
        .map(|c| {
            format!(
                "{}: {}",
                c["type"].as_str().unwrap_or_default(),
                c["message"].as_str().unwrap_or_default()
            )
        })
        .collect();
    format!(
        "phase {}, {} nodes, {} ready, {} desired, view {} {}, fullest {} %{}{} {}",
        status["phase"],
        status["nodes"],
        status["readyNodes"],
        status["desiredNodes"],
        status["view"]["epoch"],
        status["view"]["tables"],
        status["storage"]["fullestPercent"],
        if status["autoscaling"].is_null() {
            ""
        } else {
            ", autoscaling: "
        },
        status["autoscaling"]["reason"].as_str().unwrap_or_default(),
        conditions.join("; ")
    )
}
