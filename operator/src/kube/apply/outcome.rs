//! What became of the steps that are carried out: each is tried, and the first failure
//! is kept.

use super::Error;
use crate::crd::status::ConditionNow;
use crate::kube::failure::Kind;
use chord_api::causes;

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One of a kind.
    pub conditions: Vec<ConditionNow>,
    /// The first thing that could not be done.
    pub failed: Option<Error>,
}

impl Outcome {
    /// Notes what went wrong: somebody else's object as a condition, anything else as
    /// the failure.
    pub fn note<T, E: Into<Error>>(&mut self, result: Result<T, E>) -> Option<T> {
        let error: Error = match result {
            Ok(done) => return Some(done),
            Err(error) => error.into(),
        };
        match error.kind() {
            kind @ Kind::NameConflict => {
                if let Some(conflict) = kind.condition(causes::words(&error), 0) {
                    self.add(conflict);
                }
            }
            _ => {
                self.failed.get_or_insert(error);
            }
        }
        None
    }

    /// Adds a condition, unless there is one of that kind.
    pub fn add(&mut self, condition: ConditionNow) {
        if self.conditions.iter().all(|c| c.kind != condition.kind) {
            self.conditions.push(condition);
        }
    }

    /// Whether nothing has gone wrong.
    pub fn is_well(&self) -> bool {
        self.conditions.is_empty() && self.failed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::api;

    #[test]
    fn what_goes_wrong_first_is_the_failure_and_conflicts_are_told() {
        let conflict = |name: &str| api::Error::NameConflict {
            kind: "Service".into(),
            name: name.into(),
        };
        let mut outcome = Outcome::default();
        assert_eq!(outcome.note::<_, Error>(Ok(7)), Some(7));
        assert!(outcome.is_well());
        outcome.note::<(), _>(Err(conflict("files")));
        outcome.note::<(), _>(Err(Error::SetOwnsClaims));
        outcome.note::<(), _>(Err(Error::SetMadeAnew));
        outcome.note::<(), _>(Err(conflict("files-nodes")));
        assert!(matches!(outcome.failed, Some(Error::SetOwnsClaims)));
        let told: Vec<_> = outcome.conditions.iter().map(|c| c.kind.as_str()).collect();
        assert_eq!(told, ["NameConflict"], "one of a kind");
        assert!(outcome.conditions[0].message.contains("Service files "));
    }
}
