//! The places of a port's connections. Where all are taken, the connection that
//! has waited the longest for a request makes room: idle ones and half-sent heads
//! keep nobody out, least of all the probes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long somebody may take to make room.
const ROOM_WITHIN: Duration = Duration::from_secs(2);

/// All places of a port.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Connections that wait for a request, the longest first.
#[derive(Default)]
struct Waiting {
    next: u64,
    seats: BTreeMap<u64, Arc<Leave>>,
}

/// Tells a connection to make room.
#[derive(Default)]
pub(super) struct Leave {
    told: AtomicBool,
    notify: Notify,
}

impl Leave {
    /// Until it is told.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Whether it was told: it may end in haste, nobody waits for an answer.
    pub(super) fn told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }
}

/// A connection's place.
pub(super) struct Place {
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

/// What a connection and its answers share of its place.
pub(super) struct Seat {
    waiting: Arc<Mutex<Waiting>>,
    leave: Arc<Leave>,
    /// Its turn among those that wait, while it does.
    turn: Mutex<Option<u64>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Places {
        Places {
            free: Arc::new(Semaphore::new(count)),
            waiting: Arc::default(),
        }
    }

    /// A place that is free.
    pub(super) fn take(&self) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(self.seat(permit))
    }

    /// A place for which somebody else makes room.
    pub(super) async fn make_room(&self) -> Option<Place> {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
            if let Some((_, longest)) = waiting.seats.pop_first() {
                longest.told.store(true, Ordering::Release);
                longest.notify.notify_one();
            }
        }
        let permit = tokio::time::timeout(ROOM_WITHIN, self.free.clone().acquire_owned()).await;
        Some(self.seat(permit.ok()?.ok()?))
    }

    fn seat(&self, permit: OwnedSemaphorePermit) -> Place {
        let seat = Arc::new(Seat {
            waiting: self.waiting.clone(),
            leave: Arc::default(),
            turn: Mutex::new(None),
        });
        seat.waits();
        Place {
            seat,
            _permit: permit,
        }
    }
}

impl Place {
    pub(super) fn seat(&self) -> Arc<Seat> {
        self.seat.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.works();
    }
}

impl Seat {
    pub(super) fn leave(&self) -> Arc<Leave> {
        self.leave.clone()
    }

    /// It waits for a request from now on.
    fn waits(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
        let next = waiting.next;
        waiting.next += 1;
        if let Some(before) = turn.replace(next) {
            waiting.seats.remove(&before);
        }
        waiting.seats.insert(next, self.leave.clone());
    }

    /// It has a request, or is gone.
    pub(super) fn works(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(turn) = turn.take() {
            let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
            waiting.seats.remove(&turn);
        }
    }
}

/// The body of an answer; behind it its connection waits again.
pub(super) struct ThenWait {
    body: Body,
    seat: std::sync::Weak<Seat>,
}

impl ThenWait {
    pub(super) fn new(body: Body, seat: &Arc<Seat>) -> ThenWait {
        ThenWait {
            body,
            seat: Arc::downgrade(seat),
        }
    }
}

impl Drop for ThenWait {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.upgrade() {
            seat.waits();
        }
    }
}

impl HttpBody for ThenWait {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
