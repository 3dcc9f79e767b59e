//! The tables of `meta.redb`.

use redb::TableDefinition;

/// The tables. All keys and values are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum T {
    /// Single values: identity, boot number, view.
    Meta,
    /// Name → head of the accepted value.
    Registers,
    /// Key and name of every register.
    Keys,
    /// Name → promised ballot.
    Promises,
    /// Name → head of a value that once was a register.
    Hints,
    /// Name, NUL, hash of the body, piece → bytes of an inline body.
    Bodies,
    /// Chunk → what is known of it.
    Chunks,
    /// Name, NUL, chunk.
    ChunkNames,
    /// Chunk → what was known of it before it was lost.
    Missing,
    /// Dropped file → what is known of it.
    Dropped,
}

impl T {
    pub(in crate::store) const ALL: [T; 10] = [
        T::Meta,
        T::Registers,
        T::Keys,
        T::Promises,
        T::Hints,
        T::Bodies,
        T::Chunks,
        T::ChunkNames,
        T::Missing,
        T::Dropped,
    ];

    pub(in crate::store) fn definition(
        self,
    ) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            T::Meta => "meta",
            T::Registers => "registers",
            T::Keys => "keys",
            T::Promises => "promises",
            T::Hints => "hints",
            T::Bodies => "bodies",
            T::Chunks => "chunks",
            T::ChunkNames => "chunk_names",
            T::Missing => "missing",
            T::Dropped => "dropped",
        })
    }

    /// Goes into the checksum of a record: it moves as it is between tables of one kind.
    pub(in crate::store) fn kind(self) -> u8 {
        match self {
            T::Meta => 1,
            T::Registers | T::Hints => 2,
            T::Promises => 3,
            T::Bodies => 4,
            T::Chunks | T::Missing => 5,
            T::Dropped => 6,
            T::Keys | T::ChunkNames => 7,
        }
    }
}
