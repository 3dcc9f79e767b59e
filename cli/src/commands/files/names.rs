//! Names of files, from text that somebody typed or that the cluster listed.

use chord_types::FileName;

use crate::failure::Failure;

/// The name, where it can be one.
pub fn file_name(name: &str) -> Result<FileName, Failure> {
    FileName::new(name)
        .map_err(|e| Failure::usage(format!("{name:?} cannot be the name of a file: {e}")))
}
