//! The files, for programs: a client of a node's client port (8080).
//!
//! Bodies stream both ways and are never held whole. A download says how long
//! it is before its first byte and fails rather than end short, so that whoever
//! saves it can tell a whole file from a piece of one.

mod values;

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{
    DrainRequest, FileExists, FileList, LocalFiles, ReplaceRequest, RingState, ScaleRequest,
    Successor, Verification, Where,
};
use crate::problem::{Kind, ProblemBody};
use crate::status::NodeStatus;
use chord_types::name::FileName;
use chord_types::view::View;

use self::values::META;
pub use self::values::{FileInfo, GetOptions, ListQuery, PutOptions, Stored};

/// How long a request without a body may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Checking every copy of one file reads all of them from disk.
const VERIFY_WITHIN: Duration = Duration::from_secs(3600);
/// The most header lines of an answer: a file's metadata may be in many short ones.
const MAX_HEADERS: usize = 4096;
/// How long a download may stand still.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{0:?} is no endpoint: it must look like http://127.0.0.1:8080")]
    Endpoint(String),
    #[error("cannot {doing}: {url} cannot be reached: {why}")]
    Unreachable {
        doing: String,
        url: String,
        why: String,
    },
    #[error("cannot {doing}: {detail}")]
    Refused {
        doing: String,
        status: StatusCode,
        kind: Option<Kind>,
        detail: String,
    },
    #[error("cannot {doing}: the connection broke before the end: {why}")]
    Broken { doing: String, why: String },
    #[error("cannot {doing}: the answer cannot be read: {why}")]
    Unreadable { doing: String, why: String },
}

impl FilesError {
    /// What the server said was wrong, where it was one of ours.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            FilesError::Refused { kind, .. } => *kind,
            _ => None,
        }
    }

    /// The status that the server answered with, where it refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            FilesError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Talks to the client port of a cluster or of one node.
#[derive(Clone, Debug)]
pub struct FilesClient {
    http: reqwest::Client,
    /// Ends what stands still. Not for uploads: to it, a long upload is an answer
    /// that does not come.
    reader: reqwest::Client,
    base: String,
}

impl FilesClient {
    /// A client of an endpoint such as `http://127.0.0.1:8080`; `http://` may be
    /// left out.
    pub fn new(endpoint: &str) -> Result<FilesClient, FilesError> {
        let bad = || FilesError::Endpoint(endpoint.to_string());
        let base = match endpoint.trim() {
            with if with.contains("://") => with.to_string(),
            without => format!("http://{without}"),
        };
        let parsed = reqwest::Url::parse(&base).map_err(|_| bad())?;
        if !matches!(parsed.scheme(), "http" | "https")
            || parsed.host_str().is_none()
            || parsed.query().is_some()
        {
            return Err(bad());
        }
        let base = base.trim_end_matches('/').to_string();
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(10))
                .tcp_nodelay(true)
                .tcp_keepalive(Duration::from_secs(30))
                .redirect(reqwest::redirect::Policy::none())
                .http1_max_headers(MAX_HEADERS)
                .no_proxy()
        };
        let http = builder().build().map_err(|_| bad())?;
        let reader = builder()
            .read_timeout(STALLED_AFTER)
            .build()
            .map_err(|_| bad())?;
        Ok(FilesClient { http, reader, base })
    }

    /// The endpoint.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where a file is: below `/files/`, or by query where a URL library would
    /// change its name.
    pub fn file_url(&self, name: &FileName) -> String {
        match name.to_path() {
            Some(path) => format!("{}/files/{path}", self.base),
            None => format!("{}/file?name={}", self.base, name.to_query()),
        }
    }

    /// Stores a file.
    pub async fn put(
        &self,
        name: &FileName,
        body: reqwest::Body,
        options: &PutOptions,
    ) -> Result<Stored, FilesError> {
        let doing = format!("store {name:?}");
        let mut request = self.http.put(self.file_url(name)).body(body);
        if let Some(length) = options.length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        if let Some(media_type) = &options.content_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        for (key, value) in &options.meta {
            request = request.header(format!("{META}{key}"), value);
        }
        request = condition(request, header::IF_MATCH, options.if_match.as_deref());
        request = condition(
            request,
            header::IF_NONE_MATCH,
            options.if_none_match.as_deref(),
        );
        let response = self.send(request, &doing).await?;
        let created = response.status() == StatusCode::CREATED;
        let info = FileInfo::of(response.headers());
        // The answer is done only when its body has ended.
        response.bytes().await.map_err(|e| FilesError::Broken {
            doing,
            why: reason(&e),
        })?;
        Ok(Stored {
            created,
            etag: info.etag,
            version: info.version,
        })
    }

    /// Begins to fetch a file.
    pub async fn get(&self, name: &FileName, options: &GetOptions) -> Result<Download, FilesError> {
        let doing = format!("fetch {name:?}");
        let mut request = self
            .reader
            .get(self.file_url(name))
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some((first, last)) = options.range {
            let last = last.map(|n| n.to_string()).unwrap_or_default();
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        request = condition(request, header::IF_MATCH, options.if_match.as_deref());
        let response = self.send(request, &doing).await?;
        let info = FileInfo::of(response.headers());
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok(Download {
            response,
            info,
            received: 0,
            doing,
            partial,
        })
    }

    /// What there is to know about a file.
    pub async fn head(&self, name: &FileName) -> Result<FileInfo, FilesError> {
        let (doing, url) = (format!("look up {name:?}"), self.file_url(name));
        let request = self.http.head(&url).timeout(ANSWER_WITHIN);
        let refused = match self.send(request, &doing).await {
            Ok(response) => return Ok(FileInfo::of(response.headers())),
            Err(refused) if refused.kind().is_some() || refused.status().is_none() => {
                return Err(refused);
            }
            Err(refused) => refused,
        };
        // The answer to a HEAD cannot say why: a GET that is refused as well can.
        let request = self.http.get(&url).header(header::RANGE, "bytes=0-0");
        match self.send(request.timeout(ANSWER_WITHIN), &doing).await {
            Err(said) if said.status() == refused.status() => Err(said),
            _ => Err(refused),
        }
    }

    /// Deletes a file.
    pub async fn delete(&self, name: &FileName, if_match: Option<&str>) -> Result<(), FilesError> {
        let request = self.http.delete(self.file_url(name)).timeout(ANSWER_WITHIN);
        let request = condition(request, header::IF_MATCH, if_match);
        self.send(request, &format!("delete {name:?}"))
            .await
            .map(|_| ())
    }

    /// A page of the files of the cluster.
    pub async fn list(&self, query: &ListQuery) -> Result<FileList, FilesError> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for (key, value) in [
            ("prefix", &query.prefix),
            ("after", &query.after),
            ("delimiter", &query.delimiter),
        ] {
            if let Some(value) = value {
                pairs.push((key, value.clone()));
            }
        }
        if let Some(limit) = query.limit {
            pairs.push(("limit", limit.to_string()));
        }
        self.ask("/files", &pairs, "list the files", ANSWER_WITHIN)
            .await
    }

    /// A page of what the node that answers holds itself.
    pub async fn list_files(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<LocalFiles, FilesError> {
        let mut pairs = vec![("limit", limit.to_string())];
        if let Some(after) = after {
            pairs.push(("after", after.to_string()));
        }
        self.ask(
            "/list_files",
            &pairs,
            "list what the node holds",
            ANSWER_WITHIN,
        )
        .await
    }

    /// Whether the node that answers holds a file or a part, by the names of
    /// [`FilesClient::list_files`].
    pub async fn file_exists(&self, name: &str) -> Result<bool, FilesError> {
        let pairs = [("filename", name.to_string())];
        let answer: FileExists = self
            .ask(
                "/file_exists",
                &pairs,
                "ask for a file on the node",
                ANSWER_WITHIN,
            )
            .await?;
        Ok(answer.file_exists)
    }

    /// Leaves a file on the node that answers; its owners take it over later.
    pub async fn drop_on_node(
        &self,
        name: &FileName,
        body: reqwest::Body,
    ) -> Result<(), FilesError> {
        let doing = format!("leave {name:?} on the node");
        let Some(path) = name.to_path() else {
            let detail = "a name with an empty segment, `.` or `..` cannot be a path".to_string();
            let (status, kind) = (StatusCode::BAD_REQUEST, Some(Kind::InvalidName));
            return Err(FilesError::Refused {
                doing,
                status,
                kind,
                detail,
            });
        };
        let request = self
            .http
            .put(format!("{}/node/files/{path}", self.base))
            .body(body);
        self.send(request, &doing).await.map(|_| ())
    }

    /// Where the ring finds a file's key.
    pub async fn successor(&self, name: &FileName) -> Result<Successor, FilesError> {
        let doing = format!("find {name:?} on the ring");
        self.ask(
            "/ring/successor",
            &[("name", name.to_string())],
            &doing,
            ANSWER_WITHIN,
        )
        .await
    }

    /// Where each part of a file is kept.
    pub async fn where_is(&self, name: &FileName) -> Result<Where, FilesError> {
        let doing = format!("ask where {name:?} is kept");
        self.ask(
            "/where",
            &[("name", name.to_string())],
            &doing,
            ANSWER_WITHIN,
        )
        .await
    }

    /// Has every copy of a file checked against its checksums.
    pub async fn verify(&self, name: &FileName) -> Result<Verification, FilesError> {
        let doing = format!("verify {name:?}");
        self.ask(
            "/verify",
            &[("name", name.to_string())],
            &doing,
            VERIFY_WITHIN,
        )
        .await
    }

    /// The node that answers, and how it sees the others.
    pub async fn status(&self) -> Result<NodeStatus, FilesError> {
        self.ask("/status", &[], "ask for the status", ANSWER_WITHIN)
            .await
    }

    /// The view that the node that answers holds.
    pub async fn view(&self) -> Result<View, FilesError> {
        self.ask("/view", &[], "ask for the view", ANSWER_WITHIN)
            .await
    }

    /// The ring's pointers at the node that answers.
    pub async fn ring(&self) -> Result<RingState, FilesError> {
        self.ask("/ring", &[], "ask for the ring", ANSWER_WITHIN)
            .await
    }

    /// The ChordCluster's status, where `chord up` runs the cluster; `None`
    /// elsewhere, where the ChordCluster itself has it.
    pub async fn cluster_status(&self) -> Result<Option<serde_json::Value>, FilesError> {
        match self
            .ask(
                "/cluster/status",
                &[],
                "ask for the cluster's status",
                ANSWER_WITHIN,
            )
            .await
        {
            Ok(status) => Ok(Some(status)),
            Err(FilesError::Refused {
                status: StatusCode::NOT_FOUND | StatusCode::CONFLICT,
                ..
            }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets the number of nodes (under `chord up`).
    pub async fn scale(&self, request: &ScaleRequest) -> Result<(), FilesError> {
        self.tell("/cluster/scale", request, "scale the cluster")
            .await
    }

    /// Drains a node, or takes that back (under `chord up`).
    pub async fn drain(&self, request: &DrainRequest) -> Result<(), FilesError> {
        self.tell("/cluster/drain", request, "drain the node").await
    }

    /// Gives a disk up as lost (under `chord up`).
    pub async fn replace(&self, request: &ReplaceRequest) -> Result<(), FilesError> {
        self.tell("/cluster/replace", request, "replace the disk")
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        pairs: &[(&str, String)],
        doing: &str,
        within: Duration,
    ) -> Result<T, FilesError> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .query(pairs)
            .timeout(within);
        let response = self.send(request, doing).await?;
        let body = response.bytes().await.map_err(|e| FilesError::Broken {
            doing: doing.to_string(),
            why: reason(&e),
        })?;
        serde_json::from_slice(&body).map_err(|e| FilesError::Unreadable {
            doing: doing.to_string(),
            why: e.to_string(),
        })
    }

    async fn tell<T: Serialize>(
        &self,
        path: &str,
        what: &T,
        doing: &str,
    ) -> Result<(), FilesError> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .json(what)
            .timeout(ANSWER_WITHIN);
        self.send(request, doing).await.map(|_| ())
    }

    /// Sends; an answer that is no success becomes an error that says why.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        doing: &str,
    ) -> Result<reqwest::Response, FilesError> {
        let doing = || doing.to_string();
        let response = request.send().await.map_err(|e| {
            if e.is_connect() || e.is_timeout() {
                FilesError::Unreachable {
                    doing: doing(),
                    url: self.base.clone(),
                    why: reason(&e),
                }
            } else {
                FilesError::Broken {
                    doing: doing(),
                    why: reason(&e),
                }
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (kind, detail) = complaint(response).await;
        Err(FilesError::Refused {
            doing: doing(),
            status,
            kind,
            detail,
        })
    }
}

/// A file on its way here.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    info: FileInfo,
    received: u64,
    doing: String,
    partial: bool,
}

impl Download {
    /// What the headers said.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Whether a range comes, and not the whole file.
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// The next bytes; `None` only when all that was promised has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FilesError> {
        let broken = |doing: &str, why: String| FilesError::Broken {
            doing: doing.to_string(),
            why,
        };
        match self.response.chunk().await {
            Err(e) => Err(broken(&self.doing, reason(&e))),
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => match self.info.size {
                Some(size) if size != self.received => Err(broken(
                    &self.doing,
                    format!("{} of {size} bytes came", self.received),
                )),
                _ => Ok(None),
            },
        }
    }
}

/// A precondition: entity tags are quoted, `*` is not.
fn condition(
    request: reqwest::RequestBuilder,
    header: header::HeaderName,
    tag: Option<&str>,
) -> reqwest::RequestBuilder {
    match tag {
        None => request,
        Some("*") => request.header(header, "*"),
        Some(tag) => request.header(header, format!("\"{}\"", tag.trim_matches('"'))),
    }
}

/// What a refusal says: the problem's kind and words, or the start of any body.
async fn complaint(response: reqwest::Response) -> (Option<Kind>, String) {
    let status = response.status();
    let mut response = response;
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > 64 * 1024 {
            break;
        }
    }
    if let Ok(problem) = serde_json::from_slice::<ProblemBody>(&body) {
        let name = problem
            .kind
            .strip_prefix("urn:chord:")
            .unwrap_or(&problem.kind)
            .to_string();
        let detail = if problem.detail.is_empty() {
            problem.title
        } else {
            problem.detail
        };
        return (
            serde_json::from_value(serde_json::Value::String(name)).ok(),
            detail,
        );
    }
    // HEAD has no body to say more.
    let kind = match status {
        StatusCode::NOT_FOUND => Some(Kind::NotFound),
        StatusCode::PRECONDITION_FAILED => Some(Kind::PreconditionFailed),
        _ => None,
    };
    let text: String = String::from_utf8_lossy(&body)
        .trim()
        .chars()
        .take(200)
        .collect();
    let words = match kind {
        Some(kind) if text.is_empty() => kind.title().to_string(),
        _ if text.is_empty() => format!("the server answered {status}"),
        _ => format!("the server answered {status}: {text}"),
    };
    (kind, words)
}

/// The innermost reason: the outer ones repeat the URL and say no more.
fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_library_would_tidy_go_by_query() {
        let files = FilesClient::new("127.0.0.1:8080/").unwrap();
        let url = |name: &str| files.file_url(&name.parse().unwrap());
        assert_eq!(url("a b/c"), "http://127.0.0.1:8080/files/a%20b%2Fc");
        assert_eq!(
            url("a/../b+"),
            "http://127.0.0.1:8080/file?name=a%2F..%2Fb%2B"
        );
        for name in ["a b/c", "a/../b+", "%2e%2e", "..", "ü?#&=;"] {
            let url = url(name);
            assert_eq!(
                reqwest::Url::parse(&url).unwrap().as_str(),
                url,
                "the library leaves it as it is"
            );
        }
    }

    #[test]
    fn an_endpoint_is_a_base_url() {
        for good in [
            "http://[::1]:8080",
            "localhost:1",
            "https://files.example/below",
        ] {
            assert!(FilesClient::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ftp://x", "http://", "http://x/?a=b"] {
            assert!(
                matches!(FilesClient::new(bad), Err(FilesError::Endpoint(_))),
                "{bad}"
            );
        }
    }
}
