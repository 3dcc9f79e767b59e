//! Which of several operators works: the holder of a Lease.
//!
//! Two that work at once cannot do harm (every write carries preconditions), but
//! they would be in each other's way. So a term ends as soon as the Lease is lost,
//! and also when it can no longer be known to be held: whoever cannot reach the API
//! server stops before another one may begin.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::kube::api::Cause;
use chord_api::causes;

/// Seconds after which a silent holder has lost it.
const DURATION: u64 = 15;
/// Seconds before that at which it is renewed.
const GRACE: u64 = 10;
/// How often the holder checks whether it has been renewed.
const CHECKED_EVERY: Duration = Duration::from_secs(3);
/// How long before its end a term ends for its holder.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the Lease has to be given up.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(5);

/// Why no Lease can be held.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or made.
    #[error("preparing the Lease {name} in namespace {namespace}")]
    Prepare {
        /// The Lease.
        name: String,
        /// Where it is.
        namespace: String,
        /// Why.
        source: Fault,
    },
    /// What renews it has ended.
    #[error("the Lease {name} is no longer looked after: start the operator again")]
    NotRenewed {
        /// The Lease.
        name: String,
    },
}

/// Why a Lease cannot be managed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A request to the API server failed.
    #[error(transparent)]
    Api(Cause),
    /// Another one of the manager's own.
    #[error(transparent)]
    Manager(LeaseManagerError),
}

impl From<LeaseManagerError> for Fault {
    fn from(error: LeaseManagerError) -> Fault {
        match error {
            LeaseManagerError::KubeError(e) => Fault::Api(e.into()),
            other => Fault::Manager(other),
        }
    }
}

/// The Lease, as its holder sees it.
struct Term<'a> {
    leases: Api<Lease>,
    name: &'a str,
    identity: &'a str,
    clock: &'a Clock,
}

impl Term<'_> {
    /// How much longer it is held, if the API server says so in time.
    async fn left(&self) -> Option<Held> {
        let name = self.name;
        match timeout(CHECKED_EVERY, self.leases.get(name)).await {
            Ok(Ok(lease)) => Some(held(&lease, self.identity, self.now())),
            Ok(Err(e)) => {
                let why = causes::words(&Cause::from(e));
                tracing::warn!("reading the Lease {name}: {why}");
                None
            }
            Err(_) => {
                tracing::warn!("reading the Lease {name} takes long");
                None
            }
        }
    }

    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.clock.now().0).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// Ends when the Lease is somebody else's, or has not been renewed in time as far
    /// as is known here. `left`: how much longer it is held.
    async fn over(&self, left: Duration) {
        let mut until = self.clock.uptime() + left;
        loop {
            let left = until.saturating_sub(self.clock.uptime());
            sleep(CHECKED_EVERY.min(left)).await;
            let left = until.saturating_sub(self.clock.uptime());
            match timeout(left, self.left()).await {
                Ok(Some(Held::For(left))) => until = self.clock.uptime() + left,
                Ok(None) if self.clock.uptime() < until => {}
                Ok(None | Some(Held::No)) | Err(_) => return,
            }
        }
    }
}

/// Whether a Lease is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    For(Duration),
    No,
}

/// Whether this is the holder, and for how much longer. The time of the renewal is of
/// the holder's own clock.
fn held(lease: &Lease, identity: &str, now: Timestamp) -> Held {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|s| s.holder_identity.as_deref());
    let Some(renewed) = spec.and_then(|s| s.renew_time.as_ref()) else {
        return Held::No;
    };
    if holder != Some(identity) {
        return Held::No;
    }
    let since = Duration::try_from(now.duration_since(renewed.0)).unwrap_or_default();
    match Duration::from_secs(DURATION).checked_sub(since + MARGIN) {
        Some(left) if !left.is_zero() => Held::For(left),
        _ => Held::No,
    }
}

/// Ends when the Lease is known to be lost.
async fn lost(leads: &mut watch::Receiver<bool>) {
    while leads.changed().await.is_ok() {
        if !*leads.borrow_and_update() {
            return;
        }
    }
}

/// A Lease, and who asks for it.
pub struct Candidacy<'a> {
    /// The way to the API server.
    pub client: Client,
    /// Where the Lease is.
    pub namespace: &'a str,
    /// The Lease.
    pub name: &'a str,
    /// By which a holder is known.
    pub identity: &'a str,
    /// The time.
    pub clock: &'a Clock,
}

/// Runs `work` while this operator holds the Lease, until `stop`; then gives the Lease
/// up, after the work has come to its end. Work whose Lease is lost is dropped where it
/// stands. `leads` is told whenever this operator begins or ceases to lead, and at first
/// that it does not.
pub async fn lead<E>(
    candidacy: Candidacy<'_>,
    stop: CancellationToken,
    leads: impl Fn(bool),
    work: impl Fn(CancellationToken) -> BoxFuture<'static, Result<(), E>>,
) -> Result<Result<(), E>, Error> {
    let Candidacy {
        client,
        namespace,
        name,
        identity,
        clock,
    } = candidacy;
    let manager = LeaseManagerBuilder::new(client.clone(), name)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await
        .map_err(|e| Error::Prepare {
            name: name.to_string(),
            namespace: namespace.to_string(),
            source: e.into(),
        })?;
    let term = Term {
        leases: Api::namespaced(client, namespace),
        name,
        identity,
        clock,
    };
    let (mut elected, task) = manager.watch().await;
    leads(false);
    let result = loop {
        if stop.is_cancelled() {
            break Ok(Ok(()));
        }
        if elected.has_changed().is_err() {
            let name = name.to_string();
            break Err(Error::NotRenewed { name });
        }
        let Some(left) = held_for(&term, &mut elected, &stop).await else {
            continue;
        };
        tracing::info!("{identity} holds the Lease {name}");
        leads(true);
        let ended = run_term(&term, left, &mut elected, &work, &stop).await;
        leads(false);
        if let Some(ended) = ended
            && (ended.is_err() || stop.is_cancelled())
        {
            break Ok(ended);
        }
    };
    // Closing the channel makes the manager give the Lease up.
    drop(elected);
    match timeout(GIVEN_UP_WITHIN, task).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(e))) => not_given_up(name, &causes::words(&Fault::from(e))),
        Ok(Err(e)) => not_given_up(name, &causes::words(&e)),
        Err(_) => not_given_up(name, "it takes too long"),
    }
    result
}

fn not_given_up(name: &str, why: &str) {
    let seconds = DURATION;
    tracing::warn!("giving up the Lease {name}: {why}; it ends by itself within {seconds} s");
}

/// For how much longer the Lease is held; `None` where it is not, after something has
/// changed.
async fn held_for(
    term: &Term<'_>,
    elected: &mut watch::Receiver<bool>,
    stop: &CancellationToken,
) -> Option<Duration> {
    let leading = *elected.borrow_and_update();
    if leading && let Some(Held::For(left)) = term.left().await {
        return Some(left);
    }
    // Held by another one, or, for a moment, not known to be renewed.
    let soon = async {
        match leading {
            true => sleep(CHECKED_EVERY).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = soon => {}
        _ = elected.changed() => {}
    }
    None
}

/// Works for one term; `None` where the Lease was lost before the work had ended.
async fn run_term<E>(
    term: &Term<'_>,
    left: Duration,
    elected: &mut watch::Receiver<bool>,
    work: &impl Fn(CancellationToken) -> BoxFuture<'static, Result<(), E>>,
    stop: &CancellationToken,
) -> Option<Result<(), E>> {
    let running = stop.child_token();
    let mut work = work(running.clone());
    let ended = tokio::select! {
        result = &mut work => Some(result),
        () = lost(elected) => None,
        () = term.over(left) => None,
    };
    if ended.is_none() {
        tracing::warn!("{} has lost the Lease {}", term.identity, term.name);
        running.cancel();
        drop(work);
    }
    ended
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(holder: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({"spec": {
            "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": DURATION
        }}))
        .unwrap()
    }

    #[test]
    fn a_term_ends_for_its_holder_before_another_one_may_begin() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let at = |holder, renewed| held(&lease(holder, renewed), "me", now);
        assert_eq!(
            at("me", "2026-01-01T00:00:55.000000Z"),
            Held::For(Duration::from_secs(DURATION - 5) - MARGIN)
        );
        assert_eq!(
            at("me", "2026-01-01T00:00:46.000000Z"),
            Held::No,
            "14 seconds without a renewal"
        );
        assert_eq!(at("another", "2026-01-01T00:00:59.000000Z"), Held::No);
        assert_eq!(held(&Lease::default(), "me", now), Held::No, "given up");
    }
}
