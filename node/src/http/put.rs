//! `PUT` of a file: parsed, admitted, and only then its body asked for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_RANGE, ETAG, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_types::FileName;
use tokio::sync::Semaphore;

use super::body::Upload;
use super::digest::Checker;
use super::metrics::Metrics;
use super::problem::{VERSION, invalid, quoted};
use super::{conditions, kept};
use crate::files::{self, Files, Put};

/// Changes that are worked on at once; more are refused.
pub(super) const MAX_CHANGES: usize = 1024;

/// Works on a change to its end, also if the client goes away meanwhile: a
/// change that is torn at some point leaves more for others to clear up.
pub(super) async fn to_the_end<T: Send + 'static>(
    changes: &Arc<Semaphore>,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let Ok(permit) = changes.clone().try_acquire_owned() else {
        let detail = format!(
            "{MAX_CHANGES} changes are being made through this node already; try again, or elsewhere"
        );
        return Err(Problem::new(Kind::Overloaded, detail));
    };
    let task = tokio::spawn(async move {
        let _permit = permit;
        work.await
    });
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::new(
                Kind::OutcomeUnknown,
                "the node is stopping in the middle of this change",
            )),
        },
    }
}

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
pub(super) async fn put<F: Files>(
    files: &F,
    changes: &Arc<Semaphore>,
    metrics: &Metrics,
    name: FileName,
    headers: &HeaderMap,
    upload: &mut Upload,
) -> Result<Response<Body>, Problem> {
    let (put, checker) = parse(name, headers, upload)?;
    files.admit(&put).await?;
    let body = upload.take(checker, metrics.clone());
    let files = files.clone();
    let done = to_the_end(changes, async move { Ok(files.put(put, body).await?) }).await?;
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
pub(super) async fn drop_here<F: Files>(
    files: &F,
    changes: &Arc<Semaphore>,
    metrics: &Metrics,
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
    let body: files::Body = upload.take(checker, metrics.clone());
    let files = files.clone();
    to_the_end(
        changes,
        async move { Ok(files.drop_here(put, body).await?) },
    )
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
