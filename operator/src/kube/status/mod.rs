//! The last step of a round: what people see of a cluster, its status and its events.

mod of_round;
mod publish;

pub use self::of_round::{planned, troubled};
pub use self::publish::{Error, Published, Publisher};
