//! File descriptors: how many this process may have, and what to do without one.
//!
//! Every connection, every file and every child takes some. A process that accepts
//! more connections than its limit allows has none left for its files, and finds out
//! in the middle of something else. So the limit is raised as far as it goes at the
//! start, and whoever listens takes a share of it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most that is planned with; a system that sets no limit has one all the same.
const AT_MOST: u64 = 1 << 20;

/// What systems take that set no hard limit and refuse to be asked for everything
/// (`OPEN_MAX` of macOS).
const WITHOUT_LIMIT: u64 = 10_240;

/// How many file descriptors this process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors(u64);

impl Descriptors {
    /// Raises the soft limit to the hard one, as far as the system lets it. To be
    /// called first of all: children inherit what holds then.
    pub fn raise() -> Descriptors {
        let hard = getrlimit(Resource::Nofile).maximum;
        let tries = [hard, Some(WITHOUT_LIMIT.min(hard.unwrap_or(u64::MAX)))];
        for wanted in tries {
            let soft = getrlimit(Resource::Nofile).current;
            let enough = match (soft, wanted) {
                (None, _) => true,
                (Some(soft), Some(wanted)) => soft >= wanted,
                (Some(_), None) => false,
            };
            let raised = Rlimit {
                current: wanted,
                maximum: hard,
            };
            if enough || setrlimit(Resource::Nofile, raised).is_ok() {
                break;
            }
        }
        Descriptors::now()
    }

    /// As many as the limit says at present.
    pub fn now() -> Descriptors {
        let soft = getrlimit(Resource::Nofile).current;
        Descriptors(soft.unwrap_or(AT_MOST).min(AT_MOST))
    }

    /// How many connections a listener may have that gets `percent` of all
    /// descriptors, where each of its connections takes `each` of them: `most` at
    /// most, and one at least.
    pub fn connections(self, percent: u64, each: u64, most: usize) -> usize {
        let fit = self.0 * percent / 100 / each.max(1);
        usize::try_from(fit).unwrap_or(most).clamp(1, most.max(1))
    }
}

/// Whether an error says that there is no file descriptor left, here or in the whole
/// system. It says nothing about the file or the peer that was asked for, and passes.
pub fn exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// The same of an error that has its reason within, as those of HTTP clients do.
pub fn caused_by_exhaustion(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let shared = error.downcast_ref::<Arc<io::Error>>().map(|e| &**e);
        let plain = error.downcast_ref::<io::Error>();
        if plain.or(shared).is_some_and(exhausted) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_their_share_and_never_none() {
        let with = |limit| Descriptors(limit);
        assert_eq!(with(1024).connections(25, 1, 4096), 256);
        assert_eq!(with(1024).connections(80, 2, 1024), 409);
        assert_eq!(with(1 << 20).connections(25, 1, 4096), 4096);
        assert_eq!(with(2).connections(25, 1, 4096), 1);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = Descriptors::raise();
        let limits = getrlimit(Resource::Nofile);
        if let (Some(soft), Some(hard)) = (limits.current, limits.maximum) {
            assert!(soft == hard || soft >= WITHOUT_LIMIT, "{limits:?}");
        }
        assert_eq!(raised, Descriptors::now());
    }

    #[test]
    fn want_of_descriptors_is_found_within_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("connecting")]
        struct Outer(#[source] io::Error);
        let of = |errno: Errno| io::Error::from(errno);
        assert!(caused_by_exhaustion(&Outer(of(Errno::MFILE))));
        assert!(caused_by_exhaustion(&of(Errno::NFILE)));
        assert!(!caused_by_exhaustion(&Outer(of(Errno::CONNREFUSED))));
    }
}
