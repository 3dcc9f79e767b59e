//! The time, as it comes in: the shells take it from here and from nowhere else, so
//! that a test can say what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chord_planner::plan::Millis;

/// Tells the time. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        begun: Instant,
    },
    #[cfg(test)]
    ByHand(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock(Source::System {
            begun: Instant::now(),
        })
    }

    /// A clock that stands until it is put forward.
    #[cfg(test)]
    pub fn by_hand() -> Clock {
        Clock(Source::ByHand(Default::default()))
    }

    /// Puts a clock that is moved by hand forward.
    #[cfg(test)]
    pub fn forward(&self, by: Duration) {
        if let Source::ByHand(millis) = &self.0 {
            let by = u64::try_from(by.as_millis()).unwrap();
            millis.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// The time of day: what is written down and shown. It may be set back.
    pub fn now(&self) -> Millis {
        let since_epoch = match &self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            #[cfg(test)]
            Source::ByHand(_) => self.uptime(),
        };
        Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long the clock has run: for measuring. It never goes back.
    pub fn uptime(&self) -> Duration {
        match &self.0 {
            Source::System { begun } => begun.elapsed(),
            #[cfg(test)]
            Source::ByHand(millis) => {
                Duration::from_millis(millis.load(std::sync::atomic::Ordering::Relaxed))
            }
        }
    }

    /// How long ago it was, that uptime.
    pub fn since(&self, uptime: Duration) -> Duration {
        self.uptime().saturating_sub(uptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_moved_by_hand_stands_until_then() {
        let clock = Clock::by_hand();
        let begun = clock.uptime();
        assert_eq!(clock.since(begun), Duration::ZERO);
        clock.clone().forward(Duration::from_millis(1_500));
        assert_eq!(clock.since(begun), Duration::from_millis(1_500));
        assert_eq!(clock.now(), Millis(1_500));
    }
}
