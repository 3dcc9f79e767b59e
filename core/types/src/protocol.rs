//! The version of what nodes say to each other, and what the operator says to nodes.
//!
//! One number for all of it. A program speaks its own version and the one before, so
//! that a cluster can be brought to a new release node by node. Every request names
//! the version that it is written in, every answer which versions its node speaks
//! (docs/architecture.md, "Versions").

use std::fmt;

use serde::{Deserialize, Serialize};

/// The HTTP header of a request that names the version it is written in. A request
/// without it is of version 1: release 0.1.0 sends none, and ignores it.
pub const WRITTEN_IN: &str = "x-chord-protocol";

/// The HTTP header of an answer that names the versions its node speaks, `1-2`. An
/// answer without it comes from a node of release 0.1.0, which speaks 1.
pub const SPEAKS: &str = "x-chord-speaks";

/// One version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProtocolVersion(pub u16);

impl ProtocolVersion {
    /// What release 0.1.0 speaks.
    pub const FIRST: ProtocolVersion = ProtocolVersion(1);
    /// The first in which a request names its version, and in which "not understood"
    /// is an answer of its own. Values may have fields that 0.1.0 did not know.
    pub const NAMED: ProtocolVersion = ProtocolVersion(2);

    /// The version that the header [`WRITTEN_IN`] names; without it, 1. `None`: it
    /// names none.
    pub fn of_header(value: Option<&[u8]>) -> Option<ProtocolVersion> {
        let Some(value) = value else {
            return Some(ProtocolVersion::FIRST);
        };
        number(std::str::from_utf8(value).ok()?)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn number(text: &str) -> Option<ProtocolVersion> {
    // `parse` would also take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok().map(ProtocolVersion))?
}

/// The versions that a program speaks, from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Speaks {
    /// The oldest version that it reads.
    pub oldest: ProtocolVersion,
    /// The newest version that it reads and writes.
    pub newest: ProtocolVersion,
}

impl Speaks {
    /// What this program speaks.
    pub const OURS: Speaks = Speaks {
        oldest: ProtocolVersion::FIRST,
        newest: ProtocolVersion::NAMED,
    };

    /// What release 0.1.0 speaks, which does not say so.
    pub const UNTOLD: Speaks = Speaks {
        oldest: ProtocolVersion::FIRST,
        newest: ProtocolVersion::FIRST,
    };

    /// Whether a version is one of these.
    pub fn has(&self, version: ProtocolVersion) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest version that both speak; `None` where there is none.
    pub fn common(&self, other: &Speaks) -> Option<ProtocolVersion> {
        let newest = self.newest.min(other.newest);
        (self.has(newest) && other.has(newest)).then_some(newest)
    }

    /// The version to write in to somebody who speaks these; of a receiver of whom
    /// nothing is known, the oldest of ours, which the release before understands.
    /// With nothing in common the receiver will refuse it, and say what it speaks now.
    pub fn to_write(theirs: Option<Speaks>) -> ProtocolVersion {
        theirs
            .and_then(|theirs| Speaks::OURS.common(&theirs))
            .unwrap_or(Speaks::OURS.oldest)
    }

    /// What the header [`SPEAKS`] says; `None` where it is not there, or says nothing.
    pub fn of_header(value: Option<&[u8]>) -> Option<Speaks> {
        let (oldest, newest) = std::str::from_utf8(value?).ok()?.split_once('-')?;
        let (oldest, newest) = (number(oldest)?, number(newest)?);
        (oldest <= newest).then_some(Speaks { oldest, newest })
    }

    /// As the header [`SPEAKS`] has it.
    pub fn to_header(&self) -> String {
        format!("{}-{}", self.oldest, self.newest)
    }

    /// Which of two programs has to be brought to another release so that they
    /// understand each other, in words; `None` where they have a version in common.
    pub fn apart(&self, who: &str, theirs: &Speaks, them: &str) -> Option<String> {
        if self.common(theirs).is_some() {
            return None;
        }
        let (old, new) = match theirs.newest < self.oldest {
            true => (them, who),
            false => (who, them),
        };
        Some(format!(
            "{them} speaks version {theirs} of the protocol, {who} {self}: upgrade {old} to the release of {new}, or to one between"
        ))
    }
}

impl Default for Speaks {
    /// What is taken of a program that does not say: it is of release 0.1.0.
    fn default() -> Speaks {
        Speaks::UNTOLD
    }
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "{}", self.newest),
            false => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(oldest: u16, newest: u16) -> Speaks {
        Speaks {
            oldest: ProtocolVersion(oldest),
            newest: ProtocolVersion(newest),
        }
    }

    #[test]
    fn a_program_speaks_its_version_and_the_one_before() {
        let ours = Speaks::OURS;
        assert_eq!(ours.newest.0, ours.oldest.0 + 1);
        assert_eq!(Speaks::to_write(None), ours.oldest);
        assert_eq!(Speaks::to_write(Some(ours)), ours.newest);
    }

    #[test]
    fn the_newest_that_both_speak_is_written() {
        let common = |a: Speaks, b: Speaks| a.common(&b).map(|v| v.0);
        assert_eq!(common(speaks(1, 2), speaks(1, 1)), Some(1));
        assert_eq!(common(speaks(1, 2), speaks(2, 3)), Some(2));
        assert_eq!(common(speaks(2, 3), speaks(1, 2)), Some(2));
        assert_eq!(common(speaks(1, 2), speaks(3, 4)), None);
        assert_eq!(common(speaks(3, 4), speaks(1, 2)), None);
    }

    #[test]
    fn headers_say_it_in_one_way() {
        let read = |text: &str| Speaks::of_header(Some(text.as_bytes()));
        assert_eq!(read("1-2"), Some(speaks(1, 2)));
        assert_eq!(read(&speaks(7, 12).to_header()), Some(speaks(7, 12)));
        for bad in [
            "", "1", "2-1", "-", "1-", "+1-2", "1-2-3", "1 - 2", "1-70000",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(Speaks::of_header(None), None);
        let version = |text: &str| ProtocolVersion::of_header(Some(text.as_bytes()));
        assert_eq!(
            ProtocolVersion::of_header(None),
            Some(ProtocolVersion::FIRST)
        );
        assert_eq!(version("2"), Some(ProtocolVersion(2)));
        for bad in ["", "two", "+2", "2 ", "70000"] {
            assert_eq!(version(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_is_too_old_is_named() {
        let apart = |a: Speaks, b: Speaks| a.apart("this node", &b, "node 3");
        assert_eq!(apart(speaks(1, 2), speaks(2, 3)), None);
        let ours_is_old = apart(speaks(1, 2), speaks(3, 4)).unwrap();
        assert!(
            ours_is_old.contains("upgrade this node to"),
            "{ours_is_old}"
        );
        let theirs_is_old = apart(speaks(3, 4), speaks(1, 2)).unwrap();
        assert!(
            theirs_is_old.contains("upgrade node 3 to"),
            "{theirs_is_old}"
        );
        assert!(theirs_is_old.contains("version 1 to 2"), "{theirs_is_old}");
    }
}
