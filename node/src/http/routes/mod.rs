//! Which request goes where. The paths are compared raw: a file's name is
//! whatever stands behind its prefix, and no library may tidy it before.

mod changes;
mod delete;
mod get;
pub(in crate::http) mod list;
mod node;
pub(in crate::http) mod openapi;
mod port;
mod put;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response};
use chord_api::problem::{Kind, Problem};
use chord_types::FileName;
use futures::FutureExt;
use tokio::time::Instant;

use self::port::Port;
use super::request::query::Query;
use super::request::upload::Upload;
use super::request::{browser, head, name};
use super::response::body::Counted;
use super::response::problem;
use super::response::typed::{json, typed};
use super::this_node::ThisNode;
use crate::files::Files;
use crate::world::World;

/// Every resource of the client port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    File,
    FileByQuery,
    Files,
    ListFiles,
    FileExists,
    Successor,
    Ring,
    View,
    Status,
    Verify,
    Where,
    DropHere,
    Scale,
    Drain,
    Replace,
    ClusterStatus,
    Livez,
    Readyz,
    Metrics,
    OpenApi,
}

const FILE: &str = "/files/";
const DROP_HERE: &str = "/node/files/";

impl Route {
    pub(super) const ALL: [Route; 20] = [
        Route::File,
        Route::FileByQuery,
        Route::Files,
        Route::ListFiles,
        Route::FileExists,
        Route::Successor,
        Route::Ring,
        Route::View,
        Route::Status,
        Route::Verify,
        Route::Where,
        Route::DropHere,
        Route::Scale,
        Route::Drain,
        Route::Replace,
        Route::ClusterStatus,
        Route::Livez,
        Route::Readyz,
        Route::Metrics,
        Route::OpenApi,
    ];

    /// The path, with `{name}` for the rest of it.
    pub(super) fn template(self) -> &'static str {
        match self {
            Route::File => "/files/{name}",
            Route::FileByQuery => "/file",
            Route::Files => "/files",
            Route::ListFiles => "/list_files",
            Route::FileExists => "/file_exists",
            Route::Successor => "/ring/successor",
            Route::Ring => "/ring",
            Route::View => "/view",
            Route::Status => "/status",
            Route::Verify => "/verify",
            Route::Where => "/where",
            Route::DropHere => "/node/files/{name}",
            Route::Scale => "/cluster/scale",
            Route::Drain => "/cluster/drain",
            Route::Replace => "/cluster/replace",
            Route::ClusterStatus => "/cluster/status",
            Route::Livez => "/livez",
            Route::Readyz => "/readyz",
            Route::Metrics => "/metrics",
            Route::OpenApi => "/openapi.json",
        }
    }

    /// Its methods, as `Allow` gives them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Route::File | Route::FileByQuery => "GET, HEAD, PUT, DELETE",
            Route::DropHere => "PUT",
            Route::Scale | Route::Drain | Route::Replace => "POST",
            _ => "GET, HEAD",
        }
    }

    /// The resource of a raw path, and what stands behind its prefix.
    fn find(path: &str) -> Option<(Route, &str)> {
        if let Some(raw) = path.strip_prefix(FILE) {
            return Some((Route::File, raw));
        }
        if let Some(raw) = path.strip_prefix(DROP_HERE) {
            return Some((Route::DropHere, raw));
        }
        Route::ALL
            .into_iter()
            .find(|route| route.template() == path)
            .map(|route| (route, ""))
    }
}

/// The client port of a node.
pub fn router<F: Files, N: ThisNode>(files: F, node: N, world: &World) -> Router {
    let port = Port::new(files, node, world);
    Router::new().fallback(move |request: Request<Body>| {
        let port = port.clone();
        async move { port.answer(request).await }
    })
}

impl<F: Files, N: ThisNode> Port<F, N> {
    /// Answers a request, whatever happens.
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let begun = Instant::now();
        let in_flight = self.metrics.begin();
        let (parts, body) = request.into_parts();
        let mut upload = Upload::new(body, &parts.headers);
        let mut response = match AssertUnwindSafe(self.handle(&parts, &mut upload))
            .catch_unwind()
            .await
        {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => problem::response(&problem),
            Err(_) => {
                tracing::error!(method = %parts.method, path = parts.uri.path(), "a handler panicked");
                self.metrics.panicked();
                problem::panicked(&parts.method)
            }
        };
        if !upload.settle().await || !head::is_framed(&parts) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = begun.elapsed();
        self.metrics
            .answered(&parts.method, response.status(), took);
        tracing::debug!(
            method = %parts.method,
            uri = %parts.uri,
            status = response.status().as_u16(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        let metrics = self.metrics;
        response.map(|body| Body::new(Counted::new(body, metrics, in_flight)))
    }

    async fn handle(&self, parts: &Parts, upload: &mut Upload) -> Result<Response<Body>, Problem> {
        head::check(parts)?;
        if self.node.supervised() {
            browser::admit(parts)?;
        }
        let path = parts.uri.path();
        let Some((route, raw)) = Route::find(path) else {
            return Err(Problem::new(
                Kind::NotFound,
                "there is nothing at this path; /openapi.json says what there is",
            ));
        };
        if !route
            .allow()
            .split(", ")
            .any(|method| method == parts.method.as_str())
        {
            return Ok(problem::wrong_method(&parts.method, route.allow()));
        }
        if self.node.supervised() {
            browser::admit_media(parts)?;
        }
        head::length(parts)?;
        let query = Query::new(parts.uri.query());
        let (files, node) = (&self.files, &self.node);
        match route {
            Route::File => self.file(name::from_raw_path(raw)?, parts, upload).await,
            Route::FileByQuery => {
                self.file(name::from_query(&query, "name")?, parts, upload)
                    .await
            }
            Route::DropHere => {
                let name = name::from_raw_path(raw)?;
                put::drop_here(self, name, &parts.headers, upload).await
            }
            Route::Files => list::files(files, query).await,
            Route::ListFiles => list::list_files(node, query).await,
            Route::FileExists => list::file_exists(node, query).await,
            Route::Successor => node::successor(node, query).await,
            Route::Ring => json(&node.ring().await),
            Route::View => node::view(node).await,
            Route::Status => json(&node.status().await),
            Route::Verify => json(&files.verify(&name::from_query(&query, "name")?).await?),
            Route::Where => json(&node.place(&name::from_query(&query, "name")?).await?),
            Route::Scale | Route::Drain | Route::Replace | Route::ClusterStatus => {
                // A HEAD is answered as its GET; the body falls away on the wire.
                let method = if parts.method == Method::HEAD {
                    &Method::GET
                } else {
                    &parts.method
                };
                node::supervisor(node, method, path, upload).await
            }
            Route::Livez => Ok(typed("text/plain; charset=utf-8", "alive\n")),
            Route::Readyz => node::readyz(node),
            Route::Metrics => node::metrics(&self.metrics),
            Route::OpenApi => Ok(typed("application/json", openapi::DOCUMENT)),
        }
    }

    async fn file(
        &self,
        name: FileName,
        parts: &Parts,
        upload: &mut Upload,
    ) -> Result<Response<Body>, Problem> {
        let headers = &parts.headers;
        match parts.method {
            Method::PUT => put::put(self, name, headers, upload).await,
            Method::DELETE => delete::delete(self, name, headers).await,
            _ => {
                let now = self.clock.now_ms() / 1000;
                let head = parts.method == Method::HEAD;
                get::get(&self.files, &name, headers, now, head).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_raw() {
        assert_eq!(Route::find("/files"), Some((Route::Files, "")));
        assert_eq!(Route::find("/files/"), Some((Route::File, "")));
        assert_eq!(
            Route::find("/files//a/../b%2F"),
            Some((Route::File, "/a/../b%2F"))
        );
        assert_eq!(Route::find("/files/{name}"), Some((Route::File, "{name}")));
        assert_eq!(
            Route::find("/node/files/a/b"),
            Some((Route::DropHere, "a/b"))
        );
        for none in [
            "",
            "/",
            "//files/a",
            "/status/",
            "/Status",
            "/node/files",
            "/ring/",
            "/file/a",
            "/%66iles/a",
            "*",
        ] {
            assert_eq!(Route::find(none), None, "{none}");
        }
    }
}
