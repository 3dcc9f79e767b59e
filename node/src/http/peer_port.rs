//! The routes of the peer port. Nothing is answered without the secret.
//!
//! A request is read in the version of the protocol that it names, if this program
//! speaks it; every answer says which versions that are. What was not understood is
//! answered so, apart from what failed, and has changed nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use chord_api::client::NOT_UNDERSTOOD;
use chord_types::protocol::{SPEAKS, WRITTEN_IN};
use chord_types::view::BadView;
use chord_types::{ChunkId, ProtocolVersion, Speaks, UploadId, View};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::answer::fetch::SPAN_BLOCKS;
use crate::answer::{Responder, chunk_failed};
use crate::peer::wire::{Call, ChunkHeader, Refusal};
use crate::peer::{Failure, ring};
use crate::report::Reporter;
use crate::ring::Ring;
use crate::store::Store;
use crate::view::ViewKeeper;
use crate::world::Tasks;

/// The largest body that is not a chunk: a value with a long list of chunks.
const MAX_BODY: usize = 64 << 20;
/// Requests that are worked on at a time.
const MAX_AT_ONCE: usize = 512;

/// Where a node says which versions it speaks: answered whatever version the question
/// is of, else nobody could tell whom to upgrade.
const REPORT: &str = "/peer/report";

/// The version of the protocol that a request is written in: one that is spoken here.
#[derive(Clone, Copy)]
struct Written(ProtocolVersion);

/// What the peer port answers with.
#[derive(Clone)]
pub struct PeerPort {
    pub(crate) secret: String,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) responder: Arc<Responder>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) tasks: Tasks,
}

#[derive(Clone)]
struct Peer {
    port: Arc<PeerPort>,
    turns: Arc<Semaphore>,
}

/// The router of the peer port.
pub fn router(port: PeerPort) -> Router {
    let peer = Peer {
        port: Arc::new(port),
        turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
    };
    Router::new()
        .route(REPORT, get(report))
        .route("/peer/view", get(get_view).put(put_view))
        .route("/peer/call", post(call))
        .route(
            "/peer/ring",
            post(exchange).layer(DefaultBodyLimit::max(ring::MAX_BODY)),
        )
        .route("/peer/chunk", put(put_chunk))
        .route("/peer/chunk/{upload}/{part}", get(get_chunk))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(peer.clone(), guard))
        .with_state(peer)
}

async fn guard(State(peer): State<Peer>, request: HttpRequest, next: Next) -> Response {
    let wanted = chord_api::client::bearer(&peer.port.secret);
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|v| v.as_bytes())
        .unwrap_or_default();
    if !bool::from(given.ct_eq(wanted.as_bytes())) {
        let problem = chord_api::problem::Problem::new(
            chord_api::problem::Kind::Unauthenticated,
            "the peer port wants the cluster's secret",
        );
        let body = serde_json::to_vec(&problem.body()).unwrap_or_default();
        let kind = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CONNECTION, "close"),
        ];
        return (problem.status(), kind, body).into_response();
    }
    let mut answer = match peer.turns.try_acquire() {
        Ok(_turn) => in_its_version(request, next).await,
        Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Failed("it has too much to do".into()),
        ),
    };
    if let Ok(speaks) = HeaderValue::try_from(Speaks::OURS.to_header()) {
        answer.headers_mut().insert(SPEAKS, speaks);
    }
    answer
}

/// Lets a request through in the version that it names, if that is spoken here.
async fn in_its_version(mut request: HttpRequest, next: Next) -> Response {
    if request.uri().path() == REPORT {
        return next.run(request).await;
    }
    let named = request.headers().get(WRITTEN_IN).map(|v| v.as_bytes());
    let why = match ProtocolVersion::of_header(named) {
        Some(version) if Speaks::OURS.has(version) => {
            request.extensions_mut().insert(Written(version));
            return next.run(request).await;
        }
        Some(version) => format!("it does not read version {version} of the protocol"),
        None => format!("the header {WRITTEN_IN} names no version"),
    };
    (NOT_UNDERSTOOD, why).into_response()
}

/// Says that a request was not understood, and that nothing was done: to who speaks
/// the first version only, as 0.1.0 did, which would take another answer for silence.
fn not_understood(written: Written, at_first: StatusCode, why: String) -> Response {
    match written.0 < ProtocolVersion::NAMED {
        true => refuse(at_first, Refusal::Failed(why.into())),
        false => (NOT_UNDERSTOOD, why).into_response(),
    }
}

async fn unknown(Extension(written): Extension<Written>, method: Method, uri: Uri) -> Response {
    match written.0 < ProtocolVersion::NAMED {
        true => StatusCode::NOT_FOUND.into_response(),
        false => {
            let path: String = uri.path().chars().take(100).collect();
            (NOT_UNDERSTOOD, format!("it knows no {method} {path}")).into_response()
        }
    }
}

fn pack<T: Serialize>(value: &T) -> Response {
    match rmp_serde::to_vec_named(value) {
        Ok(bytes) => bytes.into_response(),
        Err(error) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Failed(Failure::new("its answer cannot be encoded", error)),
        ),
    }
}

fn refuse(status: StatusCode, refusal: Refusal) -> Response {
    (
        status,
        rmp_serde::to_vec_named(&refusal).unwrap_or_default(),
    )
        .into_response()
}

async fn report(State(peer): State<Peer>) -> Response {
    axum::Json(peer.port.reporter.report()).into_response()
}

async fn get_view(State(peer): State<Peer>) -> Response {
    match peer.port.view.current() {
        Some(current) => current.view.encode().into_response(),
        None => refuse(StatusCode::NOT_FOUND, Refusal::OtherView(None)),
    }
}

async fn put_view(
    State(peer): State<Peer>,
    Extension(written): Extension<Written>,
    body: Bytes,
) -> Response {
    let view = match View::decode(&body) {
        Ok(view) => view,
        Err(error) => {
            let status = match error {
                BadView::Encoding(_) | BadView::Format(_)
                    if written.0 >= ProtocolVersion::NAMED =>
                {
                    NOT_UNDERSTOOD
                }
                _ => StatusCode::BAD_REQUEST,
            };
            return (status, error.to_string()).into_response();
        }
    };
    // Not cut short when the sender goes away: the view is taken or it is not.
    let keeper = peer.port.view.clone();
    let adopted = async move { keeper.adopt(view).await };
    match peer.port.tasks.to_its_end(adopted).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(refused)) => (StatusCode::CONFLICT, refused.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn call(
    State(peer): State<Peer>,
    Extension(written): Extension<Written>,
    body: Bytes,
) -> Response {
    match rmp_serde::from_slice::<Call>(&body) {
        Ok(call) => pack(&peer.port.responder.handle(call).await),
        Err(error) => not_understood(
            written,
            StatusCode::BAD_REQUEST,
            format!("cannot read the call: {error}"),
        ),
    }
}

async fn exchange(
    State(peer): State<Peer>,
    Extension(written): Extension<Written>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let read = body
        .map_err(|error| {
            let reason = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ring::Reason::TooLarge,
                _ => ring::Reason::Unreadable,
            };
            ring::Refused::new(reason, error.body_text())
        })
        .and_then(|body| ring::decode(&body));
    match read.and_then(|exchange| peer.port.ring.answer(exchange)) {
        Ok(reply) => pack(&reply),
        Err(refused) => {
            peer.port.ring.count_refused(&refused);
            if refused.reason.not_understood() {
                return not_understood(written, refused.reason.status(), refused.to_string());
            }
            let ours = peer.port.view.reference();
            refuse(refused.reason.status(), refused.refusal(ours))
        }
    }
}

async fn put_chunk(
    State(peer): State<Peer>,
    Extension(written): Extension<Written>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let head = headers
        .get("x-chord-chunk")
        .and_then(|v| hex::decode(v.as_bytes()).ok())
        .and_then(|bytes| rmp_serde::from_slice::<ChunkHeader>(&bytes).ok());
    let Some(head) = head else {
        let why = "cannot read X-Chord-Chunk".to_string();
        return not_understood(written, StatusCode::BAD_REQUEST, why);
    };
    let body = body.into_data_stream();
    match peer.port.responder.take_chunk(head, body).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(refusal) => refuse(StatusCode::CONFLICT, refusal),
    }
}

#[derive(Deserialize)]
struct Blocks {
    from: u32,
    upto: u32,
}

async fn get_chunk(
    State(peer): State<Peer>,
    Extension(written): Extension<Written>,
    Path((upload, part)): Path<(String, u32)>,
    Query(blocks): Query<Blocks>,
) -> Response {
    let Ok(upload) = upload.parse::<UploadId>() else {
        let why = "cannot read the upload id".to_string();
        return not_understood(written, StatusCode::BAD_REQUEST, why);
    };
    if blocks.upto < blocks.from || blocks.upto - blocks.from > 4 * SPAN_BLOCKS {
        return refuse(
            StatusCode::BAD_REQUEST,
            Refusal::Failed("cannot give so many blocks at once".into()),
        );
    }
    let wanted = blocks.from..blocks.upto;
    let read = peer.port.store.chunk_read(ChunkId { upload, part }, wanted);
    match read.await {
        Ok(read) => {
            let hashes = Bytes::from(read.hashes.concat());
            let pieces = [Ok::<_, std::io::Error>(hashes), Ok(read.data)];
            Body::from_stream(futures::stream::iter(pieces)).into_response()
        }
        Err(error) => refuse(StatusCode::NOT_FOUND, chunk_failed(error)),
    }
}
