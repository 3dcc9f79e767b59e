//! Waiting for a state instead of sleeping.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use chord_api::human;

/// The error of a probe after which waiting is in vain.
#[derive(Debug)]
pub struct Never(pub String);

impl Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Never {}

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Limits are written for a machine that does nothing else. They are there to end a
/// run that hangs, not to measure: on a busy one everything may take so much longer.
pub const PATIENCE: u32 = 3;
/// One look must not eat all the time there is.
const ONE_LOOK: Duration = Duration::from_secs(20);

/// Asks until the answer is `Ok`, for `limit` times [`PATIENCE`]; the last other
/// answer is what the error tells.
pub async fn eventually<T, F>(
    what: impl Display,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let limit = limit * PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let last = match tokio::time::timeout(left.min(ONE_LOOK).max(FIRST_PAUSE), probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(e)) if e.is::<Never>() => return Err(e.context(format!("waiting until {what}"))),
            Ok(Err(e)) => format!("{e:#}"),
            Err(_) => "no answer came".to_string(),
        };
        if begun.elapsed() + pause >= limit {
            return Err(anyhow!(
                "not so after {}: {what}; last seen: {last}",
                human::span(begun.elapsed())
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Looks every `pause` until there is something, for `limit` in all: where the moment
/// counts. A look that fails ends it; one that has not found it yet says what it saw.
pub async fn closely<T>(
    what: impl Display,
    limit: Duration,
    pause: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let seen = match look().await? {
            Ok(found) => return Ok(found),
            Err(seen) => seen,
        };
        if begun.elapsed() >= limit {
            return Err(anyhow!(
                "not so after {}: {what}; last seen: {seen}",
                human::span(begun.elapsed())
            ));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_state_is_told() {
        let error = eventually("x is 1", Duration::from_millis(50), || async {
            Err::<(), _>(anyhow!("x is 0"))
        });
        let error = error.await.unwrap_err().to_string();
        assert!(
            error.contains("x is 1") && error.contains("x is 0"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_close_look_finds_what_comes_and_tells_what_it_saw() {
        let pause = Duration::from_millis(1);
        let mut looks = 0;
        let found = closely("three", secs(60), pause, async || {
            looks += 1;
            Ok(if looks == 3 {
                Ok(looks)
            } else {
                Err("less".into())
            })
        });
        assert_eq!(found.await.unwrap(), 3);
        let never = closely("four", Duration::ZERO, pause, async || {
            Ok(Err::<(), _>("three".into()))
        });
        let said = never.await.unwrap_err().to_string();
        assert!(said.contains("four") && said.contains("three"), "{said}");
        let failed = closely(
            "five",
            secs(60),
            pause,
            async || -> Result<Result<(), _>> { Err(anyhow!("broken")) },
        );
        assert!(failed.await.is_err());
    }

    #[tokio::test]
    async fn what_can_never_be_ends_at_once() {
        let mut asked = 0;
        let waited = eventually("x", secs(60), || {
            asked += 1;
            async { Err::<(), _>(anyhow!(Never("lost".into()))) }
        });
        assert!(waited.await.is_err());
        assert_eq!(asked, 1);
    }
}
