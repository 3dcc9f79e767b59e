//! What every route of the client port is given.

use prometheus_client::registry::Registry;

use super::changes::Changes;
use crate::http::metrics::Metrics;
use crate::http::this_node::ThisNode;
use crate::world::{Clock, World};

/// The client port over a data path and a node; clones share it.
#[derive(Clone)]
pub(super) struct Port<F, N> {
    pub(super) files: F,
    pub(super) node: N,
    pub(super) metrics: Metrics,
    pub(super) changes: Changes,
    pub(super) clock: Clock,
}

impl<F, N: ThisNode> Port<F, N> {
    pub(super) fn new(files: F, node: N, world: &World) -> Port<F, N> {
        let mut registry = Registry::default();
        node.add_metrics(&mut registry);
        Port {
            files,
            node,
            metrics: Metrics::new(registry),
            changes: Changes::new(world.tasks.clone()),
            clock: world.clock,
        }
    }
}
