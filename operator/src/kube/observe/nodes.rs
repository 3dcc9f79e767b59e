//! What the nodes say of themselves, and what Kubernetes says of their pods. Nodes
//! are asked by their pods' addresses, ready or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chord_api::causes::briefly;
use chord_api::client::{NodeClient, NodeError};
use chord_planner::plan::{Node, Observed, Site, Stored, Trouble};
use chord_types::Ordinal;
use chord_types::report::NodeReport;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::objects::{Seen, has_volume};
use crate::kube::names::{PEER_PORT, REVISION};
use crate::nodes::{Reports, held_views, observe_nodes};

/// The addresses at which nodes can be asked.
pub fn targets(seen: &Seen) -> Vec<(Ordinal, String)> {
    seen.pods
        .iter()
        .filter_map(|(ordinal, pod)| {
            let ip: std::net::IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
            Some((
                *ordinal,
                format!(
                    "http://{}",
                    std::net::SocketAddr::from((ip, PEER_PORT as u16))
                ),
            ))
        })
        .collect()
}

/// Asks the nodes, and puts together what the planner gets to see.
pub async fn observe(
    client: &NodeClient,
    seen: &Seen,
    targets: &[(Ordinal, String)],
    heard: &mut BTreeSet<Ordinal>,
    sites: BTreeMap<Ordinal, Site>,
    stored: Stored,
) -> Result<(Observed, Reports), NodeError> {
    let mut reports = observe_nodes(client, targets, heard).await?;
    for (ordinal, report) in &mut reports {
        // An address may have passed to another pod since it was read.
        if let Ok(answer) = report
            && answer.ordinal != *ordinal
        {
            let why = format!("{} answers there", answer.name);
            *report = Err(NodeError::Unreadable {
                url: format!("the node {ordinal}"),
                why: why.into(),
            });
        }
    }
    let held = held_views(client, targets, &reports, &stored).await;
    Ok((
        Observed {
            nodes: nodes(seen, &reports, sites),
            stored,
            held,
        },
        reports,
    ))
}

fn nodes(
    seen: &Seen,
    reports: &Reports,
    mut sites: BTreeMap<Ordinal, Site>,
) -> BTreeMap<Ordinal, Node> {
    let below = (0..seen.replicas).map(Ordinal);
    let ordinals: BTreeSet<Ordinal> = below
        .chain(seen.pods.keys().copied())
        .chain(seen.claims.keys().copied())
        .collect();
    ordinals
        .into_iter()
        .map(|at| {
            let (pod, claim) = (seen.pods.get(&at), seen.claims.get(&at));
            (
                at,
                node(
                    pod.map(Arc::as_ref),
                    claim.is_some_and(|c| has_volume(c)),
                    at.0 < seen.replicas,
                    reports.get(&at),
                    sites.remove(&at),
                ),
            )
        })
        .collect()
}

fn node(
    pod: Option<&Pod>,
    volume: bool,
    meant_to_run: bool,
    report: Option<&Result<NodeReport, NodeError>>,
    site: Option<Site>,
) -> Node {
    let terminating = pod.is_some_and(|p| p.metadata.deletion_timestamp.is_some());
    // A pod that is beyond the StatefulSet's number and on its way out cannot be
    // held back: it counts as gone, and what it says in its last seconds does not.
    let leaving = terminating && !meant_to_run;
    let (report, silence) = match report {
        Some(Ok(report)) if !leaving => (Some(report.clone()), None),
        Some(Err(e)) => (None, Some(briefly(e))),
        _ => (None, None),
    };
    let silence = match (&report, pod) {
        (Some(_), _) => None,
        (None, Some(_)) => silence.or(Some("it has no address".into())),
        (None, None) => meant_to_run.then(|| "its pod has not been made".to_string()),
    };
    let broken = pod.and_then(broken).map(Trouble::Broken);
    let trouble = broken.or(silence.map(Trouble::Silent));
    Node {
        running: meant_to_run || (pod.is_some() && !terminating),
        revision: pod.and_then(|p| p.annotations().get(REVISION).cloned()),
        disk_exists: volume,
        terminating,
        site,
        report,
        trouble,
    }
}

/// What Kubernetes says is wrong with a pod: with one that it says this of, the
/// node does not run.
fn broken(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if let Some("Failed" | "Succeeded") = status.phase.as_deref() {
        return Some(format!(
            "its pod has ended: {}",
            status.message.as_deref().unwrap_or("without a word")
        ));
    }
    let unschedulable = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False")
        .map(|c| {
            format!(
                "its pod cannot be placed: {}",
                c.message.as_deref().unwrap_or("no reason given")
            )
        });
    unschedulable.or_else(|| {
        status
            .container_statuses
            .iter()
            .flatten()
            .find_map(container_trouble)
    })
}

fn container_trouble(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    // A container that is being made is no trouble.
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(
        format!("{reason}: {message}")
            .trim_end_matches(": ")
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "files-0", "annotations": {REVISION: "r1"}},
            "status": status
        }))
        .unwrap()
    }

    fn terminating(mut pod: Pod) -> Pod {
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        pod
    }

    #[test]
    fn what_kubernetes_says_of_a_pod_is_handed_on() {
        let waiting = json!({"containerStatuses": [{"name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
        assert_eq!(
            broken(&pod(waiting)).as_deref(),
            Some("ImagePullBackOff: no such image")
        );
        let unplaced = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]});
        assert_eq!(
            broken(&pod(unplaced)).as_deref(),
            Some("its pod cannot be placed: 0/3 nodes")
        );
        assert_eq!(broken(&pod(json!({"phase": "Running"}))), None);
    }

    #[test]
    fn a_missed_answer_is_not_a_broken_node() {
        let missed = || {
            Err(NodeError::Unreachable {
                url: "files-0".into(),
                why: "timed out".into(),
            })
        };
        let trouble = |pod: &Pod| node(Some(pod), true, true, Some(&missed()), None).trouble;
        let running = trouble(&pod(json!({"phase": "Running", "podIP": "10.0.0.7"})));
        assert!(matches!(running, Some(Trouble::Silent(_))), "{running:?}");
        let crashing = json!({"containerStatuses": [{"name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 7,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let crashing = trouble(&pod(crashing));
        assert!(matches!(crashing, Some(Trouble::Broken(_))), "{crashing:?}");
    }

    #[test]
    fn a_pod_that_leaves_counts_as_gone_and_its_last_words_do_not() {
        let node = |pod, meant| node(pod, true, meant, None, None);
        let leaving = terminating(pod(json!({})));
        assert!(!node(Some(&leaving), false).running);
        assert!(
            node(Some(&leaving), true).running,
            "a restart: it will be back"
        );
        assert!(node(Some(&leaving), true).terminating);
        assert!(node(None, true).running, "meant to be there");
        assert!(!node(None, false).running && node(None, false).disk_exists);
        assert_eq!(
            node(Some(&pod(json!({}))), true).revision.as_deref(),
            Some("r1")
        );
    }

    #[test]
    fn a_claim_without_a_volume_is_no_disk() {
        let mut seen = Seen::default();
        let claims = [
            json!({}),
            json!({"volumeName": ""}),
            json!({"volumeName": "pv-1"}),
        ];
        for (ordinal, spec) in (0..).map(Ordinal).zip(claims) {
            let claim = serde_json::from_value(json!({"spec": spec})).unwrap();
            seen.claims.insert(ordinal, Arc::new(claim));
        }
        let disks: Vec<bool> = nodes(&seen, &Reports::new(), BTreeMap::new())
            .values()
            .map(|n| n.disk_exists)
            .collect();
        assert_eq!(disks, [false, false, true]);
    }

    #[test]
    fn nodes_are_asked_by_address_of_either_family() {
        let mut seen = Seen::default();
        seen.pods
            .insert(Ordinal(0), Arc::new(pod(json!({"podIP": "10.0.0.7"}))));
        seen.pods
            .insert(Ordinal(1), Arc::new(pod(json!({"podIP": "fd00::7"}))));
        seen.pods.insert(Ordinal(2), Arc::new(pod(json!({}))));
        assert_eq!(
            targets(&seen),
            [
                (Ordinal(0), "http://10.0.0.7:8081".to_string()),
                (Ordinal(1), "http://[fd00::7]:8081".to_string())
            ]
        );
    }
}
