//! One connection that is kept: requests whose answers are compared.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use chord_api::human;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// How long one request may take before the bench gives up.
const ONE_REQUEST: Duration = Duration::from_secs(120);

/// Answers other than files are not longer.
const MAX_ANSWER: usize = 8 << 20;

/// A connection that is kept.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    address: SocketAddr,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Opens one.
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        Connection::open_as(address, None).await
    }

    /// Opens one and calls the server by another name than its address.
    pub async fn open_as(address: SocketAddr, host: Option<&str>) -> Result<Connection> {
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
            .with_context(|| format!("PUT {} at {}", without_signature(path), self.address))
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
            .with_context(|| format!("GET {} at {}", without_signature(path), self.address))
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
            .with_context(|| format!("GET {} at {}", without_signature(path), self.address))
    }
}

impl Connection {
    /// A request that must not find anything.
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
            .with_context(|| format!("GET {} at {}", without_signature(path), self.address))
    }
}

async fn within<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(ONE_REQUEST, request).await;
    answer.with_context(|| format!("no answer after {}", human::span(ONE_REQUEST)))?
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
fn without_signature(path: &str) -> &str {
    match path.split_once('?') {
        Some((plain, query)) if query.contains("X-Amz-Signature") => plain,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_no_signatures() {
        assert_eq!(
            without_signature("/b/k?X-Amz-Date=1&X-Amz-Signature=ab"),
            "/b/k"
        );
        assert_eq!(without_signature("/files?prefix=a"), "/files?prefix=a");
    }
}
