//! Digests in the header and in the trailer.

use super::{Server, client, kind};

const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
const SHA256: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
const WRONG: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

#[tokio::test]
async fn digests_in_the_header() {
    let server = Server::start().await;
    let put = async |field: &str, value: &str, body: &'static str| {
        server.fake.with(|state| state.files.clear());
        client()
            .put(server.url("/files/f"))
            .header(field, value)
            .body(body)
            .send()
            .await
            .unwrap()
    };
    for (field, value) in [
        ("content-md5", MD5),
        ("content-digest", SHA256),
        ("repr-digest", SHA256),
    ] {
        assert_eq!(put(field, value, "hello").await.status(), 201, "{field}");
        assert_eq!(server.fake.content("f").unwrap(), "hello");
        for body in ["hellp", "", "hello "] {
            let refused = put(field, value, body).await;
            assert_eq!(refused.status(), 400);
            assert_eq!(kind(refused).await, "digest-mismatch");
            assert_eq!(server.fake.content("f"), None, "nothing is stored");
        }
    }
    for (field, value) in [
        ("content-md5", "x"),
        ("content-digest", "sha-256"),
        ("repr-digest", "sha-256=:AAAA:"),
    ] {
        let refused = put(field, value, "hello").await;
        assert_eq!(kind(refused).await, "invalid-request", "{field}");
    }
    assert_eq!(
        put("content-digest", "crc32c=:AAAA:", "hello")
            .await
            .status(),
        201
    );
}

#[tokio::test]
async fn a_data_path_that_stops_at_the_length_is_told_too() {
    let server = Server::start().await;
    server.fake.with(|state| state.put_stops_at_length = true);
    let put = |value: &'static str| {
        client()
            .put(server.url("/files/f"))
            .header("content-digest", value)
            .body("hello")
            .send()
    };
    assert_eq!(put(WRONG).await.unwrap().status(), 400);
    assert_eq!(server.fake.content("f"), None);
    assert_eq!(put(SHA256).await.unwrap().status(), 201);
}

fn chunked(head: &str, trailer: &str) -> String {
    format!(
        "PUT /files/f HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{head}\r\n\
         2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n{trailer}\r\n"
    )
}

#[tokio::test]
async fn digests_in_the_trailer() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let md5 = format!("Content-MD5: {MD5}\r\n");
    let sha = format!("Repr-Digest: {SHA256}\r\n");
    let wrong = format!("Content-Digest: {WRONG}\r\n");
    // All on one connection: it stays usable after each.
    for (head, trailer, status) in [
        ("", "", 201),
        ("", &*md5, 201),
        ("trailer: content-md5\r\n", &md5, 201),
        ("", &sha, 201),
        ("trailer: repr-digest\r\n", &sha, 201),
        ("", &wrong, 400),
        ("trailer: Content-Digest\r\n", &wrong, 400),
        ("", "Content-Digest: ?\r\n", 400),
        (&*md5, &wrong, 400),
        ("trailer: x-other\r\n", &sha, 400),
        ("", "x-other: 1\r\n", 201),
    ] {
        server.fake.with(|state| state.files.clear());
        let answer = raw.ask(&chunked(head, trailer)).await;
        assert_eq!(
            answer.status,
            status,
            "{head:?} {trailer:?} {}",
            answer.text()
        );
        assert_eq!(
            server.fake.content("f").is_some(),
            status == 201,
            "{head:?} {trailer:?}"
        );
        assert_eq!(answer.header("connection"), None);
    }
}
