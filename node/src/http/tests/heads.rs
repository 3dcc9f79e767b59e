//! Heads that HTTP itself forbids, or that are not understood here.

use super::Server;

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server = Server::start().await;
    for (version, hosts, status) in [
        ("1.1", "", 400),
        ("1.1", "host: a\r\nhost: b\r\n", 400),
        ("1.1", "host: a\r\nhost: a\r\n", 400),
        ("1.1", "host: a b\r\n", 400),
        ("1.1", "host: user@a\r\n", 400),
        ("1.1", "host: a/b\r\n", 400),
        ("1.0", "host: a\r\nhost: b\r\n", 400),
        ("1.0", "", 200),
        ("1.1", "host:\r\n", 200),
        ("1.1", "host: a_b.example:8080\r\n", 200),
        ("1.1", "host: [::1]:8080\r\n", 200),
    ] {
        let mut raw = server.raw().await;
        let answer = raw
            .ask(&format!("GET /livez HTTP/{version}\r\n{hosts}\r\n"))
            .await;
        assert_eq!(answer.status, status, "{version} {hosts}");
        if status == 400 {
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
        }
    }
}

#[tokio::test]
async fn a_body_in_a_coding_that_is_not_undone_is_not_stored() {
    let server = Server::start().await;
    for (coding, status) in [
        ("gzip, chunked", 501),
        ("gzip\r\ntransfer-encoding: chunked", 501),
        ("identity, chunked", 501),
        ("chunked, chunked", 501),
        ("Chunked", 201),
    ] {
        let mut raw = server.raw().await;
        let answer = raw
            .ask(&format!(
                "PUT /files/f HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.status, status, "{coding}");
        assert_eq!(server.fake.content("f").is_some(), status == 201);
    }
}

#[tokio::test]
async fn a_body_of_which_nobody_says_where_it_ends_is_not_taken_for_none() {
    let server = Server::start().await;
    server.fake.put_now("vic", b"content");
    let put = |path: &str, more: &str| format!("PUT {path} HTTP/1.0\r\n{more}\r\n");
    for more in ["", "connection: keep-alive\r\n"] {
        for (path, status) in [
            ("/files/vic", 411),
            ("/file?name=vic", 411),
            ("/node/files/vic", 411),
            ("/livez", 405),
            ("/nothing", 404),
        ] {
            let mut raw = server.raw().await;
            // The body looks like the next request.
            raw.send(put(path, more) + "DELETE /files/vic HTTP/1.0\r\n\r\n")
                .await;
            tokio::io::AsyncWriteExt::shutdown(&mut raw.stream)
                .await
                .unwrap();
            let answer = raw.answer(false).await;
            assert_eq!(answer.status, status, "{path} {more}");
            assert!(answer.text().contains("urn:chord:"), "{}", answer.text());
            assert!(status != 411 || answer.text().contains("Content-Length"));
            assert!(raw.rest().await.0.is_empty(), "{path} {more}");
            assert_eq!(server.fake.content("vic").unwrap(), "content");
        }
    }
    let mut raw = server.raw().await;
    let given = put("/files/e", "content-length: 2\r\n") + "ab";
    assert_eq!(raw.ask(&given).await.status, 201);
    assert_eq!(server.fake.content("e").unwrap(), "ab");
    let mut raw = server.raw().await;
    let none = "PUT /files/e HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(raw.ask(none).await.status, 200, "no body, by RFC 9112");
    assert_eq!(server.fake.content("e").unwrap(), "");
}

#[tokio::test]
async fn a_fragment_in_a_target_hits_no_other_file() {
    let server = Server::start().await;
    server.fake.put_now("vic", b"content");
    // Behind bodies of both kinds, on one connection.
    let mut raw = server.raw().await;
    raw.send(
        "PUT /files/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n# 1\
         PUT /files/b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\n# 2\r\n0\r\n\r\n\
         GET /files/vic HTTP/1.1\r\nhost: x\r\nx: #\r\n\r\n\
         DELETE /files/vic#x HTTP/1.1\r\nhost: x\r\n\r\n\
         DELETE /files/vic HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    .await;
    assert_eq!(raw.answer(false).await.status, 201);
    assert_eq!(raw.answer(false).await.status, 201);
    assert_eq!(raw.answer(false).await.text(), "content");
    let answer = raw.answer(false).await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (400, Some("close"))
    );
    assert!(answer.text().contains("%23"), "{}", answer.text());
    assert_eq!(raw.rest().await, (vec![], true), "nothing after it");
    assert_eq!(server.fake.content("vic").unwrap(), "content");
    assert_eq!(server.fake.content("b").unwrap(), "# 2");
}

#[tokio::test]
async fn what_is_no_request_is_told_so_as_a_problem() {
    let server = Server::start().await;
    for (request, status) in [
        ("hello\r\n\r\n".to_string(), 400),
        ("GET / HTTP/9.9\r\n\r\n".into(), 400),
        ("GET /livez HTTP/1.1\r\nno colon\r\n\r\n".into(), 400),
        (
            "PUT /files/f HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .into(),
            400,
        ),
        (
            "PUT /files/f HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n".into(),
            400,
        ),
        (
            format!(
                "GET /files/{} HTTP/1.1\r\nhost: x\r\n\r\n",
                "a".repeat(70_000)
            ),
            414,
        ),
        (
            format!(
                "GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
                "a".repeat(200_000)
            ),
            431,
        ),
        (
            format!(
                "GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n",
                "x: y\r\n".repeat(1024)
            ),
            431,
        ),
        (
            format!("HEAD /livez#{} HTTP/1.1\r\nhost: x\r\n\r\n", "a"),
            400,
        ),
    ] {
        let mut raw = server.raw().await;
        raw.send(&request).await;
        let head = request.starts_with("HEAD");
        let answer = raw.answer(head).await;
        let short = &request[..request.len().min(60)];
        assert_eq!(answer.status, status, "{short}");
        let media = answer.header("content-type");
        assert_eq!(media, Some("application/problem+json"), "{short}");
        assert!(head || answer.text().contains("urn:chord:"), "{short}");
        assert_eq!(raw.rest().await, (vec![], true), "{short}");
    }
}
