//! The record is stored first, and only then the nodes get the view in it.

use chord_api::causes::briefly;
use chord_api::client::NodeClient;
use chord_planner::plan::Stored;
use chord_types::ClusterUid;

use super::Error;
use crate::kube::api::writer::Writer;
use crate::kube::build::record::RecordChange;
use crate::kube::names::Names;
use crate::kube::observe::Observation;
use crate::kube::observe::record::Record;
use crate::nodes::push_view;

/// Writes the record, if it is to change: created if it was not there, replaced if it
/// is still as it was read; otherwise an error, and the next round starts from what is
/// there.
pub async fn store(
    writer: &Writer<'_>,
    names: &Names,
    record: Record,
    change: Option<RecordChange>,
) -> Result<Record, Error> {
    let Some(RecordChange { map, summary }) = change else {
        return Ok(record);
    };
    let written = match &record.object {
        None => writer.create_watched(&map).await?,
        Some(_) => writer.replace(&map).await?,
    };
    if let Some(summary) = summary {
        let Names { namespace, cluster } = names;
        tracing::info!("view of {namespace}/{cluster} is now {summary}");
    }
    Ok(Record::read(Some(written)))
}

/// Gives the stored view, if it is this cluster's, to the nodes that answered and hold
/// an older one. A node that does not take it gets it in the next round.
pub async fn give_view(
    nodes: &NodeClient,
    names: &Names,
    observation: &Observation,
    stored: &Stored,
    cluster: &ClusterUid,
) {
    let Stored::View(view) = stored else {
        return;
    };
    if view.cluster != *cluster {
        return;
    }
    let (targets, reports) = (&observation.targets, &observation.reports);
    for (ordinal, e) in push_view(nodes, targets, reports, view).await {
        let (name, why) = (names.pod(ordinal), briefly(&e));
        tracing::warn!("{name} did not take view {}: {why}", view.epoch);
    }
}
