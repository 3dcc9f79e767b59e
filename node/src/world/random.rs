//! Chance: how long an operation backs off, and the names of uploads. Neither is a
//! secret; secrets and identities of disks come from elsewhere.

use std::sync::Arc;

use chord_types::UploadId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where chance comes from.
#[derive(Clone, Debug, Default)]
pub enum Random {
    /// The operating system.
    #[default]
    System,
    /// A fixed seed: the same every time. (No lock of tokio's: nothing is awaited
    /// while it is held.)
    Seeded(Arc<Mutex<StdRng>>),
}

impl Random {
    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Random {
        Random::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number from 1 to `most`; 1 where that is less.
    pub fn up_to(&self, most: u64) -> u64 {
        let range = 1..=most.max(1);
        match self {
            // Fresh each time: two writers must not stay in step.
            Random::System => rand::random_range(range),
            Random::Seeded(seeded) => seeded.lock().random_range(range),
        }
    }

    /// The id of a new upload, which nobody has.
    pub fn upload_id(&self) -> UploadId {
        match self {
            Random::System => UploadId::random(),
            Random::Seeded(seeded) => UploadId::from_bytes(seeded.lock().random()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |random: Random| (random.upload_id(), [9; 20].map(|most| random.up_to(most)));
        assert_eq!(draw(Random::seeded(7)), draw(Random::seeded(7)));
        assert_ne!(draw(Random::seeded(7)), draw(Random::seeded(8)));
        assert!(draw(Random::System).1.iter().all(|n| (1..=9).contains(n)));
        assert_eq!(Random::System.up_to(0), 1);
    }
}
