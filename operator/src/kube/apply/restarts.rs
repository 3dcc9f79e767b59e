//! Restarts: pods whose revision is old are deleted, and the StatefulSet makes them
//! anew.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::objects::Inputs;
use super::turns::Turns;
use crate::kube::api::Error;
use crate::kube::api::writer::Writer;
use crate::kube::names::REVISION;
use crate::kube::observe::stateful_set::revision_of;
use crate::kube::status::Publisher;

/// Restarts the nodes that the plan names, if it is this cluster's turn.
pub async fn restart(
    writer: &Writer<'_>,
    inputs: &Inputs<'_>,
    turns: &Turns,
    publisher: &Publisher,
) -> Result<(), Error> {
    let (names, seen) = (inputs.names, &inputs.observation.seen);
    let revision = &inputs.wanted.plan.revision;
    let whose = format!("{}/{}", names.namespace, names.cluster);
    let mut pods = seen.pods.values();
    if pods.all(|pod| pod.annotations().get(REVISION) == Some(revision)) {
        turns.done(&whose);
    }
    // A pod that is deleted before the StatefulSet has the new settings comes back
    // with the old ones.
    let set = writer.seen::<StatefulSet>(&names.cluster);
    if set.as_deref().and_then(revision_of) != Some(revision) {
        return Ok(());
    }
    for ordinal in &inputs.plan.restart {
        let Some(pod) = seen.pods.get(ordinal) else {
            continue;
        };
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if !turns.may(&whose) {
            tracing::info!("{whose} waits to be restarted until another cluster is done");
            return Ok(());
        }
        let params = DeleteParams::default();
        writer.delete(pod.as_ref(), params).await?;
        let message = format!("{} gets its new settings", names.pod(*ordinal));
        publisher
            .event(inputs.cluster, false, "Restarting", &message)
            .await;
    }
    Ok(())
}
