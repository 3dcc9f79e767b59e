//! The uploads that this process streams: others ask whether one goes on before
//! they give it up.

use std::collections::HashSet;
use std::sync::Arc;

use chord_types::UploadId;
use parking_lot::Mutex;

/// Uploads under way. (No lock of tokio's: nothing is awaited while it is held.)
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<HashSet<UploadId>>>);

/// One upload, under way until this is dropped.
#[derive(Debug)]
pub struct Upload {
    all: Uploads,
    id: UploadId,
}

impl Uploads {
    /// An upload begins.
    pub fn begin(&self, id: UploadId) -> Upload {
        self.0.lock().insert(id);
        Upload {
            all: self.clone(),
            id,
        }
    }

    /// Whether it is under way.
    pub fn runs(&self, id: &UploadId) -> bool {
        self.0.lock().contains(id)
    }
}

impl Upload {
    /// Its id.
    pub fn id(&self) -> UploadId {
        self.id
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.id);
    }
}
