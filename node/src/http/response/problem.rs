//! Problems as responses: `application/problem+json` and the headers that go
//! with a status.

use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use chord_api::problem::{Kind, Problem, ProblemBody};
use chord_types::name::BadName;

/// The version of a file, in answers.
pub(in crate::http) const VERSION: HeaderName = HeaderName::from_static("x-chord-version");

/// A request that cannot be understood.
pub(in crate::http) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

/// A name that cannot be one.
pub(in crate::http) fn invalid_name(why: BadName) -> Problem {
    Problem::new(Kind::InvalidName, why.to_string())
}

/// A strong entity tag in its quotes. Ours are plain; one that is not is left out.
pub(in crate::http) fn quoted(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

/// The answer to a problem.
pub(in crate::http) fn response(problem: &Problem) -> Response<Body> {
    let status = problem.status();
    let mut response = with_body(status, &problem.body());
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some((etag, version)) = &problem.current {
        if let Some(etag) = quoted(etag) {
            headers.insert(ETAG, etag);
        }
        headers.insert(VERSION, HeaderValue::from(*version));
    }
    if let (StatusCode::RANGE_NOT_SATISFIABLE, Some(size)) = (status, problem.size)
        && let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}"))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

/// The answer to a method that a resource does not have.
pub(in crate::http) fn wrong_method(method: &Method, allow: &'static str) -> Response<Body> {
    let problem = invalid(format!("{method} is not possible here; what is: {allow}"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = response(&problem);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer when a handler panicked. After a request that changes something
/// nobody knows how far it came.
pub(in crate::http) fn panicked(method: &Method) -> Response<Body> {
    if !method.is_safe() {
        let detail = "the node failed while it worked on this; look whether the change was made, then try again";
        let problem = Problem::new(Kind::OutcomeUnknown, detail);
        return response(&problem.with_status(StatusCode::INTERNAL_SERVER_ERROR));
    }
    let detail = "the node failed while it worked on this; its log says why";
    response(&Problem::new(Kind::Internal, detail))
}

/// The answer to every request on a connection beyond the bound.
pub(in crate::http) fn too_many_connections() -> Response<Body> {
    let detail = "this node has as many connections as it takes; try again, or another node";
    last(&Problem::new(Kind::Overloaded, detail))
}

/// An answer behind which the connection ends.
pub(in crate::http) fn last(problem: &Problem) -> Response<Body> {
    let mut response = response(problem);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn with_body(status: StatusCode, body: &ProblemBody) -> Response<Body> {
    // Serialising four plain fields cannot fail; an empty body would still carry the status.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_with_the_status() {
        let mut problem = Problem::new(Kind::PreconditionFailed, "no");
        problem.current = Some(("abc".into(), 7));
        let answer = response(&problem);
        assert_eq!(answer.status(), 412);
        assert_eq!(answer.headers()[ETAG], "\"abc\"");
        assert_eq!(answer.headers()[VERSION], "7");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");

        let mut problem = Problem::new(Kind::Range, "no");
        problem.size = Some(12);
        assert_eq!(response(&problem).headers()[CONTENT_RANGE], "bytes */12");

        for kind in [Kind::NoQuorum, Kind::Overloaded, Kind::OutcomeUnknown] {
            assert_eq!(
                response(&Problem::new(kind, "later")).headers()[RETRY_AFTER],
                "1"
            );
        }
        assert!(
            !response(&Problem::new(Kind::Full, "full"))
                .headers()
                .contains_key(RETRY_AFTER)
        );
        assert_eq!(
            wrong_method(&Method::PATCH, "GET, HEAD").headers()[ALLOW],
            "GET, HEAD"
        );
        assert_eq!(panicked(&Method::GET).status(), 500);
        assert_eq!(panicked(&Method::PUT).status(), 500);
    }
}
