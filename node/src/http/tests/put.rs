//! PUT: what is answered before the body, and bodies that break off.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::{Server, client, kind};

const EXPECT: &str = "host: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n";

#[tokio::test]
async fn a_client_that_waits_is_told_before_its_body() {
    let server = Server::start().await;
    server.fake.put_now("f", b"old");
    for (path, headers, full, status) in [
        ("/files/f", "if-none-match: *\r\n", false, 412),
        ("/files/f", "if-match: \"other\"\r\n", false, 412),
        ("/files/g", "", true, 507),
        ("/files/%00", "", false, 400),
        ("/files/g", "if-match: broken\r\n", false, 400),
        ("/files/g", "content-range: bytes 0-4/9\r\n", false, 400),
        ("/nothing", "", false, 404),
        ("/status", "", false, 405),
    ] {
        server.fake.with(|state| state.full = full);
        let mut raw = server.raw().await;
        let answer = raw
            .ask(&format!("PUT {path} HTTP/1.1\r\n{EXPECT}{headers}\r\n"))
            .await;
        // The first answer is the last: no 100 came before it.
        assert_eq!(answer.status, status, "{path} {headers}");
        assert_eq!(
            answer.header("connection"),
            Some("close"),
            "{path} {headers}"
        );
        assert_eq!(raw.rest().await, (vec![], true));
    }
    assert_eq!(server.fake.content("f").unwrap(), "old");
}

#[tokio::test]
async fn a_client_that_waits_is_asked_for_its_body() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let answer = raw
        .ask(&format!("PUT /files/f HTTP/1.1\r\n{EXPECT}\r\n"))
        .await;
    assert_eq!(answer.status, 100);
    raw.send("hello").await;
    assert_eq!(raw.answer(false).await.status, 201);
    assert_eq!(server.fake.content("f").unwrap(), "hello");
    assert_eq!(
        raw.ask("GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .text(),
        "hello"
    );
}

/// What clients ask for beside their request: nothing; HTTP/2, as `curl --http2` does,
/// and as Java's `HttpClient` does with every request; something else.
const UPGRADES: [&str; 4] = [
    "",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\n",
];

#[tokio::test]
async fn a_client_that_goes_on_sending_still_gets_the_answer() {
    let server = Server::start().await;
    server.fake.put_now("f", b"old");
    server
        .fake
        .with(|state| state.put_fails_after = Some(1_000_000));
    let piece = vec![7u8; 1 << 20];
    for (request, status) in [
        ("PUT /files/f HTTP/1.1\r\nif-none-match: *", 412),
        ("PUT /files/g HTTP/1.1", 503),
        ("PUT /files/%00 HTTP/1.1", 400),
        ("PUT /nothing HTTP/1.1", 404),
        ("POST /files/f HTTP/1.1", 405),
        ("CONNECT x:80 HTTP/1.1", 501),
    ] {
        for upgrade in UPGRADES {
            for length in [24usize << 20, 2 << 20] {
                let mut raw = server.raw().await;
                raw.send(format!(
                    "{request}\r\nhost: x\r\ncontent-length: {length}\r\n{upgrade}\r\n"
                ))
                .await;
                // It sends everything before it reads anything.
                let mut left = length;
                while left > 0 {
                    let now = left.min(piece.len());
                    raw.send(&piece[..now]).await;
                    left -= now;
                }
                let answer = raw.answer(false).await;
                assert_eq!(
                    (answer.status, answer.header("connection")),
                    (status, Some("close")),
                    "{request} {upgrade}"
                );
                assert_eq!(raw.rest().await, (vec![], true), "{request} {upgrade}");
            }
        }
    }
    assert_eq!(server.fake.content("f").unwrap(), "old");
}

#[tokio::test]
async fn a_client_that_would_like_another_protocol_gets_this_one() {
    let server = Server::start().await;
    for upgrade in UPGRADES {
        let mut raw = server.raw().await;
        let put =
            format!("PUT /files/u HTTP/1.1\r\nhost: x\r\n{upgrade}content-length: 2\r\n\r\nhi");
        let answer = raw.ask(&put).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.status);
        assert_eq!(answer.header("connection"), None);
        let get = format!("GET /files/u HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n");
        assert_eq!(raw.ask(&get).await.text(), "hi");
        assert_eq!(raw.ask(&get).await.text(), "hi", "the connection is kept");
    }
}

#[tokio::test]
async fn a_short_body_that_nobody_reads_leaves_the_connection_usable() {
    let server = Server::start().await;
    server.fake.put_now("f", b"old");
    let mut raw = server.raw().await;
    raw.send(
        "PUT /files/f HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\ncontent-length: 3\r\n\r\nnew\
         GET /files/none HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi\
         POST /files/f HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
         HEAD /files/none HTTP/1.1\r\nhost: x\r\n\r\n\
         PUT /files/a%zz HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nnew\
         GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    .await;
    for (head, status) in [
        (false, 412),
        (false, 404),
        (false, 405),
        (true, 404),
        (false, 400),
    ] {
        let answer = raw.answer(head).await;
        assert_eq!((answer.status, answer.header("connection")), (status, None));
    }
    assert_eq!(raw.answer(false).await.text(), "old");
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let server = Server::start().await;
    server.fake.put_now("f", b"old");
    let chunked = "PUT /files/f HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let sized = "PUT /files/f HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
    for (number, request) in [
        format!("{sized}hello"),
        sized.to_string(),
        format!("{chunked}5\r\nhello\r\n"),
        format!("{chunked}5\r\nhel"),
        format!("{chunked}5\r\nhello\r\n0\r\n"),
        format!("{chunked}5\r\nhello\r\nZZ\r\n"),
        format!("{chunked}5\r\nhelloooo\r\n0\r\n\r\n"),
    ]
    .iter()
    .enumerate()
    {
        let mut raw = server.raw().await;
        raw.send(request).await;
        raw.stream.shutdown().await.unwrap();
        let answer = raw.answer(false).await;
        assert_eq!(answer.status, 400, "{request:?}");
        assert!(answer.text().contains("urn:chord:invalid-request"));
        assert_eq!(server.fake.with(|state| state.refused.len()), number + 1);
        assert_eq!(server.fake.content("f").unwrap(), "old");
    }
    // The same without a word.
    let before = server.fake.with(|state| state.refused.len());
    let mut raw = server.raw().await;
    raw.send(format!("{sized}hello")).await;
    raw.stream.set_zero_linger().unwrap();
    drop(raw);
    while server.fake.with(|state| state.refused.len()) == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.fake.content("f").unwrap(), "old");
}

#[tokio::test]
async fn a_change_is_finished_when_its_client_has_gone() {
    let server = Server::start().await;
    let gate = Arc::new(Semaphore::new(0));
    server.fake.with(|state| state.gate = Some(gate.clone()));
    let mut raw = server.raw().await;
    raw.send(
        "PUT /files/f HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    )
    .await;
    assert_eq!(raw.answer(false).await.status, 100);
    raw.send("hello").await;
    raw.stream.set_zero_linger().unwrap();
    // The reset may take a body away that has not been read: either all of it came, or none is stored.
    drop(raw);
    gate.add_permits(1);
    loop {
        let (stored, refused) = server
            .fake
            .with(|state| (state.files.contains_key("f"), state.refused.len()));
        if stored || refused == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(
        server
            .fake
            .content("f")
            .is_none_or(|bytes| bytes == "hello")
    );
}

#[tokio::test]
async fn a_full_disk_and_a_lost_quorum_have_their_answers() {
    let server = Server::start().await;
    server.fake.with(|state| state.full = true);
    let full = client()
        .put(server.url("/files/f"))
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(full.status(), 507);
    assert_eq!(kind(full).await, "full");
    server
        .fake
        .with(|state| (state.full, state.put_fails_after) = (false, Some(1)));
    let lost = client()
        .put(server.url("/files/f"))
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            lost.status().as_u16(),
            lost.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "1")
    );
}

#[tokio::test]
async fn a_file_is_dropped_on_this_node() {
    let server = Server::start().await;
    let response = client()
        .put(server.url("/node/files/a%2Fb"))
        .body("here")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(
        server.fake.with(|state| state.dropped["a/b"].clone()),
        "here"
    );
    let wrong = client()
        .put(server.url("/node/files/c"))
        .header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
        .body("x");
    assert_eq!(kind(wrong.send().await.unwrap()).await, "digest-mismatch");
    for (header, value, status) in [
        ("if-none-match", "*", 400),
        ("if-match", "\"a\"", 400),
        ("if-unmodified-since", super::fake::MODIFIED, 400),
        ("if-modified-since", super::fake::MODIFIED, 202),
    ] {
        let put = client().put(server.url("/node/files/a%2Fb"));
        let answer = put.header(header, value).body("here").send().await.unwrap();
        assert_eq!(answer.status(), status, "{header}: it cannot be kept");
    }
    let get = client()
        .get(server.url("/node/files/a"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            get.status().as_u16(),
            get.headers()["allow"].to_str().unwrap()
        ),
        (405, "PUT")
    );
    assert_eq!(server.fake.with(|state| state.dropped.len()), 1);
}
