//! What the client port asks of the node that it runs on, beside the data path.

mod figures;
pub mod finder;
pub mod holdings;
pub mod itself;
pub mod supervisor;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::http::{RingState, Successor, Where};
use chord_api::problem::Problem;
use chord_api::status::NodeStatus;
use chord_types::{FileName, Id, View};
use prometheus_client::registry::Registry;

/// This node's own knowledge; errors are ready to be answered.
pub trait ThisNode: Clone + Send + Sync + 'static {
    /// Names that this node holds (`NAME`, `NAME-partN`), in byte order, those
    /// after `after` only, at most `limit`. An empty page is the end.
    fn list_files(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, Problem>> + Send;

    /// Whether this node holds it, by the same names.
    fn file_exists(&self, name: &str) -> impl Future<Output = Result<bool, Problem>> + Send;

    /// The successor of an id, as the ring finds it now.
    fn successor(&self, id: Id) -> impl Future<Output = Result<Successor, Problem>> + Send;

    /// This node's pointers.
    fn ring(&self) -> impl Future<Output = RingState> + Send;

    /// The view that this node holds.
    fn view(&self) -> impl Future<Output = Option<View>> + Send;

    /// Workers, disk, versions, members.
    fn status(&self) -> impl Future<Output = NodeStatus> + Send;

    /// Where each piece of a file is kept, by the view.
    fn place(&self, name: &FileName) -> impl Future<Output = Result<Where, Problem>> + Send;

    /// Whether clients may be sent here; else why not.
    fn ready(&self) -> Result<(), String>;

    /// Adds what it measures to the node's metrics, once.
    fn add_metrics(&self, registry: &mut Registry);

    /// Whether `chord up` runs this node, on loopback and for anybody there.
    fn supervised(&self) -> bool;

    /// Passes `/cluster/…` on to the supervisor of `chord up`: status, media type
    /// and body of its answer. `None` where there is no supervisor.
    fn supervisor(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> impl Future<Output = Option<(StatusCode, String, Bytes)>> + Send;
}
