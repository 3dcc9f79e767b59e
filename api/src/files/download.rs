//! A file on its way here, which ends only when all that was promised has come.

use bytes::Bytes;

use super::FileInfo;
use super::error::FilesError;
use crate::causes::Cause;

/// A file on its way here.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    info: FileInfo,
    received: u64,
    doing: String,
    partial: bool,
}

impl Download {
    pub(super) fn begin(
        response: reqwest::Response,
        info: FileInfo,
        doing: String,
        partial: bool,
    ) -> Download {
        Download {
            response,
            info,
            received: 0,
            doing,
            partial,
        }
    }

    /// What the headers said.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Whether a range comes, and not the whole file.
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// The next bytes; `None` only when all that was promised has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FilesError> {
        let broken = |doing: &str, why: Cause| FilesError::Broken {
            doing: doing.to_string(),
            why,
        };
        match self.response.chunk().await {
            Err(e) => Err(broken(&self.doing, e.into())),
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => match self.info.size {
                Some(size) if size != self.received => Err(broken(
                    &self.doing,
                    format!("{} of {size} bytes came", self.received).into(),
                )),
                _ => Ok(None),
            },
        }
    }
}
