//! Preconditions: every method, with and without a current version.

use super::fake::{EARLIER, MODIFIED};
use super::{Server, client, kind};

/// What GET and HEAD, PUT, and DELETE answer where the file exists, and where not.
type Expected = ([u16; 3], [u16; 3]);

const OK: [u16; 3] = [200, 200, 204];
const FAILED: [u16; 3] = [412, 412, 412];
const CACHED: [u16; 3] = [304, 412, 412];
const NONE: [u16; 3] = [404, 201, 404];
const BAD: [u16; 3] = [400, 400, 400];

/// `TAG` stands for the current entity tag.
const MATRIX: &[(&[(&str, &str)], Expected)] = &[
    (&[], (OK, NONE)),
    (&[("if-match", "TAG")], (OK, FAILED)),
    (&[("if-match", "*")], (OK, FAILED)),
    (&[("if-match", "\"other\", TAG")], (OK, FAILED)),
    (
        &[("if-match", "\"other\""), ("if-match", "TAG")],
        (OK, FAILED),
    ),
    (&[("if-match", "\"other\"")], (FAILED, FAILED)),
    (&[("if-match", "W/TAG")], (FAILED, FAILED)),
    (&[("if-none-match", "*")], (CACHED, NONE)),
    (&[("if-none-match", "TAG")], (CACHED, NONE)),
    (&[("if-none-match", "W/TAG")], (CACHED, NONE)),
    (
        &[("if-none-match", "\"a\",W/\"b\""), ("if-none-match", "TAG")],
        (CACHED, NONE),
    ),
    (&[("if-none-match", "\"other\"")], (OK, NONE)),
    (&[("if-modified-since", MODIFIED)], ([304, 200, 204], NONE)),
    (
        &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
        ([304, 200, 204], NONE),
    ),
    (
        &[("if-modified-since", "Sun Nov  6 08:49:37 1994")],
        ([304, 200, 204], NONE),
    ),
    (&[("if-modified-since", EARLIER)], (OK, NONE)),
    (&[("if-modified-since", "never")], (OK, NONE)),
    (&[("if-unmodified-since", MODIFIED)], (OK, NONE)),
    (&[("if-unmodified-since", EARLIER)], (FAILED, NONE)),
    (
        &[("if-unmodified-since", "Mon, 01 Jan 1900 00:00:00 GMT")],
        (FAILED, NONE),
    ),
    (&[("if-unmodified-since", "never")], (OK, NONE)),
    (
        &[("if-match", "TAG"), ("if-unmodified-since", EARLIER)],
        (OK, FAILED),
    ),
    (
        &[
            ("if-none-match", "\"other\""),
            ("if-modified-since", MODIFIED),
        ],
        (OK, NONE),
    ),
    (
        &[("if-match", "TAG"), ("if-none-match", "TAG")],
        (CACHED, FAILED),
    ),
    (
        &[("if-match", "\"other\""), ("if-none-match", "TAG")],
        (FAILED, FAILED),
    ),
    (&[("if-match", "tag")], (BAD, BAD)),
    (&[("if-none-match", "")], (BAD, BAD)),
    (&[("if-none-match", "*, TAG")], (BAD, BAD)),
];

#[tokio::test]
async fn every_method_with_every_condition() {
    let server = Server::start().await;
    let client = client();
    for (headers, (there, missing)) in MATRIX {
        for (exists, expected) in [(true, there), (false, missing)] {
            for (method, expected) in [
                ("GET", expected[0]),
                ("HEAD", expected[0]),
                ("PUT", expected[1]),
                ("DELETE", expected[2]),
            ] {
                server.fake.with(|state| state.files.clear());
                let tag = server.fake.put_now("f", b"old");
                if !exists {
                    server.fake.with(|state| state.files.clear());
                }
                let mut request = client.request(method.parse().unwrap(), server.url("/files/f"));
                for (name, value) in *headers {
                    request = request.header(*name, value.replace("TAG", &tag));
                }
                if method == "PUT" {
                    request = request.body("new");
                }
                let case = format!("{method} with {headers:?}, exists: {exists}");
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), expected, "{case}");
                let changed = matches!((method, expected), ("PUT", 200 | 201) | ("DELETE", 204));
                let content = server.fake.content("f");
                match (method, changed) {
                    ("PUT", true) => assert_eq!(content.unwrap(), "new", "{case}"),
                    ("DELETE", true) => assert_eq!(content, None, "{case}"),
                    _ => assert_eq!(content.is_some(), exists, "{case}"),
                }
                let get = |name: &str| {
                    response
                        .headers()
                        .get(name)
                        .map(|v| v.to_str().unwrap().to_string())
                };
                if exists && matches!(expected, 412 | 304) {
                    assert_eq!(get("etag").as_deref(), Some(tag.as_str()), "{case}");
                    assert_eq!(
                        Some(get("x-chord-version").unwrap()),
                        tag.trim_matches('"').strip_prefix("tag-").map(String::from)
                    );
                }
                if expected == 304 {
                    assert_eq!(get("last-modified").as_deref(), Some(MODIFIED), "{case}");
                    let length = (method == "HEAD").then_some("3");
                    assert_eq!(get("content-length").as_deref(), length, "{case}");
                }
                if !exists && expected == 412 {
                    assert_eq!(get("etag"), None, "{case}");
                }
                if expected == 412 && method != "HEAD" {
                    assert_eq!(kind(response).await, "precondition-failed");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_version_has_its_own_tag() {
    let server = Server::start().await;
    let client = client();
    let put = |body: &'static str| client.put(server.url("/files/f")).body(body).send();
    let (first, second) = (put("same").await.unwrap(), put("same").await.unwrap());
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (201, 200)
    );
    for answer in [&first, &second] {
        let tag = answer.headers()["etag"].to_str().unwrap();
        assert!(
            tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
            "{tag}"
        );
    }
    assert_ne!(first.headers()["etag"], second.headers()["etag"]);
    assert_ne!(
        first.headers()["x-chord-version"],
        second.headers()["x-chord-version"]
    );
}

#[tokio::test]
async fn no_file_is_modified_later_than_its_answer_and_such_a_date_lets_nothing_through() {
    let server = Server::start().await;
    let client = client();
    let hour = 3_600_000;
    server
        .fake
        .with(|state| state.modified_ms = Some(crate::world::Clock::System.now_ms() + hour));
    server.fake.put_now("f", b"new");
    let url = server.url("/files/f");
    for method in ["GET", "HEAD"] {
        let ask = |name: &'static str, value: String| {
            let request = client.request(method.parse().unwrap(), &url);
            request.header(name, value).send()
        };
        let answer = ask("accept", "*/*".into()).await.unwrap();
        let date = |name: &str| {
            let text = answer.headers()[name].to_str().unwrap();
            (text.to_string(), httpdate::parse_http_date(text).unwrap())
        };
        let ((told, modified), (_, sent)) = (date("last-modified"), date("date"));
        assert!(modified <= sent, "{method}: {told}");
        // This date may be an earlier version's, too.
        let cached = ask("if-modified-since", told.clone()).await.unwrap();
        assert_eq!(cached.status(), 200, "{method}");
        let guarded = ask("if-unmodified-since", told.clone()).await.unwrap();
        assert_eq!(guarded.status(), 412, "{method}");
        let part = client.get(&url).header("range", "bytes=0-0");
        let part = part.header("if-range", &told).send().await.unwrap();
        assert_eq!(part.status(), 200);
        let put = client.put(&url).header("if-unmodified-since", told);
        assert_eq!(put.body("x").send().await.unwrap().status(), 412);
    }
    assert_eq!(server.fake.content("f").unwrap(), "new");
}
