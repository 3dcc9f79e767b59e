//! What a file is made of: its manifest, and the chunks that it names.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blocks::Root;
use crate::id::Id;
use crate::metadata::Metadata;
use crate::name::FileName;
use crate::upload::{ChunkId, UploadId};

/// One chunk as a manifest lists it; its part is its place in the list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Bytes.
    pub size: u32,
    /// What its blocks hash to.
    pub root: Root,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the manifest itself: small files.
    Inline(Bytes),
    /// In chunks of one upload.
    Chunks {
        /// The upload that wrote them.
        upload: UploadId,
        /// In the order of the file.
        chunks: Vec<ChunkRef>,
    },
}

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts the versions of this name; deletions count too.
    pub version: u64,
    /// The strong entity tag, without its quotes.
    pub etag: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// Milliseconds since the Unix epoch, by the clock of the node that took the file; but
    /// in a later second than any earlier version of the name. Where a clock was ahead,
    /// or versions come fast, it may lie in the future: it is for comparing, and never
    /// shown to be later than now.
    pub modified_ms: u64,
    /// The media type, as the client said it.
    pub content_type: Option<String>,
    /// What the client keeps with it.
    pub meta: Metadata,
    /// The contents, or the chunks that hold them.
    pub body: Body,
}

impl Manifest {
    /// The chunks of this file, each with its id and the key that places it.
    ///
    /// The only chunk of a one-chunk file is placed with its manifest, by the
    /// file's own key, so that a node that holds the file holds all of it.
    pub fn chunks<'a>(&'a self, name: &'a FileName) -> impl Iterator<Item = PlacedChunk> + 'a {
        let (upload, chunks): (UploadId, &[ChunkRef]) = match &self.body {
            Body::Inline(_) => (UploadId::from_bytes([0; 16]), &[]),
            Body::Chunks { upload, chunks } => (*upload, chunks),
        };
        let sole = chunks.len() == 1;
        chunks.iter().enumerate().map(move |(index, chunk)| {
            let id = ChunkId {
                upload,
                part: index as u32 + 1,
            };
            PlacedChunk {
                id,
                key: chunk_key(name, id, sole),
                size: chunk.size,
                root: chunk.root,
            }
        })
    }
}

/// The key that places a chunk; `sole` when its file has no other.
pub fn chunk_key(name: &FileName, id: ChunkId, sole: bool) -> Id {
    if sole {
        Id::of_file(name)
    } else {
        Id::of_part(name, id.part, &id.upload)
    }
}

/// A chunk with everything that is needed to find and check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedChunk {
    /// Its name.
    pub id: ChunkId,
    /// The key that places it.
    pub key: Id,
    /// Bytes.
    pub size: u32,
    /// What its blocks hash to.
    pub root: Root,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::KeptHeader;

    /// Manifests as 0.1.0 wrote them: one in one piece, and one of one chunk.
    const INLINE_0_1_0: &str = "\
        87a776657273696f6e03a465746167b2332d30303131323233333434353536363737a473697a6505ab6d6f64\
        69666965645f6d73cf0000019f655946dcac636f6e74656e745f74797065aa746578742f706c61696ea46d65\
        74619392a6636f6c6f7572a973656120677265656e92a16ea13192a16ea132a4626f647981a6496e6c696e65\
        c40568656c6c6f";
    const CHUNKED_0_1_0: &str = "\
        87a776657273696f6e03a465746167b2332d30303131323233333434353536363737a473697a6505ab6d6f64\
        69666965645f6d73cf0000019f655946dcac636f6e74656e745f74797065c0a46d65746190a4626f647981a6\
        4368756e6b7382a675706c6f6164c41007070707070707070707070707070707a66368756e6b739182a47369\
        7a6509a4726f6f74c4200505050505050505050505050505050505050505050505050505050505050505";

    /// A manifest as 0.1.0 knows it.
    #[derive(Debug, Serialize, Deserialize)]
    struct Earlier {
        version: u64,
        etag: String,
        size: u64,
        modified_ms: u64,
        content_type: Option<String>,
        meta: Vec<(String, String)>,
        body: Body,
    }

    fn read(hexadecimal: &str) -> (Vec<u8>, Manifest) {
        let bytes = hex::decode(hexadecimal).unwrap();
        let manifest = rmp_serde::from_slice(&bytes).unwrap();
        (bytes, manifest)
    }

    #[test]
    fn what_0_1_0_wrote_is_read_and_written_the_same() {
        let (bytes, manifest) = read(INLINE_0_1_0);
        assert_eq!(manifest.version, 3);
        assert_eq!(manifest.body, Body::Inline(Bytes::from_static(b"hello")));
        let own: Vec<_> = manifest.meta.custom().collect();
        assert_eq!(own, [("colour", "sea green"), ("n", "1"), ("n", "2")]);
        assert_eq!(manifest.meta.header(KeptHeader::CacheControl), None);
        assert_eq!(rmp_serde::to_vec_named(&manifest).unwrap(), bytes);
        let (bytes, manifest) = read(CHUNKED_0_1_0);
        assert!(matches!(&manifest.body, Body::Chunks { chunks, .. } if chunks.len() == 1));
        assert_eq!(manifest.meta, Metadata::default());
        assert_eq!(rmp_serde::to_vec_named(&manifest).unwrap(), bytes);
    }

    #[test]
    fn what_0_1_0_does_not_know_comes_back_from_it() {
        let (_, mut manifest) = read(INLINE_0_1_0);
        for header in KeptHeader::ALL {
            manifest.meta.set(header, header.name());
        }
        let sent = rmp_serde::to_vec_named(&manifest).unwrap();
        let there: Earlier = rmp_serde::from_slice(&sent).unwrap();
        let back = rmp_serde::to_vec_named(&there).unwrap();
        assert_eq!(rmp_serde::from_slice::<Manifest>(&back).unwrap(), manifest);
        let shown = there.meta.iter().filter(|(name, _)| !name.starts_with(':'));
        assert_eq!(shown.count(), 3, "the rest is no name of a header");
    }
}
