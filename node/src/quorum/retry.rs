//! How long an operation on a register keeps trying, and how it waits between two
//! tries: the one policy of all that asks a quorum. It is not one of `chord_api::retry`,
//! since its pauses are part of the protocol and its chance comes from the node's seam.

use std::time::Duration;

use tokio::time::Instant;

use crate::world::Random;

/// How long an operation keeps trying.
pub const OPERATION_LIMIT: Duration = Duration::from_secs(15);
/// How long a read keeps trying to find a quorum.
pub const READ_LIMIT: Duration = Duration::from_secs(10);
/// The longest first wait, in milliseconds; each further one may be twice as long...
const FIRST_MS: u64 = 10;
/// ...so many times.
const DOUBLINGS: u32 = 6;

/// The tries of one operation.
pub struct Tries {
    random: Random,
    end: Instant,
    made: u32,
}

impl Tries {
    /// Tries from now on, for so long.
    pub fn for_at_most(limit: Duration, random: &Random) -> Tries {
        Tries {
            random: random.clone(),
            end: Instant::now() + limit,
            made: 0,
        }
    }

    /// When no further try begins.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Whether there is no time for another.
    pub fn are_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Waits a little longer with every try, never in step with others; `false`:
    /// there is no time for another.
    pub async fn again(&mut self) -> bool {
        if self.are_over() {
            return false;
        }
        let most = FIRST_MS << self.made.min(DOUBLINGS);
        self.made += 1;
        tokio::time::sleep(Duration::from_millis(self.random.up_to(most))).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_grow_rarer_and_end() {
        let began = Instant::now();
        let mut tries = Tries::for_at_most(OPERATION_LIMIT, &Random::seeded(1));
        let mut made = 0;
        while tries.again().await {
            made += 1;
        }
        assert!(tries.are_over() && began.elapsed() < OPERATION_LIMIT + Duration::from_secs(1));
        assert!((24..200).contains(&made), "{made} tries");
    }
}
