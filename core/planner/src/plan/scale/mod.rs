//! How many ordinals are wanted: the spec's number, or the autoscaler's.
//!
//! The autoscaler goes by the fullest member. It takes one step, waits until the
//! data of that step have settled, and only then looks again; what it cannot see
//! it leaves as it is.

mod decide;
mod hand_or_autoscaler;
mod rates;
mod scaler;

pub use hand_or_autoscaler::{at_forming, target};
