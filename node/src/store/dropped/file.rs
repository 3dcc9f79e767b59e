//! Where a dropped file lies, and what it says of itself.

use std::path::{Path, PathBuf};

use crate::store::files::trailer::read_trailer;
use crate::store::platform::OpenFile;
use crate::store::types::{Dropped, DroppedId};

/// Where a dropped file lies.
pub(in crate::store) fn path(dir: &Path, id: DroppedId) -> PathBuf {
    dir.join("dropped").join(id.to_string())
}

/// The dropped file that a file's name speaks of.
pub(in crate::store) fn id_of(file_name: &str) -> Option<DroppedId> {
    let id = DroppedId(u64::from_str_radix(file_name, 16).ok()?);
    (id.to_string() == file_name).then_some(id)
}

/// What a dropped file says of itself.
pub(in crate::store) fn describe(
    file: &dyn OpenFile,
    length: u64,
) -> std::io::Result<Option<Dropped>> {
    let found = read_trailer::<Dropped>(file, length)?;
    Ok(found
        .filter(|(start, dropped)| *start == dropped.size)
        .map(|(_, dropped)| dropped))
}
