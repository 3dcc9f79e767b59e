//! Listings: the files of the cluster (`/files`), and what this node holds
//! (`/list_files`, `/file_exists`).

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use chord_api::http::FileExists;
use chord_api::problem::{Kind, Problem};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::files::{Files, ListQuery};
use crate::http::request::name::held_from_query;
use crate::http::request::query::Query;
use crate::http::response::typed::{json, unwritable};
use crate::http::this_node::ThisNode;

/// Names that are asked of the node at once while all of them are streamed.
const PAGE: usize = 500;

/// `GET /files`.
pub(super) async fn files<F: Files>(
    files: &F,
    query: Query<'_>,
) -> Result<Response<Body>, Problem> {
    let query = ListQuery {
        prefix: query.text("prefix")?.unwrap_or_default(),
        after: query.text("after")?.unwrap_or_default(),
        limit: query.limit()?,
        delimiter: query
            .text("delimiter")?
            .filter(|delimiter| !delimiter.is_empty()),
    };
    json(&files.list(query).await?)
}

/// A page of `/list_files`; unlike in the whole list `next` is always there.
#[derive(Serialize)]
struct LocalPage {
    files: Vec<String>,
    next: Option<String>,
}

/// `GET /list_files`: a page if one is asked for, else all of it, streamed.
pub(super) async fn list_files<N: ThisNode>(
    node: &N,
    query: Query<'_>,
) -> Result<Response<Body>, Problem> {
    let after = query.text("after")?;
    if after.is_none() && query.raw("limit")?.is_none() {
        return all(node).await;
    }
    let limit = query.limit()?;
    let mut files = node
        .list_files(after.filter(|after| !after.is_empty()), limit)
        .await?;
    files.truncate(limit);
    // A page that is not full may still have others behind it: only an empty one is the end.
    let next = match files.last() {
        Some(last) if !node.list_files(Some(last.clone()), 1).await?.is_empty() => {
            Some(last.clone())
        }
        _ => None,
    };
    json(&LocalPage { files, next })
}

/// `GET /file_exists`.
pub(super) async fn file_exists<N: ThisNode>(
    node: &N,
    query: Query<'_>,
) -> Result<Response<Body>, Problem> {
    let name = held_from_query(&query, "filename")?;
    json(&FileExists {
        file_exists: node.file_exists(&name).await?,
    })
}

/// The first page is read before the answer begins, so that a fault there is a
/// problem; a later one breaks the connection.
async fn all<N: ThisNode>(node: &N) -> Result<Response<Body>, Problem> {
    let first = node.list_files(None, PAGE).await?;
    let mut response = Response::new(Body::from_stream(document(node.clone(), first)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The whole list as JSON, piece by piece.
pub(in crate::http) fn document<N: ThisNode>(
    node: N,
    first: Vec<String>,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    let pages = stream::try_unfold(
        (node, Some(first), None::<String>),
        |(node, ready, last)| async move {
            let page = match ready {
                Some(page) => page,
                None => node.list_files(last.clone(), PAGE).await?,
            };
            let Some(end) = page.last().cloned() else {
                return Ok(None);
            };
            if last
                .as_ref()
                .is_some_and(|last| page.first().is_some_and(|first| first <= last))
            {
                // Going on would send names twice, perhaps for ever.
                return Err(Problem::new(
                    Kind::Overloaded,
                    "the names of this node do not come in their order",
                ));
            }
            let text = names(&page, last.is_none())?;
            Ok(Some((Bytes::from(text), (node, None, Some(end)))))
        },
    );
    let edge = |text: &'static str| {
        stream::once(std::future::ready(Ok(Bytes::from_static(text.as_bytes()))))
    };
    edge("{\"files\":[")
        .chain(pages)
        .chain(edge("]}"))
        .scan(false, |failed, piece| {
            // Nothing comes after a fault, or the list would look whole.
            let go_on = !*failed;
            *failed |= piece.is_err();
            std::future::ready(go_on.then_some(piece))
        })
}

fn names(page: &[String], first: bool) -> Result<String, Problem> {
    let mut text = String::new();
    for (index, name) in page.iter().enumerate() {
        if !(first && index == 0) {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(name).map_err(unwritable)?);
    }
    Ok(text)
}
