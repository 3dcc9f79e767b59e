//! What kind of failure ended a step: it decides what people are told, and when the
//! step is tried again.

use crate::crd::status::ConditionNow;

/// What happens so often in a row does not pass by itself.
const PASSES: u32 = 3;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object of a name that the cluster needs belongs to somebody else.
    NameConflict,
    /// The resource cannot be obeyed.
    InvalidSpec,
    /// Something takes its time; the next round looks again.
    Waiting,
    /// Something that must not be: nothing is done rather than the wrong thing.
    Refused,
    /// The API server refused a request, with this HTTP status.
    Rejected(u16),
    /// The API server did not answer, or not as it should.
    Unreachable,
    /// Something that cannot happen unless this program, or its machine, is broken.
    Internal,
}

impl Kind {
    /// The condition that tells of it; `None` where it passes by itself. `failures`:
    /// how many rounds in a row have ended early before.
    pub fn condition(self, message: String, failures: u32) -> Option<ConditionNow> {
        let (kind, reason) = match self {
            Kind::NameConflict => ("NameConflict", "NameConflict"),
            Kind::InvalidSpec => ("InvalidSpec", "InvalidSpec"),
            // What is waited for is no fault.
            Kind::Waiting => ("Progressing", "Waiting"),
            Kind::Refused => ("ApplyFailed", "Refused"),
            Kind::Internal => ("ApplyFailed", "Internal"),
            // Somebody was faster, or there is too much to do.
            Kind::Rejected(409 | 429) if failures < PASSES => return None,
            Kind::Rejected(400..=499) => ("ApplyFailed", "Rejected"),
            Kind::Rejected(_) | Kind::Unreachable if failures < PASSES => return None,
            Kind::Rejected(_) | Kind::Unreachable => ("ApplyFailed", "NotReached"),
        };
        Some(ConditionNow {
            kind: kind.into(),
            status: true,
            reason: reason.into(),
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pass_by_itself_is_told_at_once() {
        let told = |kind: Kind, failures| {
            let condition = kind.condition("why".into(), failures);
            condition.map(|c| (c.kind, c.reason))
        };
        let failed = |reason: &str| Some(("ApplyFailed".to_string(), reason.to_string()));
        assert_eq!(told(Kind::Rejected(422), 0), failed("Rejected"));
        assert_eq!(told(Kind::Rejected(403), 0), failed("Rejected"));
        assert_eq!(told(Kind::Refused, 0), failed("Refused"));
        assert_eq!(told(Kind::Internal, 0), failed("Internal"));
        assert_eq!(told(Kind::Rejected(409), 0), None);
        assert_eq!(told(Kind::Rejected(503), 0), None);
        assert_eq!(told(Kind::Unreachable, 0), None);
        assert_eq!(told(Kind::Rejected(500), PASSES), failed("NotReached"));
        assert_eq!(told(Kind::Unreachable, PASSES), failed("NotReached"));
        let waiting = told(Kind::Waiting, 0).map(|(kind, _)| kind);
        assert_eq!(waiting.as_deref(), Some("Progressing"));
    }
}
