//! What the machine can do without us, measured in the same run: synced writes to
//! the same file system, and a plain file server for reads.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::client::{FileSet, Source};

/// Bytes of one file of the raw writes: a chunk's.
pub const RAW_BYTES: usize = 4 << 20;
/// Copies of every byte.
pub const COPIES: usize = 3;
/// Bytes that the file server reads at a time.
const READ_BYTES: usize = 256 * 1024;
/// Connections that the file server takes at once.
const CONNECTIONS: usize = 64;

/// Writes `chunks` files of 4 MiB three times, each synced and its folder too, by
/// `writers` at once; the files are removed after the clock has stopped.
pub fn synced_copies(
    dir: &Path,
    source: &Source,
    chunks: usize,
    writers: usize,
) -> Result<Duration> {
    let folder = |copy: usize| dir.join(format!("raw-{copy}"));
    for copy in 0..COPIES {
        std::fs::create_dir_all(folder(copy)).context("making a folder for raw writes")?;
    }
    let next = AtomicUsize::new(0);
    let set = FileSet::new("raw/", RAW_BYTES);
    let write = || -> std::io::Result<()> {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let (index, folder) = (turn / COPIES, folder(turn % COPIES));
            if index >= chunks {
                return Ok(());
            }
            let mut file = std::fs::File::create_new(folder.join(index.to_string()))?;
            file.write_all(&source.file(&set, index))?;
            file.sync_all()?;
            std::fs::File::open(&folder)?.sync_all()?;
        }
    };
    let begun = Instant::now();
    let results: Vec<std::io::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        let died = || std::io::Error::other("a writer died");
        let joined = threads.into_iter().map(|t| t.join());
        joined
            .map(|ended| ended.unwrap_or_else(|_| Err(died())))
            .collect()
    });
    let took = begun.elapsed();
    for copy in 0..COPIES {
        std::fs::remove_dir_all(folder(copy)).context("removing raw writes")?;
    }
    let written: std::io::Result<()> = results.into_iter().collect();
    written.context("raw writes").map(|()| took)
}

/// Appends of 4 KiB with a sync of the data after every `group` of them, a second.
pub fn synced_appends(dir: &Path, source: &Source, group: usize, time: Duration) -> Result<f64> {
    const MOST: usize = 200_000;
    let path = dir.join("raw-log");
    let bytes = source.file(&FileSet::new("log/", 4096), 0);
    let mut file = std::fs::File::options()
        .create_new(true)
        .append(true)
        .open(&path)
        .context("making a raw log")?;
    let begun = Instant::now();
    let mut done = 0;
    while done < MOST && begun.elapsed() < time {
        for _ in 0..group {
            file.write_all(&bytes).context("appending to the raw log")?;
        }
        file.sync_data().context("syncing the raw log")?;
        done += group;
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path).context("removing the raw log")?;
    Ok(rate)
}

/// A plain file server in a process of its own; it ends with this.
pub struct FileServer {
    _child: Child,
    /// Where it answers.
    pub address: SocketAddr,
}

impl FileServer {
    /// Starts one for a folder with the files of a set, which are in the page cache.
    pub async fn start(
        dir: &Path,
        source: &Source,
        set: &FileSet,
        count: usize,
    ) -> Result<FileServer> {
        std::fs::create_dir_all(dir)?;
        for index in 0..count {
            std::fs::write(dir.join(set.name(index)), source.file(set, index))
                .context("writing files to serve")?;
        }
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .arg("file-server")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the file server")?;
        let stdout = child
            .stdout
            .take()
            .context("the file server has no output")?;
        let line = tokio::time::timeout(
            Duration::from_secs(20),
            BufReader::new(stdout).lines().next_line(),
        )
        .await;
        let line = line
            .context("the file server does not listen")??
            .context("the file server has ended")?;
        Ok(FileServer {
            _child: child,
            address: line.trim().parse().context("the file server's address")?,
        })
    }
}

/// The file server: says where it listens, and ends with its standard input.
pub async fn serve(dir: PathBuf) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("listening")?;
    println!("{}", listener.local_addr()?);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await?;
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let dir = dir.clone();
            tokio::spawn(async move {
                let _slot = slot;
                let service = service_fn(move |request| answer(dir.clone(), request));
                // A client that goes away is no concern of ours.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
        #[expect(unreachable_code, reason = "it says the type of the block")]
        anyhow::Ok(())
    };
    let mut end = [0u8; 1];
    let mut stdin = tokio::io::stdin();
    tokio::select! {
        failed = accept => failed,
        _ = stdin.read(&mut end) => Ok(()),
    }
}

type FileBody = StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>;

async fn answer(dir: PathBuf, request: Request<Incoming>) -> Result<Response<FileBody>> {
    let name = request.uri().path().trim_start_matches('/').to_string();
    let opened = || -> Result<(std::fs::File, u64)> {
        ensure!(
            !name.contains('/') && !name.starts_with('.'),
            "no such name"
        );
        let file = std::fs::File::open(dir.join(&name))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let Ok((file, length)) = opened() else {
        let mut missing = Response::new(StreamBody::new(futures::stream::empty().boxed()));
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(missing);
    };
    // Reads from the page cache do not wait, so no other thread is asked.
    let pieces = futures::stream::unfold((file, 0u64), move |(file, at)| async move {
        let now = usize::try_from(length - at)
            .unwrap_or(READ_BYTES)
            .min(READ_BYTES);
        if now == 0 {
            return None;
        }
        let mut buffer = vec![0; now];
        let read = file
            .read_exact_at(&mut buffer, at)
            .map(|()| Frame::data(Bytes::from(buffer)));
        Some((read, (file, at + now as u64)))
    });
    let mut found = Response::new(StreamBody::new(pieces.boxed()));
    found.headers_mut().insert(CONTENT_LENGTH, length.into());
    Ok(found)
}
