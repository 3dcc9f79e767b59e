//! The body of an answer, as HTTP sends what the data path gives: a fault breaks the
//! connection, and what is sent is counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use chord_api::problem::Problem;
use futures::StreamExt;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::files;
use crate::http::metrics::{InFlight, Metrics};

/// A response's body of a length that is known: a body that ends before, goes on
/// after, or fails breaks the connection, so that no client takes it for whole.
pub(in crate::http) struct Exact {
    /// The piece that was waited for before the head was sent.
    first: Option<Bytes>,
    rest: files::Body,
    left: u64,
}

impl Exact {
    /// Waits for the first piece, so that a fault before it is still a problem.
    pub(in crate::http) async fn begin(
        mut body: files::Body,
        length: u64,
    ) -> Result<Body, Problem> {
        if length == 0 {
            return Ok(Body::empty());
        }
        let first = body.next().await.transpose()?;
        Ok(Body::new(Exact {
            first,
            rest: body,
            left: length,
        }))
    }
}

/// Why the connection is broken.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Problem(#[from] Problem),
    #[error("the body ended {0} bytes early")]
    Short(u64),
    #[error("the body has more bytes than the file")]
    Long,
}

impl HttpBody for Exact {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match this.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(this.rest.poll_next_unpin(cx)),
        };
        let checked = match piece {
            Some(Ok(bytes)) => match this.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Ok(bytes)
                }
                None => Err(Fault::Long),
            },
            Some(Err(failed)) => Err(Fault::Problem(failed.into())),
            None => Err(Fault::Short(this.left)),
        };
        Poll::Ready(Some(checked.map(Frame::data).map_err(|fault| {
            tracing::warn!(error = %fault, "a response breaks off");
            fault.into()
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Counts what is sent of a body, and its request as in flight until then.
///
/// An error comes a moment later than it happened, so that what stands before it
/// is sent first: the client shall see an answer that breaks off.
pub(in crate::http) struct Counted {
    body: Body,
    metrics: Metrics,
    error: Option<axum::Error>,
    _in_flight: InFlight,
}

impl Counted {
    pub(in crate::http) fn new(body: Body, metrics: Metrics, in_flight: InFlight) -> Counted {
        Counted {
            body,
            metrics,
            error: None,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.metrics.sent(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.error = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
