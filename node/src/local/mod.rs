//! What this node itself knows and holds, for the client port.

pub mod finder;
pub mod holdings;
mod metrics;
pub mod supervisor;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::http::{RingState, Successor, Where};
use chord_api::problem::Problem;
use chord_api::status::NodeStatus;
use chord_types::{FileName, Id, View};

use self::finder::Finder;
use self::holdings::Holdings;
use self::supervisor::Supervisor;
use crate::http::Local;
use crate::identity::Identity;
use crate::notes::Progress;
use crate::report::Reporter;
use crate::report::status::StatusBoard;
use crate::ring::Ring;
use crate::store::Store;
use crate::view::ViewKeeper;

/// The node as its client port asks it.
#[derive(Clone)]
pub struct NodeLocal {
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

impl Local for NodeLocal {
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

    async fn metrics(&self) -> String {
        let mut out = metrics::render(&self.reporter.report(), &self.progress.states());
        out.push_str(&self.ring.metrics());
        out
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
