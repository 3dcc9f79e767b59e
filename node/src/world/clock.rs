//! The wall clock, for what people see and for ages of entries that others read.
//!
//! Waits and intervals go by [`tokio::time::Instant`] everywhere, and not by the
//! standard library's, so that a paused runtime has virtual time.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// This machine's.
    #[default]
    System,
    /// One that goes with the runtime's time, and so stands while that is paused.
    Simulated {
        /// Milliseconds since the Unix epoch at `at`.
        start_ms: u64,
        /// When it was `start_ms`.
        at: Instant,
    },
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_millis() as u64),
            Clock::Simulated { start_ms, at } => start_ms + at.elapsed().as_millis() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_goes_with_the_runtime() {
        let clock = Clock::Simulated {
            start_ms: 1_000,
            at: Instant::now(),
        };
        assert_eq!(clock.now_ms(), 1_000);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now_ms(), 3_601_000);
    }
}
