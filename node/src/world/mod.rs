//! Where the outside comes in: time, chance and tasks. A simulator puts its own in
//! their place; the disk and the network have seams of their own
//! ([`crate::store`], [`crate::peer::Transport`]).

pub mod clock;
pub mod random;
pub mod tasks;

pub use clock::Clock;
pub use random::Random;
pub use tasks::Tasks;

/// All of it, for who puts a node together.
#[derive(Clone, Default)]
pub struct World {
    /// The wall clock.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// The one place that spawns.
    pub tasks: Tasks,
}
