//! The body that a client sends, as the data path takes it: checked, counted, and not
//! waited for without end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use chord_api::problem::{Kind, Problem};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep};

use super::digest::Checker;
use crate::files;
use crate::http::metrics::Metrics;
use crate::http::response::problem::invalid;

/// How long a client may be waited for until it has sent so many bytes more of a
/// body: each upload holds memory and a place among the changes.
const SILENCE: Duration = Duration::from_secs(60);
const PACE_BYTES: u64 = 64 * 1024;
/// What is read of a body that nobody wants, so that its connection can be kept.
const UNWANTED_BYTES: u64 = 64 * 1024;
const UNWANTED_TIME: Duration = Duration::from_millis(250);

/// The body of a request until somebody takes it, and whether it was read to its
/// end, without which the connection cannot carry another request.
pub(in crate::http) struct Upload {
    body: Option<Body>,
    ended: Arc<AtomicBool>,
    /// The client waits for a word before it sends.
    waits: bool,
}

impl Upload {
    pub(in crate::http) fn new(body: Body, headers: &HeaderMap) -> Upload {
        let ended = Arc::new(AtomicBool::new(body.is_end_stream()));
        Upload {
            body: Some(body),
            ended,
            waits: headers.contains_key(EXPECT),
        }
    }

    /// The length, where the request gives one (also without a body: 0).
    pub(in crate::http) fn length(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.size_hint().exact())
    }

    /// Takes the body for the data path. The first poll is what sends `100
    /// Continue` to a client that waits for it.
    pub(in crate::http) fn take(&mut self, checker: Checker, metrics: Metrics) -> files::Body {
        let length = self.length();
        Incoming {
            body: self.body.take().unwrap_or_default(),
            checker: Some(checker),
            length,
            got: 0,
            pace: Pace::default(),
            silence: None,
            ended: self.ended.clone(),
            metrics,
        }
        .map_err(files::Error::body)
        .boxed()
    }

    /// Whether the body was read to its end, with a right digest.
    pub(in crate::http) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Called when the answer stands: whether the connection can be kept. A short
    /// body that nobody took is read away for that.
    pub(in crate::http) async fn settle(&mut self) -> bool {
        if self.ended() {
            return true;
        }
        let Some(mut body) = self.body.take() else {
            return false;
        };
        if self.waits || body.size_hint().lower() > UNWANTED_BYTES {
            return false;
        }
        let drained = tokio::time::timeout(UNWANTED_TIME, async {
            let mut left = UNWANTED_BYTES;
            while let Some(frame) = next_frame(&mut body).await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(less) = left.checked_sub(bytes) else {
                    return false;
                };
                left = less;
            }
            true
        });
        drained.await.unwrap_or(false)
    }

    /// All of a body of at most `limit` bytes.
    pub(in crate::http) async fn whole(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let length = self.length().unwrap_or(0);
        if length > limit as u64 {
            return Err(Problem::new(
                Kind::TooLarge,
                format!("the body has {length} bytes, at most {limit} are read"),
            ));
        }
        let body = self.body.take().unwrap_or_default();
        let read = tokio::time::timeout(SILENCE, axum::body::to_bytes(body, limit)).await;
        match read {
            Ok(Ok(bytes)) => {
                self.ended.store(true, Ordering::Release);
                Ok(bytes)
            }
            Ok(Err(error)) => {
                let why = innermost(&error);
                Err(match why.is::<http_body_util::LengthLimitError>() {
                    true => Problem::new(
                        Kind::TooLarge,
                        format!("the body has more than the {limit} bytes that are read"),
                    ),
                    false => invalid(format!("the body broke off: {why}")),
                })
            }
            Err(_) => Err(silent(0)),
        }
    }
}

/// The cause behind all others: the outer ones only say that a body could not be read.
fn innermost(error: &axum::Error) -> &(dyn std::error::Error + 'static) {
    let mut inner: &(dyn std::error::Error + 'static) = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner
}

async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

fn silent(got: u64) -> Problem {
    let detail = format!(
        "too little came: the body had {got} bytes, and at least {PACE_BYTES} more, or the rest of it, are to come within {} s; nothing is stored",
        SILENCE.as_secs()
    );
    invalid(detail).with_status(StatusCode::REQUEST_TIMEOUT)
}

/// How long a client has been waited for since it last kept up. Time in which
/// nobody asked for its bytes does not count against it.
#[derive(Default)]
struct Pace {
    /// Bytes of this stretch.
    bytes: u64,
    /// Waited in this stretch, before the present wait.
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// It is waited for: until when.
    fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since + SILENCE.saturating_sub(self.waited)
    }

    /// So many bytes have come.
    fn came(&mut self, now: Instant, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes += bytes;
        if self.bytes >= PACE_BYTES {
            *self = Pace::default();
        }
    }
}

/// A request's body as the data path sees it. It ends with `None` only if it
/// came in full and matches its digests.
struct Incoming {
    body: Body,
    /// `None` when the end has been seen, good or bad.
    checker: Option<Checker>,
    length: Option<u64>,
    got: u64,
    pace: Pace,
    silence: Option<Pin<Box<Sleep>>>,
    ended: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Incoming {
    fn fail(&mut self, problem: Problem) -> Poll<Option<Result<Bytes, Problem>>> {
        self.checker = None;
        Poll::Ready(Some(Err(problem)))
    }

    /// The verdict, once.
    fn finish(&mut self) -> Result<(), Problem> {
        if let Some(mut checker) = self.checker.take() {
            self.ended.store(true, Ordering::Release);
            checker.finish()?;
        }
        Ok(())
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let got = this.got;
            let Some(checker) = &mut this.checker else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                let until = this.pace.wait(Instant::now());
                let silence = this
                    .silence
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                ready!(silence.as_mut().poll(cx));
                return this.fail(silent(got));
            };
            this.silence = None;
            let came = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            this.pace.came(Instant::now(), came as u64);
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        checker.update(&data);
                        this.got += data.len() as u64;
                        this.metrics.received(data.len());
                        // Who knows the length may not ask for more after the last
                        // byte: so the verdict comes before it.
                        if this.length == Some(this.got)
                            && let Err(problem) = this.finish()
                        {
                            return this.fail(problem);
                        }
                        return Poll::Ready(Some(Ok(data)));
                    }
                    Err(other) => {
                        if let Some(fields) = other.trailers_ref()
                            && let Err(problem) = checker.trailer(fields)
                        {
                            // The trailer is the end of the message.
                            this.ended.store(true, Ordering::Release);
                            return this.fail(problem);
                        }
                    }
                },
                Some(Err(error)) => {
                    let why = innermost(&error);
                    let detail = format!(
                        "the body broke off after {got} bytes: {why}; nothing is stored, send it again"
                    );
                    return this.fail(invalid(detail));
                }
                None => {
                    return match this.finish() {
                        Ok(()) => Poll::Ready(None),
                        Err(problem) => this.fail(problem),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Feeds a pace with bytes, each so long waited for, and tells after how many
    /// of them the client is given up.
    fn given_up(each: u64, after: Duration, asked_late: Duration) -> Option<usize> {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for step in 0..1000 {
            if pace.wait(now) < now + after {
                return Some(step);
            }
            now += after;
            pace.came(now, each);
            now += asked_late;
        }
        None
    }

    #[test]
    fn a_client_that_dribbles_is_given_up_and_a_slow_one_is_not() {
        assert_eq!(given_up(1, 61 * SECOND, Duration::ZERO), Some(0));
        assert_eq!(given_up(1, 20 * SECOND, Duration::ZERO), Some(3));
        assert_eq!(given_up(1, SECOND, Duration::ZERO), Some(60));
        assert_eq!(given_up(2048, SECOND, Duration::ZERO), None);
        assert_eq!(given_up(PACE_BYTES, 60 * SECOND, Duration::ZERO), None);
        // What the node itself took its time for is not the client's fault.
        assert_eq!(given_up(1, Duration::ZERO, 30 * SECOND), None);
    }
}
