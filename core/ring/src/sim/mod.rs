//! A deterministic simulator of the ring: 3 to 100 000 hosts, virtual time, and a
//! network that delays, loses, doubles and reorders. One seed gives one run.
//!
//! - [`engine`]: hosts, the clock, what is under way; runs the code of a node.
//! - [`network`]: what becomes of a batch on its way.
//! - [`search`]: look-ups in virtual time, judged when they are answered.
//! - [`meter`]: bytes of the real encoding.
//! - [`world`]: rings to experiment with.
//! - [`snapshot`], [`churn`], [`growth`], [`storm`]: the experiments. docs/ring.md
//!   says what each measures, and `chord sim ring` runs them.

mod churn;
mod engine;
mod growth;
mod meter;
mod network;
mod pace;
mod search;
mod snapshot;
mod storm;
#[cfg(test)]
mod tests;
mod world;

pub use self::churn::{Churn, ChurnFigures, churn};
pub use self::engine::Sim;
pub use self::growth::{JoinFigures, UpkeepFigures, simulate_idle, simulate_join};
pub use self::meter::{Traffic, empty_body};
pub use self::network::Network;
pub use self::pace::core_steps;
pub use self::search::Answer;
pub use self::snapshot::{
    CrashFigures, RepairFigures, RingFigures, simulate, simulate_by_view, simulate_crash,
    simulate_repair,
};
pub use self::storm::{Fault, Storm, StormFigures, Window, storm};
pub use self::world::{RingState, Tuning, World};
