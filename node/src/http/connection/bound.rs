//! The bound on a port's connections. Each has a place; where all are taken, the
//! connection that has waited the longest for a request makes room: idle ones and
//! half-sent heads keep nobody out, least of all the probes.

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

/// All places of a port; clones share them.
#[derive(Clone)]
pub(super) struct Bound {
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Idle>>,
}

/// Connections that wait for a request, the longest first.
#[derive(Default)]
struct Idle {
    next: u64,
    order: BTreeMap<u64, Arc<Leave>>,
}

/// Asks a connection to make room.
#[derive(Default)]
pub(super) struct Leave {
    asked: AtomicBool,
    notify: Notify,
}

impl Leave {
    /// Until it is asked.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Whether it was asked: it may end in haste, nobody waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// A connection's place.
pub(super) struct Place {
    activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

/// Whether a connection waits for a request or works on one: the connection and its
/// answers share it.
pub(super) struct Activity {
    idle: Arc<Mutex<Idle>>,
    leave: Arc<Leave>,
    /// Its turn among those that wait, while it does.
    turn: Mutex<Option<u64>>,
}

impl Bound {
    pub(super) fn new(count: usize) -> Bound {
        Bound {
            free: Arc::new(Semaphore::new(count)),
            idle: Arc::default(),
        }
    }

    /// A place that is free.
    pub(super) fn take(&self) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(self.place(permit))
    }

    /// A place for which somebody else makes room.
    pub(super) async fn make_room(&self) -> Option<Place> {
        {
            let mut idle = self.idle.lock().unwrap_or_else(|p| p.into_inner());
            if let Some((_, longest)) = idle.order.pop_first() {
                longest.asked.store(true, Ordering::Release);
                longest.notify.notify_one();
            }
        }
        let permit = tokio::time::timeout(ROOM_WITHIN, self.free.clone().acquire_owned()).await;
        Some(self.place(permit.ok()?.ok()?))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        let activity = Arc::new(Activity {
            idle: self.idle.clone(),
            leave: Arc::default(),
            turn: Mutex::new(None),
        });
        activity.idles();
        Place {
            activity,
            _permit: permit,
        }
    }
}

impl Place {
    pub(super) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.activity.works();
    }
}

impl Activity {
    pub(super) fn leave(&self) -> Arc<Leave> {
        self.leave.clone()
    }

    /// It waits for a request from now on.
    fn idles(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        let mut idle = self.idle.lock().unwrap_or_else(|p| p.into_inner());
        let next = idle.next;
        idle.next += 1;
        if let Some(before) = turn.replace(next) {
            idle.order.remove(&before);
        }
        idle.order.insert(next, self.leave.clone());
    }

    /// It has a request, or is gone.
    pub(super) fn works(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(turn) = turn.take() {
            let mut idle = self.idle.lock().unwrap_or_else(|p| p.into_inner());
            idle.order.remove(&turn);
        }
    }
}

/// The body of an answer; behind it its connection waits again.
pub(super) struct ThenIdle {
    body: Body,
    activity: std::sync::Weak<Activity>,
}

impl ThenIdle {
    pub(super) fn new(body: Body, activity: &Arc<Activity>) -> ThenIdle {
        ThenIdle {
            body,
            activity: Arc::downgrade(activity),
        }
    }
}

impl Drop for ThenIdle {
    fn drop(&mut self) {
        if let Some(activity) = self.activity.upgrade() {
            activity.idles();
        }
    }
}

impl HttpBody for ThenIdle {
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
