//! Which of several operators works: the holder of a Lease.
//!
//! Two that work at once cannot do harm (every write carries preconditions), but
//! they would be in each other's way.

use anyhow::Context as _;
use futures::future::BoxFuture;
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio_util::sync::CancellationToken;

/// The Lease's name.
const LEASE: &str = "chord-operator";
/// Seconds after which a silent holder has lost it.
const DURATION: u64 = 15;
/// Seconds before that at which it is renewed.
const GRACE: u64 = 10;

/// Runs `work` while this operator holds the Lease, until `stop`; then gives the
/// Lease up, after the work has come to its end.
pub async fn lead(
    client: Client,
    namespace: &str,
    identity: &str,
    stop: CancellationToken,
    standing_by: impl Fn(bool),
    work: impl Fn(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let manager = LeaseManagerBuilder::new(client, LEASE)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await
        .with_context(|| format!("preparing the Lease {LEASE} in namespace {namespace}"))?;
    let (mut leads, task) = manager.watch().await;
    standing_by(false);
    let result = loop {
        let leading = *leads.borrow_and_update();
        if leading {
            tracing::info!("{identity} holds the Lease {LEASE}");
            standing_by(true);
            let term = stop.child_token();
            let mut work = work(term.clone());
            let ended = loop {
                tokio::select! {
                    result = &mut work => break result,
                    changed = leads.changed() => {
                        if changed.is_err() || !*leads.borrow_and_update() {
                            tracing::warn!("{identity} has lost the Lease {LEASE}");
                            term.cancel();
                            break (&mut work).await;
                        }
                    }
                }
            };
            standing_by(false);
            if ended.is_err() || stop.is_cancelled() {
                break ended;
            }
        } else {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                changed = leads.changed() => changed.context("the Lease is no longer looked after")?,
            }
        }
    };
    // Closing the channel makes the manager give the Lease up.
    drop(leads);
    match tokio::time::timeout(std::time::Duration::from_secs(5), task).await {
        Ok(Ok(Ok(_))) => {}
        other => tracing::warn!(
            "the Lease {LEASE} was not given up: {:?}",
            other.map(|r| r.map(|r| r.map(drop)))
        ),
    }
    result
}
