//! What keeps the cluster from being as it is wanted, told once it lasts: an
//! operator that waits must not wait in silence, and what passes by itself, such as
//! nodes that are just starting, is no news.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chord_operator::crd::ChordClusterStatus;
use chord_operator::local::files::EventLine;

/// How long something has to last.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long after the start nodes may still be coming up.
const STARTING: Duration = Duration::from_secs(20);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Progress(String),
    Warning(String),
}

/// What is not as it is wanted, by the condition that says so.
#[derive(Debug, Default)]
pub struct Conditions(BTreeMap<String, Lasting>);

#[derive(Debug)]
struct Lasting {
    reason: String,
    since: Instant,
    told: bool,
}

impl Conditions {
    /// Looks at the status of now; returns what has lasted and was not yet told.
    pub fn observe(&mut self, status: &ChordClusterStatus, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        let mut present = Vec::new();
        let unready = status
            .conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "False");
        for condition in &status.conditions {
            let is = condition.status == "True";
            let wrong = match condition.type_.as_str() {
                "Ready" | "StorageHealthy" => !is,
                // Ready has the same words then.
                "Degraded" => is && !unready,
                "InvalidSpec" | "ScalingLimited" | "ScaleDownBlocked" => is,
                _ => false,
            };
            if !wrong || condition.message.is_empty() {
                continue;
            }
            present.push(condition.type_.clone());
            let lasting = self
                .0
                .entry(condition.type_.clone())
                .or_insert_with(|| Lasting {
                    reason: condition.reason.clone(),
                    since: now,
                    told: false,
                });
            if lasting.reason != condition.reason {
                *lasting = Lasting {
                    reason: condition.reason.clone(),
                    since: now,
                    told: false,
                };
            }
            if !lasting.told && now.duration_since(lasting.since) >= PATIENCE {
                lasting.told = true;
                // To wait for nodes that start, or that hand on what they hold, is
                // how it goes.
                let usual =
                    condition.reason == "NotFormed" || condition.type_ == "ScaleDownBlocked";
                news.push(match usual {
                    true => News::Progress(condition.message.clone()),
                    false => News::Warning(condition.message.clone()),
                });
            }
        }
        self.0.retain(|kind, _| present.contains(kind));
        news
    }
}

/// Whether an event is no news yet: at a start no node answers at first, and then
/// all do. What does not pass, [`Conditions`] tells.
pub fn passes(event: &EventLine, running_for: Duration) -> bool {
    running_for < STARTING && matches!(event.reason.as_str(), "Degraded" | "Recovered")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(conditions: &[(&str, bool, &str, &str)]) -> ChordClusterStatus {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                serde_json::json!({
                    "type": kind, "status": if *status { "True" } else { "False" },
                    "reason": reason, "message": message,
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                })
            })
            .collect();
        ChordClusterStatus {
            conditions: serde_json::from_value(conditions.into()).unwrap(),
            ..ChordClusterStatus::default()
        }
    }

    #[test]
    fn what_lasts_is_told_once_and_again_when_it_comes_back() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut conditions = Conditions::default();
        let waits = status(&[("Ready", false, "NotFormed", "waiting for 2 of 3 nodes: a")]);
        let fewer = status(&[("Ready", false, "NotFormed", "waiting for 1 of 3 nodes: a")]);
        assert!(conditions.observe(&waits, at(0)).is_empty());
        assert!(conditions.observe(&waits, at(5)).is_empty(), "it may pass");
        assert_eq!(
            conditions.observe(&fewer, at(10)),
            [News::Progress("waiting for 1 of 3 nodes: a".into())]
        );
        assert!(conditions.observe(&waits, at(100)).is_empty());
        let well = status(&[("Ready", true, "Quorum", "all is well")]);
        assert!(conditions.observe(&well, at(101)).is_empty());
        assert!(conditions.observe(&waits, at(102)).is_empty());
        assert_eq!(conditions.observe(&waits, at(112)).len(), 1);
    }

    #[test]
    fn troubles_are_warnings_and_the_same_one_is_told_once() {
        let start = Instant::now();
        let mut conditions = Conditions::default();
        let trouble = status(&[
            ("Ready", false, "NoQuorum", "too few copies answer"),
            ("Degraded", true, "NodeSilent", "files-1 does not answer"),
            ("InvalidSpec", true, "Refused", "nodes: must be a number"),
            ("Progressing", false, "AsExpected", ""),
            ("Paused", true, "Paused", "spec.paused is set"),
        ]);
        conditions.observe(&trouble, start);
        let told = conditions.observe(&trouble, start + PATIENCE);
        let warning = |text: &str| News::Warning(text.into());
        assert_eq!(
            told,
            [
                warning("too few copies answer"),
                warning("nodes: must be a number")
            ]
        );
    }

    #[test]
    fn nodes_that_are_still_starting_are_no_news() {
        let event = |reason: &str| EventLine {
            at: "2026-01-02T03:04:05Z".into(),
            kind: "Warning".into(),
            reason: reason.into(),
            message: "m".into(),
        };
        assert!(passes(&event("Degraded"), Duration::from_secs(3)));
        assert!(!passes(&event("Degraded"), STARTING));
        assert!(!passes(&event("RoundFailed"), Duration::from_secs(3)));
    }
}
