//! What members are told of an upload and need not answer: that its chunks belong
//! to a version now, or to none any more. Who misses it finds out by asking.

use std::sync::Arc;

use chord_types::manifest::Body as Contents;
use chord_types::{ChunkId, FileName, Manifest};

use crate::peer::wire::Request;
use crate::quorum::Quorum;

/// Chunks in one notice.
const BATCH: usize = 1000;

/// The chunks of a version that was replaced or deleted may be garbage now.
pub fn replaced(quorum: &Arc<Quorum>, name: &FileName, manifest: &Manifest) {
    if let Contents::Chunks { upload, .. } = manifest.body {
        let name = name.clone();
        quorum.notify_later(vec![Request::Reap { name, upload }]);
    }
}

/// The chunks belong to a version now, for what nodes say they hold.
pub fn committed(quorum: &Arc<Quorum>, chunks: &[ChunkId]) {
    if chunks.is_empty() {
        return;
    }
    let batches = chunks.chunks(BATCH).map(|batch| Request::Committed {
        chunks: batch.to_vec(),
    });
    quorum.notify_later(batches.collect());
}
