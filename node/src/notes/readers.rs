//! The versions that clients are being sent through this node. Their chunks stay
//! where they are until the last reader is done, also when the file is replaced.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chord_types::UploadId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a reader keeps a version that was replaced; a client that is slower
/// has its download broken off.
const KEPT: Duration = Duration::from_secs(3600);

/// No lock of tokio's: nothing is awaited while it is held.
type Known = Arc<Mutex<HashMap<UploadId, (usize, Instant)>>>;

/// Who is read, by how many, and since when the last of them reads.
#[derive(Clone, Debug, Default)]
pub struct Readers(Known);

/// One reader, until this is dropped.
#[derive(Debug)]
pub struct Reader {
    known: Known,
    upload: UploadId,
}

impl Readers {
    /// A client begins to read.
    pub fn begin(&self, upload: UploadId) -> Reader {
        let mut known = self.0.lock();
        let entry = known.entry(upload).or_insert((0, Instant::now()));
        *entry = (entry.0 + 1, Instant::now());
        Reader {
            known: self.0.clone(),
            upload,
        }
    }

    /// Whether somebody reads it whose patience is not at its end.
    pub fn is_read(&self, upload: &UploadId) -> bool {
        let known = self.0.lock();
        known
            .get(upload)
            .is_some_and(|(_, since)| since.elapsed() < KEPT)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut known = self.known.lock();
        if let Some((count, _)) = known.get_mut(&self.upload) {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.upload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_until_its_last_reader_is_done() {
        let readers = Readers::default();
        let (one, other) = (UploadId::random(), UploadId::random());
        let (a, b) = (readers.begin(one), readers.begin(one));
        assert!(readers.is_read(&one) && !readers.is_read(&other));
        drop(a);
        assert!(readers.is_read(&one));
        drop(b);
        assert!(!readers.is_read(&one));
        assert!(readers.0.lock().is_empty());
    }
}
