//! The manifest that a folder runs: what was given, what was kept from the last
//! start, and what was changed by hand in between.
//!
//! All of it is plain functions of manifests; the folder stores what they decide.

use chord_api::problem::{Kind, Problem};
use chord_operator::crd::to_plan::cluster_uid;
use chord_operator::crd::{
    BadSpec, CLUSTER_UID_ANNOTATION, ChordCluster, ManifestErrors, REPLACE_ANNOTATION, schema,
};
use chord_planner::plan;
use http::StatusCode;
use kube::ResourceExt;

/// What runs when nobody gives a manifest.
const SMALL: &str = "\
apiVersion: chord.storage/v1alpha1
kind: ChordCluster
metadata:
  name: files
spec:
  nodes: 3
  storage:
    size: 1Gi
";

/// Manifests that the folder kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The one in force, with what was changed by hand.
    pub current: ChordCluster,
    /// The one that was last given; `None`: none ever was.
    pub given: Option<ChordCluster>,
    /// How many nodes the operator last wanted.
    pub nodes: Option<u32>,
}

/// More processes would stifle a machine before the first one serves. What
/// autoscaling adds is bounded by the disk, which all nodes share.
const MOST_HERE: u32 = 100;

/// Decides what runs. A change that could never come true is refused; a change
/// made by hand (`chord scale`, `drain`, `replace`) stays until the given manifest
/// itself changes in that place.
pub fn decide(
    given: Option<&ChordCluster>,
    kept: Option<&Kept>,
) -> Result<ChordCluster, ManifestErrors> {
    let Some(kept) = kept else {
        let mut first = match given {
            Some(given) => given.clone(),
            None => chord_operator::crd::parse_manifest(SMALL)?,
        };
        first.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
        first.metadata.generation = Some(1);
        first.metadata.resource_version = None;
        first.metadata.managed_fields = None;
        first.status = None;
        let first = checked(first, None)?;
        return match too_few(&first) {
            None => Ok(first),
            Some(error) => Err(ManifestErrors(vec![error])),
        };
    };
    let Some(given) = given else {
        return Ok(kept.current.clone());
    };
    let current = &kept.current;
    if given.name_any() != current.name_any() {
        return Err(ManifestErrors(vec![BadSpec::new(
            "metadata.name",
            format!(
                "is {:?}, but this folder holds the data of {:?}: use another --dir, or the manifest of {1:?}",
                given.name_any(),
                current.name_any()
            ),
        )]));
    }
    let mut next = current.clone();
    next.metadata.labels = given.metadata.labels.clone();
    next.metadata.annotations = given.metadata.annotations.clone();
    next.spec = given.spec.clone();
    if let Some(before) = &kept.given {
        if before.spec.nodes == given.spec.nodes {
            next.spec.nodes = current.spec.nodes;
            let taken_out = current.spec.autoscaling.is_some() && next.spec.autoscaling.is_none();
            if taken_out && let Some(nodes) = kept.nodes {
                // What the autoscaler left stays, and is from now on what is asked for:
                // the manifest says what is, and any other number is a change.
                nodes_or_replication(&mut next, nodes);
            }
        }
        if before.spec.drained == given.spec.drained {
            next.spec.drained = current.spec.drained.clone();
        }
        let replace = |c: &ChordCluster| c.annotations().get(REPLACE_ANNOTATION).cloned();
        if replace(before) == replace(given) {
            set_replace(&mut next, replace(current));
        }
    }
    checked(next, Some(current))
}

fn nodes_or_replication(cluster: &mut ChordCluster, nodes: u32) {
    cluster.spec.nodes = nodes.max(u32::from(cluster.spec.replication));
}

/// How many nodes a cluster begins with, and how many there can be.
pub fn start_and_most(cluster: &ChordCluster) -> (u32, u32) {
    let nodes = cluster.spec.nodes;
    match &cluster.spec.autoscaling {
        // As the planner does it: the upper bound first.
        Some(auto) => (
            nodes.min(auto.max_nodes).max(auto.min_nodes),
            auto.max_nodes,
        ),
        None => (nodes, nodes),
    }
}

/// How large a cluster is, for people.
pub fn size(cluster: &ChordCluster) -> String {
    match &cluster.spec.autoscaling {
        Some(auto) => format!(
            "autoscaling, {} to {} nodes",
            auto.min_nodes, auto.max_nodes
        ),
        None => format!("{} nodes", cluster.spec.nodes),
    }
}

/// A new cluster of which so many nodes are drained that it can never be formed.
fn too_few(first: &ChordCluster) -> Option<BadSpec> {
    let (start, _) = start_and_most(first);
    let drained = first.spec.drained.iter().filter(|o| **o < start).count();
    let left = start.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX));
    (left < u32::from(first.spec.replication)).then(|| {
        BadSpec::new(
            "spec.drained",
            format!(
                "leaves {left} of {start} nodes, and {} copies need as many: drain fewer, or begin with more nodes",
                first.spec.replication
            ),
        )
    })
}

/// The drained ordinals of which there can be no node.
pub fn drained_in_vain(cluster: &ChordCluster) -> Vec<u32> {
    let (_, most) = start_and_most(cluster);
    let drained = cluster.spec.drained.iter();
    drained.copied().filter(|o| *o >= most).collect()
}

/// The manifest with another number of nodes; `present` is how many the operator
/// wants now, where that is known.
pub fn scaled(
    current: &ChordCluster,
    nodes: u32,
    present: Option<u32>,
) -> Result<ChordCluster, Problem> {
    if current.spec.autoscaling.is_some() {
        let why = "autoscaling decides how many nodes there are: change its bounds in the manifest, or take spec.autoscaling out of it";
        return Err(Problem::new(Kind::PreconditionFailed, why).with_status(StatusCode::CONFLICT));
    }
    let refused = |why: String| {
        Err(Problem::new(Kind::PreconditionFailed, why).with_status(StatusCode::CONFLICT))
    };
    if (1..u32::from(current.spec.replication)).contains(&nodes) {
        return refused(format!(
            "{} copies need as many nodes",
            current.spec.replication
        ));
    }
    if let Some(present) = present
        && current.spec.nodes == nodes
        && present != nodes
    {
        return refused(crate::target::kubernetes::not_obeyed(nodes, present));
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

fn set_replace(cluster: &mut ChordCluster, disk: Option<String>) {
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

fn invalid(errors: &ManifestErrors) -> Problem {
    Problem::new(Kind::InvalidRequest, errors.to_string().replace('\n', "; "))
}

/// The same rules that an API server applies, on a change the ones on changes too.
fn checked(
    mut next: ChordCluster,
    before: Option<&ChordCluster>,
) -> Result<ChordCluster, ManifestErrors> {
    let value = |cluster: &ChordCluster| {
        serde_json::to_value(cluster).map_err(|e| {
            ManifestErrors(vec![BadSpec::new(
                "the manifest",
                format!("cannot be written: {e}"),
            )])
        })
    };
    let old = before.map(&value).transpose()?;
    let mut errors = schema::check(&value(&next)?, old.as_ref());
    let (start, _) = start_and_most(&next);
    if start > MOST_HERE && before.is_none_or(|b| start_and_most(b).0 < start) {
        errors.push(BadSpec::new(
            "spec.nodes",
            format!("is {start}: `chord up` runs at most {MOST_HERE} nodes, all on this machine"),
        ));
    }
    if let Some(before) = before {
        if let (Ok(a), Ok(b)) = (cluster_uid(&next), cluster_uid(before))
            && a != b
        {
            errors.push(BadSpec::new(
                format!("metadata.annotations[{CLUSTER_UID_ANNOTATION}]"),
                "counts only when a cluster forms, and this one has: put it back as it was",
            ));
        }
        if next.spec != before.spec {
            next.metadata.generation = Some(before.metadata.generation.unwrap_or(0) + 1);
        }
    }
    if errors.is_empty()
        && let Err(error) = plan::Spec::try_from(&next)
    {
        errors.push(error);
    }
    if errors.is_empty() {
        Ok(next)
    } else {
        Err(ManifestErrors(errors))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use chord_operator::crd::parse_manifest;

    pub fn manifest(spec: &str) -> ChordCluster {
        named("files", spec)
    }

    fn named(name: &str, spec: &str) -> ChordCluster {
        let head = "apiVersion: chord.storage/v1alpha1\nkind: ChordCluster\n";
        parse_manifest(&format!("{head}metadata: {{name: {name}}}\nspec: {spec}\n")).unwrap()
    }

    fn first(spec: &str) -> Kept {
        let given = manifest(spec);
        Kept {
            current: decide(Some(&given), None).unwrap(),
            given: Some(given),
            nodes: None,
        }
    }

    fn refused(given: &ChordCluster, kept: &Kept) -> String {
        decide(Some(given), Some(kept)).unwrap_err().to_string()
    }

    #[test]
    fn a_first_start_gives_the_cluster_an_id_that_later_starts_keep() {
        let kept = first("{nodes: 3}");
        assert!(kept.current.metadata.uid.is_some());
        let again = decide(Some(&manifest("{nodes: 4}")), Some(&kept)).unwrap();
        assert_eq!(again.metadata.uid, kept.current.metadata.uid);
        assert_eq!(again.spec.nodes, 4);
        assert_eq!(again.metadata.generation, Some(2));
        assert_eq!(decide(None, Some(&kept)).unwrap(), kept.current);
        assert_eq!(
            decide(None, None).unwrap().spec.nodes,
            3,
            "without any manifest there are three nodes"
        );
    }

    #[test]
    fn what_is_stored_can_be_read_back() {
        let kept = first("{nodes: 4, drained: [1]}");
        let text = serde_yaml::to_string(&kept.current).unwrap();
        assert_eq!(parse_manifest(&text).unwrap(), kept.current);
    }

    #[test]
    fn what_can_never_come_true_is_refused() {
        let kept = first("{nodes: 3, storage: {size: 10Gi}}");
        assert!(refused(&named("other", "{}"), &kept).contains("other"));
        assert!(refused(&manifest("{storage: {size: 9Gi}}"), &kept).contains("storage.size"));
        assert!(refused(&manifest("{storage: {className: fast}}"), &kept).contains("className"));
        assert!(refused(&manifest("{ring: {tokensPerNode: 8}}"), &kept).contains("tokensPerNode"));
        let same_by_value = manifest("{storage: {size: 10240Mi}}");
        assert!(decide(Some(&same_by_value), Some(&kept)).is_ok());
    }

    #[test]
    fn a_change_by_hand_outlives_a_start_with_the_same_manifest() {
        let mut kept = first("{nodes: 3}");
        kept.current = scaled(&kept.current, 5, None).unwrap();
        kept.current = drained(&kept.current, 4, true).unwrap();
        let same = decide(Some(&manifest("{nodes: 3}")), Some(&kept)).unwrap();
        assert_eq!((same.spec.nodes, same.spec.drained.contains(&4)), (5, true));
        let other = decide(Some(&manifest("{nodes: 6}")), Some(&kept)).unwrap();
        assert_eq!(
            (other.spec.nodes, other.spec.drained.contains(&4)),
            (6, true)
        );
    }

    #[test]
    fn what_the_autoscaler_left_is_what_is_asked_for_once_it_is_taken_out() {
        let mut kept = first("{nodes: 4, autoscaling: {minNodes: 3, maxNodes: 5}}");
        kept.nodes = Some(3);
        let without = decide(Some(&manifest("{nodes: 4}")), Some(&kept)).unwrap();
        assert_eq!(without.spec.nodes, 3);
        let again = scaled(&without, 4, Some(3)).unwrap();
        assert_eq!(again.spec.nodes, 4, "and so four are a change");
        let other = decide(Some(&manifest("{nodes: 5}")), Some(&kept)).unwrap();
        assert_eq!(other.spec.nodes, 5, "a number that is new is obeyed");
        let as_before = scaled(&first("{nodes: 4}").current, 4, Some(3)).unwrap_err();
        assert_eq!(as_before.kind, Kind::PreconditionFailed);
        assert!(as_before.detail.contains("stay"), "{}", as_before.detail);
    }

    #[test]
    fn a_cluster_that_drains_too_many_to_be_formed_is_refused() {
        let refused = |spec: &str| decide(Some(&manifest(spec)), None).unwrap_err().to_string();
        assert!(refused("{nodes: 3, drained: [0, 1, 2]}").contains("spec.drained"));
        assert!(refused("{nodes: 3, drained: [1]}").contains("spec.drained"));
        let clamped = "{nodes: 20, drained: [0], autoscaling: {minNodes: 3, maxNodes: 3}}";
        assert!(refused(clamped).contains("leaves 2 of 3"));
        assert!(decide(Some(&manifest("{nodes: 4, drained: [1]}")), None).is_ok());
        let three = manifest("{nodes: 3, drained: [1]}");
        let kept = Kept {
            current: decide(Some(&manifest("{nodes: 4, drained: [1]}")), None).unwrap(),
            given: Some(three.clone()),
            nodes: Some(4),
        };
        let again = decide(Some(&three), Some(&kept)).unwrap();
        assert_eq!(again.spec.nodes, 4, "one that was scaled by hand goes on");
        let vain = |spec: &str| drained_in_vain(&manifest(spec));
        assert_eq!(vain("{nodes: 3, drained: [9]}"), [9]);
        assert!(
            vain("{nodes: 3, drained: [9], autoscaling: {minNodes: 3, maxNodes: 12}}").is_empty()
        );
    }

    #[test]
    fn scaling_by_hand_is_refused_while_autoscaling_decides_and_for_bad_numbers() {
        let automatic = first("{nodes: 3, autoscaling: {minNodes: 3, maxNodes: 5}}").current;
        let problem = scaled(&automatic, 4, None).unwrap_err();
        assert_eq!(
            (problem.kind, problem.status()),
            (Kind::PreconditionFailed, StatusCode::CONFLICT)
        );
        let by_hand = first("{nodes: 3}").current;
        for bad in [0, MOST_HERE + 1, 1001] {
            assert_eq!(
                scaled(&by_hand, bad, None).unwrap_err().kind,
                Kind::InvalidRequest,
                "{bad}"
            );
        }
        assert_eq!(
            scaled(&by_hand, 2, None).unwrap_err().kind,
            Kind::PreconditionFailed,
            "three copies need three nodes"
        );
        assert_eq!(
            drained(&by_hand, 1000, true).unwrap_err().kind,
            Kind::InvalidRequest
        );
        assert_eq!(
            replaced(&by_hand, "no disk", true).unwrap_err().kind,
            Kind::InvalidRequest
        );
        let disk = uuid::Uuid::new_v4().to_string();
        let given_up = replaced(&by_hand, &disk, true).unwrap();
        let other = uuid::Uuid::new_v4().to_string();
        assert_eq!(
            replaced(&given_up, &other, false).unwrap_err().kind,
            Kind::NotFound
        );
        let undone = replaced(&given_up, &disk, false).unwrap();
        assert_eq!(undone.annotations().get(REPLACE_ANNOTATION), None);
    }
}
