//! A client as a careful user writes one: what breaks off or is refused for the
//! moment is tried again for a while; anything else that is not as promised is an
//! error at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use chord_api::causes::innermost;
use chord_api::client::builder;
use chord_api::human;
use chord_types::FileName;
use futures::StreamExt;
use reqwest::{RequestBuilder, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::traffic::content::Content;

/// How long one try may take before the client gives it up.
const ONE_TRY: Duration = Duration::from_secs(15);
/// How long a big upload or download may take.
const LONG_TRY: Duration = Duration::from_secs(240);
/// Bodies above this get [`LONG_TRY`].
const BIG: u64 = 32 * 1024 * 1024;
/// How long tries are repeated.
pub const KEEP_TRYING: Duration = Duration::from_secs(60);

/// Why one try did not do it.
#[derive(Debug)]
pub enum Trouble {
    /// The connection broke, or the cluster cannot now: a client tries again.
    Again(String),
    /// What must never be.
    Wrong(anyhow::Error),
}

impl From<reqwest::Error> for Trouble {
    fn from(e: reqwest::Error) -> Trouble {
        Trouble::Again(innermost(&e))
    }
}

/// An answer with all of its (short) body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: header::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The entity tag, with its quotes.
    pub fn etag(&self) -> Result<String> {
        self.header("etag")
            .map(str::to_string)
            .with_context(|| format!("no ETag in {self}"))
    }

    /// The problem's type, without `urn:chord:`.
    pub fn kind(&self) -> String {
        serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|v| {
                v["type"]
                    .as_str()
                    .map(|t| t.trim_start_matches("urn:chord:").to_string())
            })
            .unwrap_or_default()
    }

    pub fn expect(&self, status: u16) -> Result<&Answer> {
        ensure!(
            self.status == status,
            "{status} was expected, and it is {self}"
        );
        Ok(self)
    }

    /// A problem of a kind, as problem details.
    pub fn expect_problem(&self, status: u16, kind: &str) -> Result<&Answer> {
        self.expect(status)?;
        ensure!(
            self.kind() == kind,
            "a problem {kind} was expected, and it is {self}"
        );
        let media_type = self.header("content-type").unwrap_or_default();
        ensure!(
            media_type.starts_with("application/problem+json"),
            "a problem came as {media_type:?}"
        );
        Ok(self)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect();
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

/// Requests to one base URL.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    /// `reuse`: whether connections are kept, and with them the node that they lead to.
    pub fn new(base: &str, reuse: bool) -> Result<Http> {
        let client = builder::from_outside(reuse).context("making an HTTP client")?;
        Ok(Http {
            client,
            base: base.trim_end_matches('/').to_string(),
        })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to a path that is sent as it is written here.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        self.client
            .request(method, format!("{}{path}", self.base))
            .timeout(ONE_TRY)
    }

    /// The path of a file: by query where a URL library would change the name.
    pub fn path(name: &str) -> Result<String> {
        let name = FileName::new(name).with_context(|| format!("the name {name:?}"))?;
        Ok(match name.to_path() {
            Some(path) => format!("/files/{path}"),
            None => format!("/file?name={}", name.to_query()),
        })
    }

    /// One try.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Trouble> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// A request without a body, repeated while the cluster cannot answer it.
    pub async fn ask(&self, method: &str, path: &str) -> Result<Answer> {
        self.ask_with(method, path, |r| r).await
    }

    /// The same with more to it.
    pub async fn ask_with(
        &self,
        method: &str,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer> {
        let (answer, _) = persist(&format!("{method} {path}"), KEEP_TRYING, || async {
            unless_unavailable(self.send(with(self.request(method, path))).await?)
        })
        .await?;
        Ok(answer)
    }

    /// One try to store a file.
    pub async fn put_once(&self, name: &str, content: &Content) -> Result<Answer, Trouble> {
        let path = Http::path(name).map_err(Trouble::Wrong)?;
        let mut request = self
            .request("PUT", &path)
            .header(header::CONTENT_LENGTH, content.size);
        request = if content.size > BIG {
            request
                .timeout(LONG_TRY)
                .body(reqwest::Body::wrap_stream(content.stream()))
        } else {
            request.body(content.bytes())
        };
        let answer = unless_unavailable(self.send(request).await?)?;
        match answer.status {
            200 | 201 => Ok(answer),
            _ => Err(Trouble::Wrong(anyhow!(
                "storing {name:?} was answered by {answer}"
            ))),
        }
    }

    /// Stores a file; repeats it where it has to. True: the first try did it.
    pub async fn put(&self, name: &str, content: &Content) -> Result<(Answer, Tries)> {
        persist(&format!("storing {name:?}"), KEEP_TRYING, || {
            self.put_once(name, content)
        })
        .await
    }

    /// One try to fetch a file, each byte compared. Its tag; `None`: there is none.
    pub async fn get_once(&self, name: &str, content: &Content) -> Result<Option<String>, Trouble> {
        let path = Http::path(name).map_err(Trouble::Wrong)?;
        let mut request = self.request("GET", &path);
        if content.size > BIG {
            request = request.timeout(LONG_TRY);
        }
        let response = request.send().await?;
        let wrong = |why: String| Trouble::Wrong(anyhow!("fetching {name:?}: {why}"));
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::SERVICE_UNAVAILABLE => {
                return Err(Trouble::Again(format!(
                    "503 {}",
                    response.text().await.unwrap_or_default()
                )));
            }
            status => {
                return Err(wrong(format!(
                    "{status} {}",
                    response.text().await.unwrap_or_default()
                )));
            }
        }
        let etag = response
            .headers()
            .get("etag")
            .and_then(|v| v.to_str().ok())
            .map(str::to_string);
        let etag = etag.ok_or_else(|| wrong("no ETag".into()))?;
        let mut check = content.check();
        let mut body = response.bytes_stream();
        while let Some(bytes) = body.next().await {
            // What breaks off says that it is not whole: that is no wrong answer.
            check.feed(&bytes?).map_err(|e| wrong(e.to_string()))?;
        }
        check.finish().map_err(|e| wrong(e.to_string()))?;
        Ok(Some(etag))
    }

    /// Fetches a file that must be there, and checks every byte.
    pub async fn get(&self, name: &str, content: &Content) -> Result<(String, Tries)> {
        persist(&format!("fetching {name:?}"), KEEP_TRYING, || async {
            let found = self.get_once(name, content).await?;
            found.ok_or_else(|| Trouble::Wrong(anyhow!("{name:?} is not there (404)")))
        })
        .await
    }

    /// Deletes a file that was there, or that an earlier try has deleted.
    pub async fn delete(&self, name: &str) -> Result<Tries> {
        let path = Http::path(name)?;
        let mut first = true;
        let (answer, tries) = persist(&format!("deleting {name:?}"), KEEP_TRYING, || {
            let again = !std::mem::take(&mut first);
            let path = &path;
            async move {
                let answer = unless_unavailable(self.send(self.request("DELETE", path)).await?)?;
                match answer.status {
                    204 => Ok(answer),
                    404 if again => Ok(answer),
                    _ => Err(Trouble::Wrong(anyhow!(
                        "deleting {name:?} was answered by {answer}"
                    ))),
                }
            }
        })
        .await?;
        drop(answer);
        Ok(tries)
    }
}

/// 503 is for trying again.
pub fn unless_unavailable(answer: Answer) -> Result<Answer, Trouble> {
    if answer.status == 503 {
        Err(Trouble::Again(answer.to_string()))
    } else {
        Ok(answer)
    }
}

/// What it took.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    pub tries: u32,
    pub took: Duration,
    /// Why the last try but one did not do it.
    pub trouble: Option<String>,
}

/// Repeats what can be repeated, within a limit.
pub async fn persist<T, F>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<(T, Tries)>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let begun = Instant::now();
    let mut tries = Tries::default();
    loop {
        tries.tries += 1;
        match attempt().await {
            Ok(value) => {
                tries.took = begun.elapsed();
                return Ok((value, tries));
            }
            Err(Trouble::Wrong(e)) => return Err(e),
            Err(Trouble::Again(why)) => {
                ensure!(
                    begun.elapsed() < limit,
                    "{what} did not succeed within {} and {} tries; the last one: {why}",
                    human::span(limit),
                    tries.tries
                );
                tries.trouble = Some(why);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends bytes as they are and reads what comes until the end or until nothing has
/// come for `wait`.
pub async fn raw(base: &str, bytes: &[u8], end: bool, wait: Duration) -> Result<Vec<u8>> {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    // It may be refused while it is still being sent; what counts is the answer.
    let _ = stream.write_all(bytes).await;
    if end {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(Ok(n)) = tokio::time::timeout(wait, stream.read(&mut buffer)).await {
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    Ok(answer)
}

/// The status of a raw answer.
pub fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
