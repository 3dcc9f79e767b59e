//! How the simulated network treats what is sent over it.

use rand::Rng;
use rand::rngs::StdRng;

/// How the network behaves. Times in milliseconds, shares from 0 to 1.
#[derive(Clone, Debug)]
pub struct Network {
    /// One way; drawn anew for every batch, so that batches overtake each other.
    pub latency: std::ops::Range<u64>,
    /// Share of requests, and of responses, that get lost.
    pub loss: f64,
    /// Share that arrives twice.
    pub doubled: f64,
    /// Share that takes longer than the sender waits.
    pub late: f64,
    /// After this long a sender takes a request for failed.
    pub patience: u64,
}

impl Network {
    /// Delays and reorders, and that is all.
    pub fn calm() -> Network {
        Network {
            latency: 1..20,
            loss: 0.0,
            doubled: 0.0,
            late: 0.0,
            patience: 2_000,
        }
    }

    /// Loses, doubles and holds back.
    pub fn rough() -> Network {
        Network {
            latency: 1..200,
            loss: 0.1,
            doubled: 0.1,
            late: 0.05,
            patience: 2_000,
        }
    }

    /// As the Chord paper has it: 50 ms one way in the mean, and a sender that
    /// gives up after half a second.
    pub fn wide() -> Network {
        Network {
            latency: 10..91,
            patience: 500,
            ..Network::calm()
        }
    }

    /// When the copies of one batch arrive, counted from now; none: it is lost.
    pub(super) fn arrivals(&self, random: &mut StdRng) -> impl Iterator<Item = u64> + use<> {
        let mut copies = [None, None];
        let count = 1 + usize::from(random.random_bool(share(self.doubled)));
        for copy in copies.iter_mut().take(count) {
            let late = random.random_bool(share(self.late));
            let lost = random.random_bool(share(self.loss));
            let latency = self.latency.start..self.latency.end.max(self.latency.start + 1);
            let delay = random.random_range(latency) + if late { self.patience } else { 0 };
            *copy = (!lost).then_some(delay);
        }
        copies.into_iter().flatten()
    }
}

fn share(of: f64) -> f64 {
    of.clamp(0.0, 1.0)
}
