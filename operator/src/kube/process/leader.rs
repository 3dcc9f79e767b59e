//! Which of several operators works: the holder of a Lease.
//!
//! Two that work at once cannot do harm (every write carries preconditions), but
//! they would be in each other's way. So a term ends as soon as the Lease is lost,
//! and also when it can no longer be known to be held: whoever cannot reach the API
//! server stops before another one may begin.

use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Seconds after which a silent holder has lost it.
const DURATION: u64 = 15;
/// Seconds before that at which it is renewed.
const GRACE: u64 = 10;
/// How often the holder looks whether it has been renewed.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long before its end a term ends for its holder.
const MARGIN: Duration = Duration::from_secs(1);

/// The Lease, as its holder sees it.
struct Term {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

impl Term {
    /// How much longer it is held, if the API server says so in time.
    async fn left(&self) -> Option<Held> {
        match timeout(LOOK_EVERY, self.leases.get(&self.name)).await {
            Ok(Ok(lease)) => Some(held(&lease, &self.identity, Timestamp::now())),
            Ok(Err(e)) => {
                tracing::warn!("reading the Lease {}: {e}", self.name);
                None
            }
            Err(_) => {
                tracing::warn!("reading the Lease {} takes long", self.name);
                None
            }
        }
    }

    /// Ends when the Lease is somebody else's, or has not been renewed in time as far
    /// as is known here.
    async fn over(&self, mut until: Instant) {
        loop {
            let next = (Instant::now() + LOOK_EVERY).min(until);
            sleep_until(next).await;
            match timeout_at(until, self.left()).await {
                Ok(Some(Held::For(left))) => until = Instant::now() + left,
                Ok(None) if Instant::now() < until => {}
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

/// Runs `work` while this operator holds the Lease `name`, until `stop`; then gives
/// the Lease up, after the work has come to its end. Work whose Lease is lost is
/// dropped where it stands.
pub async fn lead(
    client: Client,
    namespace: &str,
    name: &str,
    identity: &str,
    stop: CancellationToken,
    standing_by: impl Fn(bool),
    work: impl Fn(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let manager = LeaseManagerBuilder::new(client.clone(), name)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await
        .with_context(|| format!("preparing the Lease {name} in namespace {namespace}"))?;
    let term = Term {
        leases: Api::namespaced(client, namespace),
        name: name.to_string(),
        identity: identity.to_string(),
    };
    let (mut leads, task) = manager.watch().await;
    standing_by(false);
    let result = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if leads.has_changed().is_err() {
            break Err(anyhow::anyhow!(
                "the Lease {name} is no longer looked after"
            ));
        }
        let leading = *leads.borrow_and_update();
        let held = match leading {
            true => term.left().await,
            false => None,
        };
        let Some(Held::For(left)) = held else {
            // Held by another one, or, for a moment, not known to be renewed.
            let soon = async {
                match leading {
                    true => sleep(LOOK_EVERY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = soon => {}
                _ = leads.changed() => {}
            }
            continue;
        };
        tracing::info!("{identity} holds the Lease {name}");
        standing_by(true);
        let running = stop.child_token();
        let mut work = work(running.clone());
        let ended = tokio::select! {
            result = &mut work => Some(result),
            () = lost(&mut leads) => None,
            () = term.over(Instant::now() + left) => None,
        };
        if ended.is_none() {
            tracing::warn!("{identity} has lost the Lease {name}");
            running.cancel();
            drop(work);
        }
        standing_by(false);
        if let Some(ended) = ended
            && (ended.is_err() || stop.is_cancelled())
        {
            break ended;
        }
    };
    // Closing the channel makes the manager give the Lease up.
    drop(leads);
    match timeout(Duration::from_secs(5), task).await {
        Ok(Ok(Ok(_))) => {}
        other => tracing::warn!(
            "the Lease {name} was not given up: {:?}",
            other.map(|r| r.map(|r| r.map(drop)))
        ),
    }
    result
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
