//! Which manifest runs, and which changes are refused.

use chord_api::problem::Kind;
use chord_operator::crd::parse_cluster_manifest;
use http::StatusCode;

use super::changes::{drained, replaced, scaled};
use super::check::MOST_HERE;
use super::fixtures::{manifest, named};
use super::sizes::drained_in_vain;
use super::*;

fn first(spec: &str) -> KeptManifests {
    let given = manifest(spec);
    KeptManifests {
        current: decide(Some(&given), None).unwrap(),
        given: Some(given),
        nodes: None,
    }
}

fn refused(given: &ChordCluster, kept: &KeptManifests) -> String {
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
    assert_eq!(parse_cluster_manifest(&text).unwrap(), kept.current);
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
    let kept = KeptManifests {
        current: decide(Some(&manifest("{nodes: 4, drained: [1]}")), None).unwrap(),
        given: Some(three.clone()),
        nodes: Some(4),
    };
    let again = decide(Some(&three), Some(&kept)).unwrap();
    assert_eq!(again.spec.nodes, 4, "one that was scaled by hand goes on");
    let vain = |spec: &str| drained_in_vain(&manifest(spec));
    assert_eq!(vain("{nodes: 3, drained: [9]}"), [9]);
    assert!(vain("{nodes: 3, drained: [9], autoscaling: {minNodes: 3, maxNodes: 12}}").is_empty());
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
