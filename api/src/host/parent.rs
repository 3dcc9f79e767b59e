//! Ending with one's parent: `chord up` holds the standard input of its children
//! open, and they end when it does, however the parent ended.

/// Completes when standard input ends.
pub async fn gone() {
    let (tell, gone) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocked read would hold up the end of a runtime.
    std::thread::spawn(move || {
        let mut sink = [0u8; 64];
        while matches!(std::io::Read::read(&mut std::io::stdin(), &mut sink), Ok(n) if n > 0) {}
        let _ = tell.send(());
    });
    let _ = gone.await;
}
