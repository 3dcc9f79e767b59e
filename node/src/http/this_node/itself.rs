//! The node itself, put together from what it knows and holds, for its client port.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::http::{RingState, Successor, Where};
use chord_api::problem::Problem;
use chord_api::status::NodeStatus;
use chord_types::{FileName, Id, View};
use prometheus_client::registry::Registry;

use super::ThisNode;
use super::figures::Figures;
use super::finder::Finder;
use super::holdings::Holdings;
use super::supervisor::Supervisor;
use crate::notes::Progress;
use crate::report::Reporter;
use crate::report::status::StatusBoard;
use crate::ring::Ring;
use crate::store::Store;
use crate::view::{Identity, ViewKeeper};

/// The node as its client port asks it.
#[derive(Clone)]
pub struct NodeItself {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) ring: Arc<Ring>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) finder: Arc<Finder>,
    pub(crate) supervisor: Arc<Supervisor>,
}

impl ThisNode for NodeItself {
    async fn list_files(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, Problem> {
        self.holdings.list(after, limit).await
    }

    async fn file_exists(&self, name: &str) -> Result<bool, Problem> {
        self.holdings.has(name).await
    }

    async fn successor(&self, id: Id) -> Result<Successor, Problem> {
        self.finder.successor(id).await
    }

    async fn ring(&self) -> RingState {
        self.finder.pointers()
    }

    async fn view(&self) -> Option<View> {
        self.view.current().map(|c| c.view.clone())
    }

    async fn status(&self) -> NodeStatus {
        self.board.status().await
    }

    async fn place(&self, name: &FileName) -> Result<Where, Problem> {
        self.finder.place(name).await
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(failure) = self.store.failure() {
            return Err(failure.to_string());
        }
        if self.view.is_member() {
            return Ok(());
        }
        let name = &self.me.name;
        Err(match self.view.reference() {
            None => format!(
                "{name} has no view: the cluster has not been formed, or does not know this node yet"
            ),
            Some(view) => format!(
                "{name} with disk {} is not a member in view {}",
                self.me.disk, view.epoch
            ),
        })
    }

    fn add_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Figures {
            reporter: self.reporter.clone(),
            progress: self.progress.clone(),
        }));
        self.ring.add_metrics(registry);
    }

    fn supervised(&self) -> bool {
        self.supervisor.is_there()
    }

    async fn supervisor(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(StatusCode, String, Bytes)> {
        self.supervisor.pass_on(method, path, body).await
    }
}
