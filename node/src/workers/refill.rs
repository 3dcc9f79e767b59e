//! Fills the ballast again. A full disk uses it up; this worker looks every second whether
//! there is room for it, also on a node that gets no requests.

use std::time::Duration;

use crate::store::Store;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What is said while some of it is in use.
const USED: &str = "somebody has filled the file system, and the room set aside for that is in use: \
     nothing new is taken, deletes go on; make room";

/// Runs until the node stops.
pub async fn run(store: Store) {
    // How it stood at the last look, so that a change is told once.
    let mut was = String::new();
    loop {
        let now = match store.refill().await {
            Ok(true) => String::new(),
            Ok(false) => USED.to_string(),
            Err(why) => format!("cannot set room aside for a full disk: {why}"),
        };
        if now != was {
            if now.is_empty() {
                tracing::info!("there is room on the file system again");
            } else {
                tracing::warn!("{now}");
            }
            was = now;
        }
        tokio::time::sleep(EVERY).await;
    }
}
