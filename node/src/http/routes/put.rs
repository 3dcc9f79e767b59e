//! `PUT` of a file: parsed, admitted, and only then its body asked for.

use axum::body::Body;
use axum::http::header::{CONTENT_RANGE, ETAG, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_types::FileName;

use super::port::Port;
use crate::files::{self, Files, Put};
use crate::http::request::digest::Checker;
use crate::http::request::upload::Upload;
use crate::http::request::{conditions, kept};
use crate::http::response::problem::{VERSION, invalid, quoted};
use crate::http::this_node::ThisNode;

/// What the headers say of the file, and what will check its body.
fn parse(name: FileName, headers: &HeaderMap, upload: &Upload) -> Result<(Put, Checker), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(invalid(
            "a PUT stores a whole file, and this one has a Content-Range: send all of it, without",
        ));
    }
    let put = Put {
        name,
        content_type: kept::content_type(headers)?,
        meta: kept::parse(headers)?,
        length: upload.length(),
        condition: conditions::parse(headers)?,
    };
    let checker = Checker::new(headers, headers.contains_key(TRANSFER_ENCODING))?;
    Ok((put, checker))
}

/// `PUT /files/{name}`.
pub(super) async fn put<F: Files, N: ThisNode>(
    port: &Port<F, N>,
    name: FileName,
    headers: &HeaderMap,
    upload: &mut Upload,
) -> Result<Response<Body>, Problem> {
    let (put, checker) = parse(name, headers, upload)?;
    port.files.admit(&put).await?;
    let body = upload.take(checker, port.metrics.clone());
    let files = port.files.clone();
    let done = port
        .changes
        .to_the_end(async move { Ok(files.put(put, body).await?) })
        .await?;
    if !upload.ended() {
        return Err(unread());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if done.replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    if let Some(etag) = quoted(&done.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
        .headers_mut()
        .insert(VERSION, HeaderValue::from(done.version));
    Ok(response)
}

/// `PUT /node/files/{name}`.
pub(super) async fn drop_here<F: Files, N: ThisNode>(
    port: &Port<F, N>,
    name: FileName,
    headers: &HeaderMap,
    upload: &mut Upload,
) -> Result<Response<Body>, Problem> {
    let (put, checker) = parse(name, headers, upload)?;
    let asked = &put.condition;
    if asked.if_match.is_some()
        || asked.if_none_match.is_some()
        || asked.if_unmodified_since.is_some()
    {
        return Err(invalid(
            "a file that is dropped on a node is stored later, whatever stands there then: no condition can be kept; leave the conditions out, or PUT it to /files/",
        ));
    }
    let body: files::Body = upload.take(checker, port.metrics.clone());
    let files = port.files.clone();
    port.changes
        .to_the_end(async move { Ok(files.drop_here(put, body).await?) })
        .await?;
    if !upload.ended() {
        return Err(unread());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A body is only right when it was read to its end; whatever was stored without
/// that is not what the client sent.
fn unread() -> Problem {
    tracing::error!("a body was stored without having been read to its end");
    let detail =
        "the node did not read the body to its end; look what is stored, and send it again";
    Problem::new(Kind::OutcomeUnknown, detail).with_status(StatusCode::INTERNAL_SERVER_ERROR)
}
