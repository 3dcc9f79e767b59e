//! The files, for programs: a client of a node's client port (8080).
//!
//! Bodies stream both ways and are never held whole. A download says how long
//! it is before its first byte and fails rather than end short, so that whoever
//! saves it can tell a whole file from a piece of one.

mod cluster;
mod download;
mod error;
mod values;

use std::time::Duration;

use chord_types::name::FileName;
use http::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::error::complaint;
use self::values::META;
use crate::client::builder;
use crate::http::FileList;

pub use self::download::Download;
pub use self::error::FilesError;
pub use self::values::{FileInfo, GetOptions, ListQuery, PutOptions, Stored};

/// How long a request without a body may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Checking every copy of one file reads all of them from disk.
const VERIFY_WITHIN: Duration = Duration::from_secs(3600);
/// How long a download may stand still.
const STALLED_AFTER: Duration = Duration::from_secs(120);

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
        let http = builder::to_cluster(None).map_err(|_| bad())?;
        let reader = builder::to_cluster(Some(STALLED_AFTER)).map_err(|_| bad())?;
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
        for (kept, value) in &options.headers {
            request = request.header(kept.name(), value);
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
            why: e.into(),
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
        Ok(Download::begin(response, info, doing, partial))
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
            why: e.into(),
        })?;
        serde_json::from_slice(&body).map_err(|e| FilesError::Unreadable {
            doing: doing.to_string(),
            why: e.into(),
        })
    }

    async fn post<T: Serialize>(
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
                    why: e.into(),
                }
            } else {
                FilesError::Broken {
                    doing: doing(),
                    why: e.into(),
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
