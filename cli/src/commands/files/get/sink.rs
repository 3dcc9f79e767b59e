//! A file on its way to its place: written beside it, and renamed once it is whole.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use crate::failure::Failure;

/// A file being written.
pub enum Sink {
    /// Beside its place, taken away unless it is finished.
    Beside {
        file: tokio::fs::File,
        temporary: Temporary,
        place: PathBuf,
    },
    /// A device or a pipe: nothing there to replace.
    Direct {
        file: tokio::fs::File,
        place: PathBuf,
    },
}

/// A file that goes when this is dropped.
pub struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Sink {
    pub async fn open(path: &Path) -> Result<Sink, Failure> {
        let cannot =
            |e: std::io::Error| Failure::failed(format!("cannot write {}: {e}", path.display()));
        // Through a link, what it leads to is replaced, and the link stays.
        let place = match path.canonicalize() {
            Ok(real) => real,
            Err(_) => path.to_path_buf(),
        };
        if let Ok(found) = tokio::fs::metadata(&place).await
            && !found.is_file()
        {
            let file = tokio::fs::OpenOptions::new()
                .write(true)
                .open(&place)
                .await
                .map_err(cannot)?;
            return Ok(Sink::Direct { file, place });
        }
        let beside = format!(".chord-{}.part", uuid::Uuid::new_v4().simple());
        let temporary = match place.parent() {
            Some(folder) => folder.join(beside),
            None => PathBuf::from(beside),
        };
        let file = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .await
            .map_err(cannot)?;
        Ok(Sink::Beside {
            file,
            temporary: Temporary(temporary),
            place,
        })
    }

    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let (Sink::Beside { file, place, .. } | Sink::Direct { file, place }) = self;
        file.write_all(piece)
            .await
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", place.display())))
    }

    /// Puts the file in its place.
    pub async fn finish(self) -> Result<(), Failure> {
        let cannot = |place: &Path, e: std::io::Error| {
            Failure::failed(format!("cannot write {}: {e}", place.display()))
        };
        match self {
            Sink::Direct { mut file, place } => file.flush().await.map_err(|e| cannot(&place, e)),
            Sink::Beside {
                mut file,
                temporary,
                place,
            } => {
                file.flush().await.map_err(|e| cannot(&place, e))?;
                if let Ok(before) = tokio::fs::metadata(&place).await {
                    // Best effort: the same rights as the file that is replaced.
                    let _ = file.set_permissions(before.permissions()).await;
                }
                file.sync_all().await.map_err(|e| cannot(&place, e))?;
                drop(file);
                tokio::fs::rename(&temporary.0, &place)
                    .await
                    .map_err(|e| cannot(&place, e))
            }
        }
    }
}
