//! Changes by hand: scaling, draining, giving a disk up.

use chord_api::problem::{Kind, Problem};
use chord_operator::crd::{ChordCluster, ClusterManifestErrors, REPLACE_ANNOTATION};
use http::StatusCode;
use kube::ResourceExt;

use super::check::checked;
use crate::scaling;

/// The manifest with another number of nodes; `desired` is how many the operator
/// wants now, where that is known.
pub fn scaled(
    current: &ChordCluster,
    nodes: u32,
    desired: Option<u32>,
) -> Result<ChordCluster, Problem> {
    if let Some(why) = scaling::refusal(current, nodes, desired) {
        return Err(Problem::new(Kind::PreconditionFailed, why).with_status(StatusCode::CONFLICT));
    }
    let mut next = current.clone();
    next.spec.nodes = nodes;
    checked(next, Some(current)).map_err(|e| invalid(&e))
}

/// The manifest with a node drained, or not any more.
pub fn drained(current: &ChordCluster, ordinal: u32, drain: bool) -> Result<ChordCluster, Problem> {
    let mut next = current.clone();
    if drain {
        next.spec.drained.insert(ordinal);
    } else {
        next.spec.drained.remove(&ordinal);
    }
    checked(next, Some(current)).map_err(|e| invalid(&e))
}

/// The manifest with a disk given up, or not any more.
pub fn replaced(
    current: &ChordCluster,
    disk: &str,
    replace: bool,
) -> Result<ChordCluster, Problem> {
    let given_up = current.annotations().get(REPLACE_ANNOTATION);
    if !replace && given_up.map(String::as_str) != Some(disk) {
        let why = format!("the disk {disk} is not given up");
        return Err(Problem::new(Kind::NotFound, why));
    }
    let mut next = current.clone();
    set_replace(&mut next, replace.then(|| disk.to_string()));
    checked(next, Some(current)).map_err(|e| invalid(&e))
}

fn invalid(errors: &ClusterManifestErrors) -> Problem {
    Problem::new(Kind::InvalidRequest, errors.to_string().replace('\n', "; "))
}

/// Names the disk that is given up, or none.
pub fn set_replace(cluster: &mut ChordCluster, disk: Option<String>) {
    match disk {
        Some(disk) => {
            cluster
                .annotations_mut()
                .insert(REPLACE_ANNOTATION.to_string(), disk);
        }
        None => {
            cluster.annotations_mut().remove(REPLACE_ANNOTATION);
        }
    }
}
