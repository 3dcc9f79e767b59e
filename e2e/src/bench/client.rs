//! The client that measures: HTTP/1.1 with connections that are kept, one to each
//! server, taken in turn. Every byte that it reads is compared with what was
//! written; an answer that is not as it must be ends the bench.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::traffic::content::mix;

/// How long one request may take before the bench gives up.
const ONE_REQUEST: Duration = Duration::from_secs(120);
/// Answers other than files are not longer.
const MAX_ANSWER: usize = 8 << 20;

/// Bytes that all contents are cut out of: comparing with them costs next to
/// nothing, making them anew for every file would cost more than the transfer.
#[derive(Clone)]
pub struct Source(Bytes);

impl Default for Source {
    fn default() -> Source {
        let mut bytes = Vec::with_capacity(17 << 20);
        let mut state = 0x0123_4567_89ab_cdef_u64;
        while bytes.len() < 17 << 20 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            bytes.extend_from_slice(&mix(state).to_le_bytes());
        }
        Source(bytes.into())
    }
}

impl Source {
    /// The contents of a file, other ones for each file.
    pub fn file(&self, set: &FileSet, index: usize) -> Bytes {
        let room = (self.0.len() - set.size) as u64;
        let salt = set
            .prefix
            .bytes()
            .fold(7, |state, byte| mix(state ^ u64::from(byte)));
        let from = (mix(salt ^ index as u64) % room) as usize;
        self.0.slice(from..from + set.size)
    }
}

/// Files of one size with numbered names.
#[derive(Clone, Debug)]
pub struct FileSet {
    pub prefix: String,
    pub size: usize,
}

impl FileSet {
    pub fn new(prefix: impl Into<String>, size: usize) -> FileSet {
        FileSet {
            prefix: prefix.into(),
            size,
        }
    }

    pub fn name(&self, index: usize) -> String {
        format!("{}{index:06}", self.prefix)
    }
}

/// The paths under which a server has the files of a set.
#[derive(Clone)]
pub enum Paths {
    /// Their names below this.
    Below(&'static str),
    /// Signed, which is done before the clock is started, and good for this host only.
    Signed { host: String, paths: Arc<[String]> },
}

impl Paths {
    /// Where chord has files.
    pub const FILES: Paths = Paths::Below("/files/");

    fn of(&self, set: &FileSet, index: usize) -> Result<Cow<'_, str>> {
        match self {
            Paths::Below(folder) => Ok(format!("{folder}{}", set.name(index)).into()),
            Paths::Signed { paths, .. } => {
                let path = paths.get(index).with_context(|| {
                    let name = set.name(index);
                    format!("{} requests were signed, none for {name}", paths.len())
                })?;
                Ok(path.into())
            }
        }
    }

    fn host(&self) -> Option<&str> {
        match self {
            Paths::Below(_) => None,
            Paths::Signed { host, .. } => Some(host),
        }
    }
}

/// A connection that is kept.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    address: SocketAddr,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        Connection::open_as(address, None).await
    }

    /// Opens one and calls the server by another name than its address.
    async fn open_as(address: SocketAddr, host: Option<&str>) -> Result<Connection> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for the answer is told too.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            host: host.map_or_else(|| address.to_string(), str::to_string),
            address,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host);
        let request = request.body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Stores a file.
    pub async fn put(&mut self, path: &str, body: Bytes) -> Result<()> {
        let sending = async {
            let response = self.send(Method::PUT, path, body).await?;
            let status = response.status();
            let body = short(response).await?;
            let stored = status == StatusCode::CREATED || status == StatusCode::OK;
            ensure!(stored, "{status}: {}", String::from_utf8_lossy(&body));
            Ok(())
        };
        within(sending)
            .await
            .with_context(|| format!("PUT {} at {}", plain(path), self.address))
    }

    /// Reads a file, which must have these contents.
    pub async fn get(&mut self, path: &str, wanted: &Bytes) -> Result<()> {
        let reading = async {
            let response = self.send(Method::GET, path, Bytes::new()).await?;
            let status = response.status();
            if status != StatusCode::OK {
                bail!(
                    "{status}: {}",
                    String::from_utf8_lossy(&short(response).await?)
                );
            }
            let mut body = response.into_body();
            let mut at = 0;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else {
                    continue;
                };
                let same = wanted
                    .get(at..at + data.len())
                    .is_some_and(|w| w == &data[..]);
                ensure!(
                    same,
                    "the bytes from {at} to {} are not what was written",
                    at + data.len()
                );
                at += data.len();
            }
            ensure!(at == wanted.len(), "{at} of {} bytes came", wanted.len());
            Ok(())
        };
        within(reading)
            .await
            .with_context(|| format!("GET {} at {}", plain(path), self.address))
    }

    /// A short answer, which must be 200.
    pub async fn ask(&mut self, path: &str) -> Result<Bytes> {
        let asking = async {
            let response = self.send(Method::GET, path, Bytes::new()).await?;
            let status = response.status();
            let body = short(response).await?;
            ensure!(
                status == StatusCode::OK,
                "{status}: {}",
                String::from_utf8_lossy(&body)
            );
            Ok(body)
        };
        within(asking)
            .await
            .with_context(|| format!("GET {} at {}", plain(path), self.address))
    }
}

/// Requests that must not find anything.
impl Connection {
    pub async fn missing(&mut self, path: &str) -> Result<()> {
        let asking = async {
            let response = self.send(Method::GET, path, Bytes::new()).await?;
            let status = response.status();
            short(response).await?;
            ensure!(status == StatusCode::NOT_FOUND, "{status}");
            Ok(())
        };
        within(asking)
            .await
            .with_context(|| format!("GET {} at {}", plain(path), self.address))
    }
}

async fn within<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(ONE_REQUEST, request).await;
    answer.with_context(|| format!("no answer after {} s", ONE_REQUEST.as_secs()))?
}

async fn short(response: Response<Incoming>) -> Result<Bytes> {
    let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    Ok(body
        .map_err(|e| anyhow::anyhow!("reading the answer: {e}"))?
        .to_bytes())
}

/// A path without its signature, which tells nobody anything.
fn plain(path: &str) -> &str {
    match path.split_once('?') {
        Some((plain, query)) if query.contains("X-Amz-Signature") => plain,
        _ => path,
    }
}

/// What clients do, again and again.
pub trait Work: Send + Sync + 'static {
    /// The name that servers are called by, where it is not their address.
    fn host(&self) -> Option<&str> {
        None
    }

    fn run(
        &self,
        connection: &mut Connection,
        index: usize,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// When to stop: after so many requests, or at the end of the time.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    pub requests: usize,
    pub time: Duration,
}

impl Until {
    pub fn requests(requests: usize) -> Until {
        Until {
            requests,
            time: Duration::from_secs(600),
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub requests: usize,
    pub begun: Option<Instant>,
    pub took: Duration,
    /// Milliseconds, sorted.
    pub latencies: Vec<f64>,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Lets `clients` work, each on connections of its own that stand before the clock
/// is started.
pub async fn load<W: Work>(
    servers: &[SocketAddr],
    clients: usize,
    until: Until,
    work: W,
) -> Result<Done> {
    ensure!(!servers.is_empty(), "there is no server");
    let mut all = Vec::new();
    for client in 0..clients {
        let mut connections = Vec::new();
        for server in servers {
            connections.push(Connection::open_as(*server, work.host()).await?);
        }
        // Not all of them at the same node first.
        connections.rotate_left(client % servers.len());
        all.push(connections);
    }
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connections in all {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for turn in 0.. {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= until.requests || begun.elapsed() >= until.time {
                    break;
                }
                let count = connections.len();
                let sent = Instant::now();
                work.run(&mut connections[turn % count], index).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended??);
    }
    let took = begun.elapsed();
    ensure!(!latencies.is_empty(), "no request was made");
    latencies.sort_by(f64::total_cmp);
    Ok(Done {
        requests: latencies.len(),
        begun: Some(begun),
        took,
        latencies,
    })
}

/// Stores the files of a set, each once.
pub struct Puts {
    pub source: Source,
    pub set: FileSet,
    pub paths: Paths,
}

impl Work for Puts {
    fn host(&self) -> Option<&str> {
        self.paths.host()
    }

    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let body = self.source.file(&self.set, index);
        connection
            .put(&self.paths.of(&self.set, index)?, body)
            .await
    }
}

/// Reads the first `count` files of a set, again and again.
pub struct Gets {
    pub source: Source,
    pub set: FileSet,
    pub count: usize,
    pub paths: Paths,
}

impl Work for Gets {
    fn host(&self) -> Option<&str> {
        self.paths.host()
    }

    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let index = index % self.count;
        let wanted = self.source.file(&self.set, index);
        connection
            .get(&self.paths.of(&self.set, index)?, &wanted)
            .await
    }
}

/// Lists a set of files: one page, whose names are compared.
pub struct Lists {
    pub set: FileSet,
    pub count: usize,
}

impl Work for Lists {
    async fn run(&self, connection: &mut Connection, _: usize) -> Result<()> {
        let path = format!("/files?prefix={}&limit={}", self.set.prefix, self.count);
        let page: chord_api::http::FileList =
            serde_json::from_slice(&connection.ask(&path).await?)?;
        let as_written = page.files.len() == self.count
            && page.files.iter().enumerate().all(|(index, file)| {
                file.name == self.set.name(index) && file.size == self.set.size as u64
            });
        ensure!(
            as_written,
            "{path} lists {} files, and not the {} that were written",
            page.files.len(),
            self.count
        );
        Ok(())
    }
}

/// Has every copy of every file of a set checked.
pub struct Verifies {
    pub set: FileSet,
}

impl Work for Verifies {
    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let name = self.set.name(index);
        let answer = connection.ask(&format!("/verify?name={name}")).await?;
        let check: chord_api::http::Verification = serde_json::from_slice(&answer)?;
        ensure!(
            check.ok && check.size == self.set.size as u64,
            "not every copy of {name} is whole: {:?}",
            check.copies
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_path_that_its_server_wants() {
        let set = FileSet::new("small/", 1);
        let below = Paths::FILES;
        assert_eq!(below.of(&set, 7).unwrap(), "/files/small/000007");
        assert_eq!(below.host(), None);
        let signed = Paths::Signed {
            host: "here".into(),
            paths: Arc::new(["/b/small/000000?X-Amz-Signature=1".to_string()]),
        };
        assert_eq!(
            signed.of(&set, 0).unwrap(),
            "/b/small/000000?X-Amz-Signature=1"
        );
        assert_eq!(signed.host(), Some("here"));
        let error = signed.of(&set, 1).unwrap_err().to_string();
        assert!(error.contains("small/000001"), "{error}");
    }

    #[test]
    fn errors_tell_no_signatures() {
        assert_eq!(plain("/b/k?X-Amz-Date=1&X-Amz-Signature=ab"), "/b/k");
        assert_eq!(plain("/files?prefix=a"), "/files?prefix=a");
    }
}
