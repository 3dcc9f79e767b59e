//! The manifest that a folder runs: what was given, what was kept from the last
//! start, and what was changed by hand in between.
//!
//! All of it is plain functions of manifests; the folder stores what they decide.

use chord_api::problem::{Kind, Problem};
use chord_operator::crd::to_plan::cluster_uid;
use chord_operator::crd::{
    BadSpec, CLUSTER_UID_ANNOTATION, ChordCluster, ManifestErrors, REPLACE_ANNOTATION, schema,
};
use chord_operator::plan;
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
}

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
        return checked(first, None);
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

/// The manifest with another number of nodes.
pub fn scaled(current: &ChordCluster, nodes: u32) -> Result<ChordCluster, Problem> {
    if current.spec.autoscaling.is_some() {
        let why = "autoscaling decides how many nodes there are: change its bounds in the manifest, or take spec.autoscaling out of it";
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

/// The manifest with a disk given up.
pub fn replaced(current: &ChordCluster, disk: &str) -> Result<ChordCluster, Problem> {
    let mut next = current.clone();
    set_replace(&mut next, Some(disk.to_string()));
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
        let kept = first("{nodes: 3, drained: [1]}");
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
        kept.current = scaled(&kept.current, 5).unwrap();
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
    fn scaling_by_hand_is_refused_while_autoscaling_decides_and_for_bad_numbers() {
        let automatic = first("{nodes: 3, autoscaling: {minNodes: 3, maxNodes: 5}}").current;
        let problem = scaled(&automatic, 4).unwrap_err();
        assert_eq!(
            (problem.kind, problem.status()),
            (Kind::PreconditionFailed, StatusCode::CONFLICT)
        );
        let by_hand = first("{nodes: 3}").current;
        for bad in [0, 2, 1001] {
            assert_eq!(
                scaled(&by_hand, bad).unwrap_err().kind,
                Kind::InvalidRequest,
                "{bad}"
            );
        }
        assert_eq!(
            drained(&by_hand, 1000, true).unwrap_err().kind,
            Kind::InvalidRequest
        );
        assert_eq!(
            replaced(&by_hand, "no disk").unwrap_err().kind,
            Kind::InvalidRequest
        );
        let disk = uuid::Uuid::new_v4().to_string();
        assert!(replaced(&by_hand, &disk).is_ok());
    }
}
