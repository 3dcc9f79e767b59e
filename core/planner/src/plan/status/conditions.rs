//! The conditions, one by one.

use super::findings::Findings;
use crate::plan::cluster::Cluster;
use crate::plan::input::Spec;
use crate::plan::output::{Condition, Phase, StorageStatus};
use crate::plan::view::note::Topic;

/// From here on a disk is nearly full, in percent.
const NEARLY_FULL: u32 = 90;

/// A condition.
pub fn condition(
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        kind,
        status,
        reason,
        message: message.into(),
    }
}

/// A condition about which there is something to be said only where `message` is not
/// empty.
fn limit(kind: &'static str, reason: &'static str, message: String) -> Condition {
    let there = !message.is_empty();
    let reason = if there { reason } else { "AsExpected" };
    condition(kind, there, reason, message)
}

/// `Paused`.
pub fn paused(spec: &Spec) -> Condition {
    match spec.paused {
        true => condition(
            "Paused",
            true,
            "Paused",
            "spec.paused is set: nothing is changed",
        ),
        false => condition("Paused", false, "AsExpected", ""),
    }
}

/// That a disk is nearly full, in words; empty: none is.
pub fn nearly_full(cluster: &Cluster, storage: &StorageStatus) -> Option<String> {
    if storage.fullest_percent < NEARLY_FULL {
        return None;
    }
    let words = |node| {
        format!(
            "{} is {} % full",
            cluster.name(node),
            storage.fullest_percent
        )
    };
    Some(storage.fullest_node.map(words).unwrap_or_default())
}

/// `Ready`. `why`: what is wrong with members.
pub fn ready(quorum: bool, full: Option<&str>, lacking: &str, why: &str) -> Condition {
    let message = match (quorum, full) {
        (true, None) if !lacking.is_empty() => {
            format!("files can be read and written as far as their copies are there; {lacking}")
        }
        (true, None) => "every file can be read and written".to_string(),
        (true, Some(full)) => {
            format!("every file can be read; writes may be refused, since {full}")
        }
        (false, _) => format!("some files have too few copies that answer: {why}"),
    };
    let reason = if quorum { "Quorum" } else { "NoQuorum" };
    condition("Ready", quorum, reason, message)
}

/// `Progressing`.
pub fn progressing(cluster: &Cluster, phase: Phase, found: &Findings) -> Condition {
    let changing = cluster.is_joint() || matches!(phase, Phase::ScalingOut | Phase::ScalingIn);
    match (changing, &found.rolling) {
        (true, _) => {
            let progress = found.progress.clone().unwrap_or_default();
            condition("Progressing", true, "Changing", progress)
        }
        (false, Some(rolling)) => condition("Progressing", true, "Restarting", rolling.clone()),
        (false, None) => condition("Progressing", false, "AsExpected", ""),
    }
}

/// `StorageHealthy`.
pub fn storage_healthy(full: Option<&str>, lacking: &str) -> Condition {
    match (full, lacking) {
        (Some(full), _) => condition("StorageHealthy", false, "DiskNearlyFull", full),
        (None, "") => condition("StorageHealthy", true, "AsExpected", ""),
        (None, lacking) => condition("StorageHealthy", false, "CopiesMissing", lacking),
    }
}

/// `ScalingLimited`.
pub fn scaling_limited(found: &Findings) -> Condition {
    let notes = found.texts(&[Topic::Join, Topic::Size, Topic::Replication]);
    let limited = found.limited.clone().unwrap_or_default();
    let texts = [limited, notes].into_iter().filter(|t| !t.is_empty());
    let message = texts.collect::<Vec<_>>().join("; ");
    limit("ScalingLimited", "Limited", message)
}

/// `ScaleDownBlocked`.
pub fn scale_down_blocked(found: &Findings) -> Condition {
    let mut message = found.texts(&[Topic::Leave]);
    if message.is_empty() {
        message = found.staying.join("; ");
    }
    limit("ScaleDownBlocked", "Blocked", message)
}
