//! Single values: who the disk is, to which cluster it is bound, and the view.

use std::sync::Arc;

use chord_types::View;

use crate::store::error::StoreError;
use crate::store::meta::seal::{seal_bytes, unseal_bytes};
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;

/// The records of [`T::Meta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Single {
    /// The format of the whole data folder.
    Format,
    /// Who the disk is.
    Disk,
    /// How often it has been opened.
    Boot,
    /// The cluster to which it is bound.
    Cluster,
    /// The view.
    View,
    /// There while the disk is open; says with which durability.
    Open,
}

impl Single {
    fn key(self) -> &'static [u8] {
        match self {
            Single::Format => b"format",
            Single::Disk => b"disk",
            Single::Boot => b"boot",
            Single::Cluster => b"cluster",
            Single::View => b"view",
            Single::Open => b"open",
        }
    }
}

/// Reads one of them.
pub(in crate::store) fn single(
    source: &impl Source,
    which: Single,
) -> Result<Option<Vec<u8>>, StoreError> {
    match source.get(T::Meta, which.key())? {
        None => Ok(None),
        Some(record) => Ok(Some(unseal_bytes(T::Meta, which.key(), &record)?.to_vec())),
    }
}

impl Txn<'_> {
    /// Puts one of them.
    pub(in crate::store) fn put_single(
        &mut self,
        which: Single,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let record = seal_bytes(T::Meta, which.key(), value.to_vec());
        self.put(T::Meta, which.key(), &record)
    }

    /// Takes one of them out.
    pub(in crate::store) fn take_single(&mut self, which: Single) -> Result<(), StoreError> {
        self.take(T::Meta, which.key()).map(drop)
    }

    /// Takes a view. The first one binds the disk to its cluster.
    pub fn set_view(&mut self, view: &View) -> Result<(), StoreError> {
        match &self.cached().cluster {
            Some(cluster) if *cluster != view.cluster => {
                return Err(StoreError::WrongCluster {
                    found: view.cluster.clone(),
                    wanted: cluster.clone(),
                });
            }
            Some(_) => {}
            None => {
                self.put_single(Single::Cluster, view.cluster.0.as_bytes())?;
                self.cached_mut().cluster = Some(view.cluster.clone());
            }
        }
        self.put_single(Single::View, &view.encode())?;
        self.cached_mut().view = Some(Arc::new(view.clone()));
        Ok(())
    }
}
