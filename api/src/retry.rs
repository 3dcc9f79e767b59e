//! Trying again: how often and with which pauses, for requests of clients and programs.
//! What has a timing of its own is listed in docs/architecture.md, "Where things are".
//!
//! A policy says how long to wait between tries; where more than one future is tried
//! again its pauses are drawn one by one ([`BackoffBuilder::build`]). What may be tried again is said
//! where it is tried ([`Retryable::when`]): an answer that will not change is not for
//! asking twice.

use std::time::Duration;

use backon::ExponentialBuilder;
pub use backon::{BackoffBuilder, Retryable};

/// Something on this machine is about to be so: a lock is let go, a port opens. For
/// `limit` in all, with pauses from 20 to 250 ms.
pub fn soon(limit: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(250))
        .with_total_delay(Some(limit))
        .without_max_times()
}

/// A service that somebody else runs cannot answer at present. For `limit` in all,
/// with pauses from 100 ms to 2 s, and never in step with others who wait for it.
pub fn until_it_answers(limit: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(limit))
        .without_max_times()
        .with_jitter()
}

/// One answer that was missed says nothing: `times` more tries, half a second apart.
pub fn once_more(times: usize) -> ExponentialBuilder {
    let pause = Duration::from_millis(500);
    ExponentialBuilder::new()
        .with_min_delay(pause)
        .with_max_delay(pause)
        .with_max_times(times)
}

/// For as long as it takes, with pauses of a quarter of a second.
pub fn however_long() -> ExponentialBuilder {
    let pause = Duration::from_millis(250);
    ExponentialBuilder::new()
        .with_min_delay(pause)
        .with_max_delay(pause)
        .without_max_times()
}
