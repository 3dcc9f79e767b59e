//! The preconditions of RFC 9110, section 13, as plain values.
//!
//! They are parsed once from the headers and evaluated where the decision is
//! made: on the register's value for PUT and DELETE, so that they are exact, and
//! on the value that a read found for GET and HEAD.

use serde::{Deserialize, Serialize};

/// A list of entity tags, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tags {
    /// `*`: any current version.
    Any,
    /// These tags.
    List(Vec<Tag>),
}

/// An entity tag without its quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Whether it began with `W/`.
    pub weak: bool,
    /// What stood between the quotes.
    pub value: String,
}

/// All four preconditions of a request. Dates are in seconds since the Unix
/// epoch; a date that could not be parsed has been dropped, as the RFC says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `If-Match`.
    pub if_match: Option<Tags>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<u64>,
    /// `If-None-Match`.
    pub if_none_match: Option<Tags>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<u64>,
    /// Ours, of no header: the register's version must be this one. Deletions
    /// count in it, so that it never comes back.
    #[serde(default)]
    pub version: Option<u64>,
}

/// What the preconditions say of the current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They hold, or there are none.
    Proceed,
    /// 412.
    Failed,
    /// 304, for GET and HEAD only.
    NotModified,
}

impl Condition {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Condition::default()
    }

    /// Evaluates in the order of section 13.2.2. `current` is the entity tag
    /// (ours are all strong) and modification time in seconds of the current
    /// version; `safe` is true for GET and HEAD.
    pub fn evaluate(&self, current: Option<(&str, u64)>, safe: bool) -> Verdict {
        if let Some(tags) = &self.if_match {
            let matches = match (tags, current) {
                (_, None) => false,
                (Tags::Any, Some(_)) => true,
                (Tags::List(list), Some((etag, _))) => {
                    list.iter().any(|t| !t.weak && t.value == etag)
                }
            };
            if !matches {
                return Verdict::Failed;
            }
        } else if let (Some(limit), Some((_, modified))) = (self.if_unmodified_since, current)
            && modified > limit
        {
            return Verdict::Failed;
        }
        if let Some(tags) = &self.if_none_match {
            let matches = match (tags, current) {
                (_, None) => false,
                (Tags::Any, Some(_)) => true,
                (Tags::List(list), Some((etag, _))) => list.iter().any(|t| t.value == etag),
            };
            if matches {
                return if safe {
                    Verdict::NotModified
                } else {
                    Verdict::Failed
                };
            }
        } else if let (true, Some(limit), Some((_, modified))) =
            (safe, self.if_modified_since, current)
            && modified <= limit
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: &str) -> Tags {
        Tags::List(vec![Tag {
            weak: false,
            value: value.into(),
        }])
    }

    #[test]
    fn the_order_of_section_13_2_2() {
        let current = Some(("a", 100));
        let both = Condition {
            if_match: Some(tag("a")),
            if_unmodified_since: Some(1),
            ..Default::default()
        };
        assert_eq!(
            both.evaluate(current, false),
            Verdict::Proceed,
            "If-Match hides If-Unmodified-Since"
        );
        let none = Condition {
            if_none_match: Some(tag("b")),
            if_modified_since: Some(100),
            ..Default::default()
        };
        assert_eq!(
            none.evaluate(current, true),
            Verdict::Proceed,
            "If-None-Match hides If-Modified-Since"
        );
        let cached = Condition {
            if_none_match: Some(tag("a")),
            ..Default::default()
        };
        assert_eq!(cached.evaluate(current, true), Verdict::NotModified);
        assert_eq!(cached.evaluate(current, false), Verdict::Failed);
        let create = Condition {
            if_none_match: Some(Tags::Any),
            ..Default::default()
        };
        assert_eq!(create.evaluate(None, false), Verdict::Proceed);
        assert_eq!(create.evaluate(current, false), Verdict::Failed);
    }

    #[test]
    fn if_match_without_a_current_version_fails_and_is_strong() {
        let any = Condition {
            if_match: Some(Tags::Any),
            ..Default::default()
        };
        assert_eq!(any.evaluate(None, false), Verdict::Failed);
        let weak = Condition {
            if_match: Some(Tags::List(vec![Tag {
                weak: true,
                value: "a".into(),
            }])),
            ..Default::default()
        };
        assert_eq!(weak.evaluate(Some(("a", 1)), false), Verdict::Failed);
    }
}
