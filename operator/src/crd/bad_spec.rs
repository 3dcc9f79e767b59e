//! What is wrong with a field of a resource.

/// What is wrong with a resource, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadSpec {
    /// The field, such as `spec.nodes`.
    pub path: String,
    /// What is wrong with it and what to do.
    pub problem: String,
}

impl BadSpec {
    /// Something wrong at a path.
    pub fn new(path: impl Into<String>, problem: impl ToString) -> BadSpec {
        BadSpec {
            path: path.into(),
            problem: problem.to_string(),
        }
    }
}
