//! GET and HEAD: whole files, ranges, and reads that fail.

use super::fake::{EARLIER, MODIFIED};
use super::{Server, client, kind};

#[tokio::test]
async fn a_whole_file_with_all_its_headers() {
    let server = Server::start().await;
    let client = client();
    let stored = client
        .put(server.url("/files/f"))
        .header("content-type", "Text/X;  a=\"b\"")
        .header("x-chord-meta-Colour", "sea green")
        .header("x-chord-meta-n", "1")
        .header("x-chord-meta-n", "2")
        .body("0123456789")
        .send()
        .await
        .unwrap();
    for method in ["GET", "HEAD"] {
        let response = client
            .request(method.parse().unwrap(), server.url("/files/f"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        for (name, value) in [
            ("content-type", "Text/X;  a=\"b\""),
            ("content-length", "10"),
            ("accept-ranges", "bytes"),
            ("last-modified", MODIFIED),
            ("x-chord-version", "1"),
            ("x-chord-meta-colour", "sea green"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(headers[name], value, "{method} {name}");
        }
        assert_eq!(headers["etag"], stored.headers()["etag"]);
        assert_eq!(
            headers.get_all("x-chord-meta-n").iter().collect::<Vec<_>>(),
            ["1", "2"]
        );
        assert_eq!(
            response.text().await.unwrap(),
            if method == "GET" { "0123456789" } else { "" }
        );
    }
    server.fake.put_now("plain", b"x");
    let plain = client.get(server.url("/files/plain")).send().await.unwrap();
    assert_eq!(plain.headers()["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn ranges_of_a_file() {
    let server = Server::start().await;
    let tag = server.fake.put_now("f", b"0123456789");
    let client = client();
    let weak = format!("W/{tag}");
    /// Range, If-Range; status, body, Content-Range.
    type Case<'a> = (&'a str, Option<&'a str>, u16, &'a str, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        ("bytes=0-0", None, 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", None, 206, "2345", Some("bytes 2-5/10")),
        ("bytes=8-", None, 206, "89", Some("bytes 8-9/10")),
        ("bytes=8-100", None, 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", None, 206, "789", Some("bytes 7-9/10")),
        ("bytes=-30", None, 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=0-", None, 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=0-1,4-5", None, 200, "0123456789", None),
        ("bytes=5-2", None, 200, "0123456789", None),
        ("lines=1-2", None, 200, "0123456789", None),
        ("bytes=2-5", Some(&tag), 206, "2345", Some("bytes 2-5/10")),
        ("bytes=2-5", Some(&weak), 200, "0123456789", None),
        ("bytes=2-5", Some("\"other\""), 200, "0123456789", None),
        (
            "bytes=2-5",
            Some(MODIFIED),
            206,
            "2345",
            Some("bytes 2-5/10"),
        ),
        ("bytes=2-5", Some(EARLIER), 200, "0123456789", None),
        ("bytes=20-", Some("\"other\""), 200, "0123456789", None),
    ];
    for (range, if_range, status, body, content_range) in cases {
        let mut request = client.get(server.url("/files/f")).header("range", *range);
        if let Some(validator) = if_range {
            request = request.header("if-range", *validator);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), *status, "{range} {if_range:?}");
        assert_eq!(
            response
                .headers()
                .get("content-range")
                .map(|v| v.to_str().unwrap()),
            *content_range,
            "{range}"
        );
        assert_eq!(response.headers()["content-length"], body.len().to_string());
        assert_eq!(response.headers()["etag"], tag);
        assert_eq!(response.text().await.unwrap(), *body, "{range}");
    }
}

#[tokio::test]
async fn a_range_behind_the_file_is_told_the_size() {
    let server = Server::start().await;
    let tag = server.fake.put_now("f", b"0123456789");
    let client = client();
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let response = client
            .get(server.url("/files/f"))
            .header("range", range)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 416, "{range}");
        assert_eq!(response.headers()["content-range"], "bytes */10");
        assert_eq!(kind(response).await, "range");
        let head = client
            .head(server.url("/files/f"))
            .header("range", range)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                head.status().as_u16(),
                head.headers()["content-length"].to_str().unwrap()
            ),
            (200, "10")
        );
    }
    // A condition that fails comes before the range.
    let request = client
        .get(server.url("/files/f"))
        .header("range", "bytes=99-")
        .header("if-none-match", &tag);
    assert_eq!(request.send().await.unwrap().status(), 304);
}

#[tokio::test]
async fn an_empty_file() {
    let server = Server::start().await;
    let client = client();
    assert_eq!(
        client
            .put(server.url("/files/e"))
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    let whole = client.get(server.url("/files/e")).send().await.unwrap();
    assert_eq!(
        (
            whole.status().as_u16(),
            whole.headers()["content-length"].to_str().unwrap()
        ),
        (200, "0")
    );
    assert_eq!(whole.text().await.unwrap(), "");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let response = client
            .get(server.url("/files/e"))
            .header("range", range)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["content-range"].to_str().unwrap()
            ),
            (416, "bytes */0")
        );
    }
}

#[tokio::test]
async fn a_large_file_comes_whole_and_in_part() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    server.fake.put_now("big", &bytes);
    let get = |range: Option<&'static str>| {
        let request = client().get(server.url("/files/big"));
        range
            .into_iter()
            .fold(request, |request, range| request.header("range", range))
            .send()
    };
    assert_eq!(get(None).await.unwrap().bytes().await.unwrap(), bytes);
    assert_eq!(
        get(Some("bytes=99999-2000000"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        bytes[99_999..=2_000_000]
    );
}

#[tokio::test]
async fn a_fault_before_the_first_byte_is_a_problem() {
    let server = Server::start().await;
    server.fake.put_now("f", b"0123456789");
    server.fake.with(|state| state.read_fails_after = Some(0));
    let response = client().get(server.url("/files/f")).send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "1")
    );
    assert_eq!(kind(response).await, "no-quorum");
}

#[tokio::test]
async fn a_fault_in_the_middle_breaks_the_connection() {
    let server = Server::start().await;
    server.fake.put_now("f", &[7; 1_000_000]);
    server
        .fake
        .with(|state| state.read_fails_after = Some(500_000));
    let response = client().get(server.url("/files/f")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());

    let mut raw = server.raw().await;
    raw.send("GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (bytes, _) = raw.rest().await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("content-length: 1000000\r\n") && bytes.len() < 1_000_000,
        "it breaks off"
    );

    server
        .fake
        .with(|state| (state.read_fails_after, state.read_too_long) = (None, true));
    let whole = client().get(server.url("/files/f")).send().await.unwrap();
    assert_eq!(
        whole.bytes().await.unwrap().len(),
        1_000_000,
        "what is too much is never sent"
    );
}
