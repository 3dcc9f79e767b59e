//! The way to the other nodes, as the rest of the node sees it. [`PeerClient`] goes
//! over HTTP; a simulator can pass messages in memory.

use std::ops::Range;

use bytes::Bytes;
use chord_ring::wire::RingExchange;
use chord_types::report::NodeReport;
use chord_types::{ChunkId, Ordinal, View};
use futures::future::{BoxFuture, FutureExt};

use super::PeerError;
use super::client::{PeerClient, RawBlocks, RingAnswer};
use super::wire::{Answer, Call, ChunkHeader};

/// Carries what this node says to another, and what that one answers. Each request
/// ends within a time limit of its own.
pub trait Transport: Send + Sync {
    /// One request and its answer.
    fn call<'a>(&'a self, to: Ordinal, call: &'a Call) -> BoxFuture<'a, Result<Answer, PeerError>>;

    /// One exchange of ring messages, and what came back.
    fn ring<'a>(
        &'a self,
        to: Ordinal,
        exchange: &'a RingExchange,
    ) -> BoxFuture<'a, Result<RingAnswer, PeerError>>;

    /// The view that a node holds.
    fn view(&self, from: Ordinal) -> BoxFuture<'_, Result<View, PeerError>>;

    /// Gives a node a view.
    fn push_view<'a>(&'a self, to: Ordinal, view: &'a View)
    -> BoxFuture<'a, Result<(), PeerError>>;

    /// A node's report.
    fn report(&self, from: Ordinal) -> BoxFuture<'_, Result<NodeReport, PeerError>>;

    /// Stores a chunk: the pieces are its payload. Success is a receipt.
    fn put_chunk<'a>(
        &'a self,
        to: Ordinal,
        header: &'a ChunkHeader,
        pieces: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Blocks of a chunk as its holder sends them, with its `hashes` block hashes;
    /// nothing of it is verified.
    fn get_blocks(
        &self,
        holder: Ordinal,
        chunk: ChunkId,
        blocks: Range<u32>,
        hashes: usize,
    ) -> BoxFuture<'_, Result<RawBlocks, PeerError>>;
}

impl Transport for PeerClient {
    fn call<'a>(&'a self, to: Ordinal, call: &'a Call) -> BoxFuture<'a, Result<Answer, PeerError>> {
        PeerClient::call(self, to, call).boxed()
    }

    fn ring<'a>(
        &'a self,
        to: Ordinal,
        exchange: &'a RingExchange,
    ) -> BoxFuture<'a, Result<RingAnswer, PeerError>> {
        PeerClient::ring(self, to, exchange).boxed()
    }

    fn view(&self, from: Ordinal) -> BoxFuture<'_, Result<View, PeerError>> {
        PeerClient::view(self, from).boxed()
    }

    fn push_view<'a>(
        &'a self,
        to: Ordinal,
        view: &'a View,
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        PeerClient::push_view(self, to, view).boxed()
    }

    fn report(&self, from: Ordinal) -> BoxFuture<'_, Result<NodeReport, PeerError>> {
        PeerClient::report(self, from).boxed()
    }

    fn put_chunk<'a>(
        &'a self,
        to: Ordinal,
        header: &'a ChunkHeader,
        pieces: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        PeerClient::put_chunk(self, to, header, pieces).boxed()
    }

    fn get_blocks(
        &self,
        holder: Ordinal,
        chunk: ChunkId,
        blocks: Range<u32>,
        hashes: usize,
    ) -> BoxFuture<'_, Result<RawBlocks, PeerError>> {
        PeerClient::get_blocks(self, holder, chunk, blocks, hashes).boxed()
    }
}
