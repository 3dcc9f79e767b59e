//! Asking other nodes: one HTTP client, one set of time limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord_api::client::{NOT_UNDERSTOOD, bearer, builder};
use chord_types::protocol::{SPEAKS, WRITTEN_IN};
use chord_types::report::NodeReport;
use chord_types::{ChunkId, Ordinal, ProtocolVersion, Speaks, View};
use futures::{Stream, StreamExt};
use http::StatusCode;
// Held for a look at a map, never while anything is awaited.
use parking_lot::Mutex;

use super::address::AddressBook;
use super::error::{Misread, NotUnderstood, PeerError};
use super::wire::{Call, ChunkHeader, Refusal, Reply};
use chord_ring::wire::RingExchange;

/// How long one small exchange may take.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long a chunk may take from its first byte to its receipt.
const CHUNK_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 << 10;

/// Talks to the peer ports of other nodes.
pub struct PeerClient {
    http: reqwest::Client,
    secret: String,
    book: Arc<AddressBook>,
    /// The versions of the protocol in each node's last answer.
    speaks: Mutex<BTreeMap<Ordinal, Speaks>>,
}

/// An answer of the ring, neither read nor believed.
pub struct RingAnswer {
    /// As they came, not read.
    pub bytes: Bytes,
    /// The versions that its sender says it speaks; 0.1.0 says none.
    pub speaks: Option<Speaks>,
}

/// A chunk's blocks as a holder sent them, not yet verified.
pub struct RawBlocks {
    /// Of all blocks of the chunk, BLAKE3.
    pub hashes: Vec<[u8; 32]>,
    /// The blocks that were asked for.
    pub data: Bytes,
}

impl PeerClient {
    /// A client for one cluster.
    pub fn new(secret: String, book: Arc<AddressBook>) -> Result<PeerClient, reqwest::Error> {
        let http = builder::between_nodes()?;
        Ok(PeerClient {
            http,
            secret,
            book,
            speaks: Mutex::new(BTreeMap::new()),
        })
    }

    /// The versions of the protocol that a node said it speaks in its last answer;
    /// `None`: it has not answered yet.
    pub fn speaks(&self, ordinal: Ordinal) -> Option<Speaks> {
        self.speaks.lock().get(&ordinal).copied()
    }

    fn url(&self, to: Ordinal, path: &str) -> Result<String, PeerError> {
        let address = self.book.find(to).ok_or(PeerError::NoAddress(to))?;
        Ok(format!("{}{path}", address.peer))
    }

    async fn send(
        &self,
        to: Ordinal,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, PeerError> {
        let written = Speaks::to_write(self.speaks(to));
        let response = request
            .header(http::header::AUTHORIZATION, bearer(&self.secret))
            .header(WRITTEN_IN, written.0)
            .send()
            .await
            .map_err(|e| PeerError::unreached(to, e))?;
        let said = said(&response);
        let status = response.status();
        if status.is_success() {
            self.learn(to, said);
            return Ok(response);
        }
        let body = collect(to, response.bytes_stream(), 0, MAX_REFUSAL).await;
        let body = body.unwrap_or_default();
        let refusal = rmp_serde::from_slice::<Refusal>(&body);
        // What stands between may answer, too: that says nothing of the node.
        if said.is_some() || refusal.is_ok() {
            self.learn(to, said);
        }
        let not_understood = |why| {
            let speaks = said.unwrap_or_default();
            let what = NotUnderstood {
                by: to,
                written,
                speaks,
                why,
            };
            Err(PeerError::NotUnderstood(to, what))
        };
        match refusal {
            _ if status == NOT_UNDERSTOOD && said.is_some() => {
                not_understood(String::from_utf8_lossy(&body).into_owned())
            }
            // To whom speaks the first version it is said as 0.1.0 says it.
            Ok(Refusal::Failed(why))
                if status == StatusCode::BAD_REQUEST && written < ProtocolVersion::NAMED =>
            {
                not_understood(why.to_string())
            }
            Ok(refusal) => Err(PeerError::Refused(to, refusal)),
            Err(_) => Err(PeerError::Unreadable(to, Misread::Status(status))),
        }
    }

    /// The last answer counts: a node may have been brought to another release, forth
    /// or back, since the one before.
    fn learn(&self, of: Ordinal, said: Option<Speaks>) {
        let speaks = said.unwrap_or_default();
        let before = self.speaks.lock().insert(of, speaks);
        if before == Some(speaks) {
            return;
        }
        match Speaks::OURS.apart("this node", &speaks, &format!("node {of}")) {
            Some(remedy) => tracing::warn!(node = of.0, "{remedy}"),
            None => tracing::debug!(node = of.0, %speaks, "a node's versions of the protocol"),
        }
    }

    async fn exchange<T: serde::de::DeserializeOwned>(
        &self,
        to: Ordinal,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, PeerError> {
        let url = self.url(to, path)?;
        let response = self
            .send(to, self.http.post(url).timeout(CALL_LIMIT).body(body))
            .await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|e| PeerError::Unreachable(to, e))?;
        rmp_serde::from_slice(&bytes).map_err(|e| PeerError::Unreadable(to, e.into()))
    }

    /// One request and its answer.
    pub async fn call(&self, to: Ordinal, call: &Call) -> Result<super::wire::Answer, PeerError> {
        let body = encode(to, call)?;
        self.exchange::<Reply>(to, "/peer/call", body)
            .await?
            .map_err(|refusal| PeerError::Refused(to, refusal))
    }

    /// One exchange of ring messages, and what came back.
    pub async fn ring(
        &self,
        to: Ordinal,
        exchange: &RingExchange,
    ) -> Result<RingAnswer, PeerError> {
        let body = encode(to, exchange)?;
        let request = self.http.post(self.url(to, "/peer/ring")?);
        let response = self
            .send(to, request.timeout(CALL_LIMIT).body(body))
            .await?;
        let speaks = said(&response);
        let length = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(0);
        let body = response.bytes_stream();
        let bytes = collect(to, body, length, super::ring::MAX_BODY).await?;
        Ok(RingAnswer { bytes, speaks })
    }

    /// The view that a node holds.
    pub async fn view(&self, from: Ordinal) -> Result<View, PeerError> {
        let url = self.url(from, "/peer/view")?;
        let response = self
            .send(from, self.http.get(url).timeout(CALL_LIMIT))
            .await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|e| PeerError::Unreachable(from, e))?;
        View::decode(&bytes).map_err(|e| PeerError::Unreadable(from, e.into()))
    }

    /// Gives a node a view.
    pub async fn push_view(&self, to: Ordinal, view: &View) -> Result<(), PeerError> {
        let url = self.url(to, "/peer/view")?;
        self.send(
            to,
            self.http.put(url).timeout(CALL_LIMIT).body(view.encode()),
        )
        .await
        .map(|_| ())
    }

    /// A node's report.
    pub async fn report(&self, from: Ordinal) -> Result<NodeReport, PeerError> {
        let url = self.url(from, "/peer/report")?;
        let response = self
            .send(from, self.http.get(url).timeout(CALL_LIMIT))
            .await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|e| PeerError::Unreachable(from, e))?;
        serde_json::from_slice(&bytes).map_err(|e| PeerError::Unreadable(from, e.into()))
    }

    /// Stores a chunk: the pieces are its payload. Success is a receipt.
    pub async fn put_chunk(
        &self,
        to: Ordinal,
        header: &ChunkHeader,
        pieces: Vec<Bytes>,
    ) -> Result<(), PeerError> {
        let url = self.url(to, "/peer/chunk")?;
        let head = hex::encode(encode(to, header)?);
        let body = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        let request = self
            .http
            .put(url)
            .timeout(CHUNK_LIMIT)
            .header("x-chord-chunk", head)
            .header(http::header::CONTENT_LENGTH, header.chunk.size)
            .body(reqwest::Body::wrap_stream(body));
        self.send(to, request).await.map(|_| ())
    }

    /// Blocks `from..upto` of a chunk, with all its block hashes.
    pub async fn get_blocks(
        &self,
        holder: Ordinal,
        chunk: ChunkId,
        blocks: std::ops::Range<u32>,
        hashes: usize,
    ) -> Result<RawBlocks, PeerError> {
        let path = format!(
            "/peer/chunk/{}/{}?from={}&upto={}",
            chunk.upload, chunk.part, blocks.start, blocks.end
        );
        let url = self.url(holder, &path)?;
        let response = self
            .send(holder, self.http.get(url).timeout(CHUNK_LIMIT))
            .await?;
        let limit = hashes * 32 + blocks.len() * chord_types::blocks::BLOCK_BYTES;
        let mut body = collect(holder, response.bytes_stream(), limit, limit).await?;
        if body.len() < hashes * 32 {
            return Err(PeerError::Unreadable(holder, Misread::TooShort));
        }
        let head = body.split_to(hashes * 32);
        let hashes = head
            .chunks_exact(32)
            .map(|c| {
                let mut hash = [0u8; 32];
                hash.copy_from_slice(c);
                hash
            })
            .collect();
        Ok(RawBlocks { hashes, data: body })
    }
}

/// What an answer says of the versions that its sender speaks.
fn said(response: &reqwest::Response) -> Option<Speaks> {
    Speaks::of_header(response.headers().get(SPEAKS).map(|v| v.as_bytes()))
}

async fn collect(
    from: Ordinal,
    mut body: impl Stream<Item = reqwest::Result<Bytes>> + Unpin,
    expected: usize,
    limit: usize,
) -> Result<Bytes, PeerError> {
    let mut out = bytes::BytesMut::with_capacity(expected.min(limit).min(4 << 20));
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| PeerError::Unreachable(from, e))?;
        if out.len() + piece.len() > limit {
            return Err(PeerError::Unreadable(from, Misread::TooLong));
        }
        out.extend_from_slice(&piece);
    }
    Ok(out.freeze())
}

fn encode<T: serde::Serialize>(to: Ordinal, value: &T) -> Result<Vec<u8>, PeerError> {
    rmp_serde::to_vec_named(value).map_err(|e| PeerError::Unwritable(to, e))
}
