//! Stands between a client's connection and the HTTP library, and lets heads
//! through one at a time, looked at.
//!
//! The library cuts a `#` and what follows off the target of a request, so that
//! another file would be hit; and what it refuses itself it refuses without a
//! word. So a head that cannot be let through is replaced by one that can, as the
//! last of its connection, and whoever answers it takes the problem from here.
//! To know where the next head begins, bodies are followed as the library follows
//! them: by their length, or chunk by chunk.
//!
//! Nor does the library learn that a client would like to go over to another protocol
//! (`Upgrade`, `CONNECT`). It would end such a connection as if somebody else had it
//! from then on: without sending the rest of its buffer, and with a reset that takes
//! the answer away from a client that is still sending.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::http::{StatusCode, Uri};
use bytes::{Buf, Bytes, BytesMut};
use chord_api::problem::{Kind, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunked::{Chunks, Malformed};
use crate::http::response::problem::invalid;

/// The most bytes of a head; a name of 1 024 bytes in escapes and 8 KiB of
/// metadata fit many times over.
pub(super) const HEAD_BYTES: usize = 120 * 1024;
/// The most header lines; 8 KiB of metadata may be in many short ones.
pub(super) const MAX_HEADERS: usize = 1024;
/// The longest target that the library takes.
const TARGET_BYTES: usize = u16::MAX as usize - 1;
const READ_BYTES: usize = 16 * 1024;

/// What is wrong with the last request of a connection, and which one that is,
/// counted from 1.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<(u64, Problem)>>>);

impl Fault {
    /// The problem of the request of this number.
    pub(super) fn of(&self, number: u64) -> Option<Problem> {
        let mut fault = self.0.lock().unwrap_or_else(|p| p.into_inner());
        fault.take_if(|(of, _)| *of == number).map(|(_, p)| p)
    }

    fn set(&self, number: u64, problem: Problem) {
        *self.0.lock().unwrap_or_else(|p| p.into_inner()) = Some((number, problem));
    }
}

/// A connection with a gate.
pub(super) struct Gate<S> {
    stream: S,
    fault: Fault,
    /// Heads that were let through.
    heads: u64,
    /// Read from the client and not looked at.
    ahead: BytesMut,
    /// Looked at, for the library.
    through: Bytes,
    at: At,
}

/// What the next bytes of `ahead` belong to.
#[derive(Debug, PartialEq, Eq)]
enum At {
    /// A head, of which so much has been searched for its end.
    Head(usize),
    /// A body of which so much is left.
    Length(u64),
    Chunks(Chunks),
    /// Nothing that the library shall see: the connection is to end.
    Refused,
    /// Behind the first byte of a body that is not in chunks as it said: why.
    Broken(&'static str),
}

/// The name of a header that asks for another protocol.
const UPGRADE: &str = "upgrade";
/// What stands in its place for the library: as long, and nobody looks for it.
const NO_UPGRADE: &[u8; UPGRADE.len()] = b"ignored";

/// What a head says of itself.
enum Head {
    /// Not whole yet.
    Partial,
    Whole(Whole),
    Bad(Problem),
}

/// A head that can be let through.
struct Whole {
    /// Bytes.
    length: usize,
    /// What comes behind it.
    next: At,
    /// Where in it the names of its `Upgrade` headers begin.
    upgrades: Vec<usize>,
}

/// Looks at a head as the library will.
fn parse_head(bytes: &[u8]) -> Head {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            let detail = format!(
                "the head of the request has more than {HEAD_BYTES} bytes or {MAX_HEADERS} header lines"
            );
            return Head::Bad(
                Problem::new(Kind::TooLarge, detail)
                    .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            );
        }
        Err(error) => return Head::Bad(invalid(format!("this is no HTTP/1.1 request: {error}"))),
    };
    if request.method == Some("CONNECT") {
        let detail = "CONNECT is not possible: this is no proxy";
        return Head::Bad(invalid(detail).with_status(StatusCode::NOT_IMPLEMENTED));
    }
    let target = request.path.unwrap_or_default();
    if target.len() > TARGET_BYTES {
        let detail = format!("the target of the request has more than {TARGET_BYTES} bytes");
        return Head::Bad(
            Problem::new(Kind::TooLarge, detail).with_status(StatusCode::URI_TOO_LONG),
        );
    }
    if target.contains('#') {
        return Head::Bad(invalid(
            "the target of the request has a # in it, which no target may have: write it as %23",
        ));
    }
    if Uri::try_from(target).is_err() {
        return Head::Bad(invalid("the target of the request cannot be read"));
    }
    let upgrades = request.headers.iter().map(|header| header.name);
    let upgrades = upgrades
        .filter(|name| name.eq_ignore_ascii_case(UPGRADE))
        .map(|name| name.as_ptr().addr() - bytes.as_ptr().addr())
        .collect();
    match framing(request.headers, request.version == Some(1)) {
        Ok(next) => Head::Whole(Whole {
            length,
            next,
            upgrades,
        }),
        Err(why) => Head::Bad(invalid(why)),
    }
}

/// What follows a head (RFC 9112, section 6.3).
fn framing(headers: &[httparse::Header<'_>], new: bool) -> Result<At, &'static str> {
    let mut chunked = None;
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = header.value.rsplit(|b| *b == b',').next();
            let last = last.unwrap_or_default().trim_ascii();
            chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse::<u64>().ok())
                .filter(|length| *length < u64::MAX - 2);
            if value.is_none() || length.is_some_and(|before| Some(before) != value) {
                return Err("the Content-Length is no number, or there are several that differ");
            }
            length = value;
        }
    }
    match chunked {
        Some(_) if !new => Err("HTTP/1.0 has no Transfer-Encoding"),
        Some(false) => Err("the last transfer coding of the body is not chunked"),
        Some(true) => Ok(At::Chunks(Chunks::new())),
        None => Ok(match length.unwrap_or(0) {
            0 => At::Head(0),
            length => At::Length(length),
        }),
    }
}

/// Whether a head may end in here, of which the first `searched` bytes are known
/// not to hold its end.
fn may_end(bytes: &[u8], searched: usize) -> bool {
    let fresh = &bytes[searched.saturating_sub(3)..];
    fresh.windows(2).any(|w| w == b"\n\n") || fresh.windows(3).any(|w| w == b"\n\r\n")
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, fault: Fault) -> Gate<S> {
        Gate {
            stream,
            fault,
            heads: 0,
            ahead: BytesMut::new(),
            through: Bytes::new(),
            at: At::Head(0),
        }
    }

    pub(super) fn inner(&self) -> &S {
        &self.stream
    }

    /// Refuses what comes: a request that the library takes stands for it.
    fn refuse(&mut self, problem: Problem) {
        self.heads += 1;
        self.fault.set(self.heads, problem);
        // Without a body in the answer where the client expects none.
        self.through = Bytes::from_static(match self.ahead.starts_with(b"HEAD ") {
            true => b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            false => b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        });
        self.ahead = BytesMut::new();
        self.at = At::Refused;
    }

    /// Moves what can be looked at from `ahead` to `through`.
    fn advance(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        match &mut self.at {
            At::Head(searched) => {
                let before = std::mem::replace(searched, self.ahead.len());
                let over = self.ahead.len() > HEAD_BYTES;
                if before > 0 && !over && !may_end(&self.ahead, before) {
                    return;
                }
                match parse_head(&self.ahead) {
                    Head::Partial => {}
                    Head::Whole(whole) => {
                        self.heads += 1;
                        let mut head = self.ahead.split_to(whole.length);
                        for at in whole.upgrades {
                            head[at..at + NO_UPGRADE.len()].copy_from_slice(NO_UPGRADE);
                        }
                        self.through = head.freeze();
                        self.at = whole.next;
                    }
                    Head::Bad(problem) => self.refuse(problem),
                }
            }
            At::Length(left) => {
                let now = self
                    .ahead
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.through = self.ahead.split_to(now).freeze();
                *left -= now as u64;
                if *left == 0 {
                    self.at = At::Head(0);
                }
            }
            At::Chunks(chunks) => match chunks.follow(&self.ahead) {
                Ok(used) => {
                    self.through = self.ahead.split_to(used).freeze();
                    if chunks.ended() {
                        self.at = At::Head(0);
                    }
                }
                Err(Malformed { at, why }) => {
                    self.through = self.ahead.split_to(at).freeze();
                    self.at = At::Broken(why);
                }
            },
            At::Broken(_) => {}
            At::Refused => self.ahead.clear(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A task may not read for ever without letting others run.
        for _ in 0..16 {
            if this.through.is_empty() {
                this.advance();
            }
            if !this.through.is_empty() {
                let now = this.through.len().min(out.remaining());
                out.put_slice(&this.through[..now]);
                this.through.advance(now);
                return Poll::Ready(Ok(()));
            }
            if let At::Broken(why) = this.at {
                // The body ends with an error, and nothing is read behind it.
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            // What is left of a long body needs no copy.
            if let (At::Length(left), true) = (&mut this.at, this.ahead.is_empty())
                && *left >= out.remaining() as u64
            {
                let before = out.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(cx, out))?;
                *left -= (out.filled().len() - before) as u64;
                if *left == 0 {
                    this.at = At::Head(0);
                }
                return Poll::Ready(Ok(()));
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // The end, also of a head that is not whole: the library says so.
                let now = this.ahead.len().min(out.remaining());
                out.put_slice(&this.ahead.split_to(now));
                return Poll::Ready(Ok(()));
            }
            this.ahead.extend_from_slice(read.filled());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    /// What is let through of these bytes, and the fault.
    async fn through(bytes: &[u8]) -> (Vec<u8>, Option<(u64, Problem)>) {
        let fault = Fault::default();
        let mut gate = Gate::new(bytes, fault.clone());
        let mut all = Vec::new();
        gate.read_to_end(&mut all).await.unwrap();
        let fault = fault.0.lock().unwrap().take();
        (all, fault)
    }

    #[tokio::test]
    async fn the_head_behind_any_body_is_looked_at() {
        for before in [
            "",
            "\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "PUT /a HTTP/1.1\r\ncontent-length: 5\r\n\r\na # b",
            "PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
            "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nB;x=\"#\"\r\nhello GET /\r\n00\r\na: b\r\nc: #\r\n\r\n",
        ] {
            let good = format!("{before}GET /b HTTP/1.1\r\n\r\n");
            let (all, fault) = through(good.as_bytes()).await;
            assert_eq!(String::from_utf8(all).unwrap(), good);
            assert!(fault.is_none(), "{before}");
            let bad = format!("{before}DELETE /vic#x HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n");
            let (all, fault) = through(bad.as_bytes()).await;
            assert!(!String::from_utf8(all).unwrap().contains("vic"), "{before}");
            let number = if before.len() > 2 { 2 } else { 1 };
            assert_eq!(
                fault.map(|(of, p)| (of, p.kind)),
                Some((number, Kind::InvalidRequest))
            );
        }
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_head(&bytes);
        }
    }
}
