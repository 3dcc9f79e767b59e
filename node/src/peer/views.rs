//! Bringing two nodes to the newer of their views: whoever notices that one of two
//! lags behind sees to it.

use chord_api::causes::words;
use chord_types::Ordinal;
use chord_types::view::ViewRef;

use super::Transport;
use crate::view::ViewKeeper;

/// Brings this node and another, which says that it holds `theirs`, to the newer of
/// their views. What cannot be done is tried again when they next speak.
pub async fn bring_together(
    keeper: &ViewKeeper,
    peers: &dyn Transport,
    with: Ordinal,
    theirs: Option<ViewRef>,
) {
    let ours = keeper.current();
    let newer = match (&ours, theirs) {
        (Some(ours), Some(theirs)) => theirs.epoch > ours.reference.epoch,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if newer {
        match peers.view(with).await {
            Ok(view) => {
                if let Err(error) = keeper.adopt(view).await {
                    tracing::debug!(error = words(&error), from = with.0, "did not take a view");
                }
            }
            Err(error) => tracing::debug!(error = words(&error), "cannot fetch a newer view"),
        }
    } else if let Some(ours) = ours
        && theirs.is_none_or(|theirs| theirs.epoch < ours.reference.epoch)
        && let Err(error) = peers.push_view(with, &ours.view).await
    {
        tracing::debug!(error = words(&error), "cannot pass a view on");
    }
}
