//! Odd names, in the path and in the query.

use super::{Server, client, kind};

#[tokio::test]
async fn odd_names_are_taken_literally() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for (path, query, name) in [
        ("a/../b", "a%2F..%2Fb", "a/../b"),
        ("..", "..", ".."),
        (".", ".", "."),
        ("./", "./", "./"),
        ("a//b", "a//b", "a//b"),
        ("/a", "/a", "/a"),
        ("a/", "a/", "a/"),
        ("a%2Fb", "a/b", "a/b"),
        ("a%252Fb", "a%252Fb", "a%2Fb"),
        ("a+b", "a%2Bb", "a+b"),
        ("a%20b", "a+b", "a b"),
        ("%3F%23%25", "%3f%23%25", "?#%"),
        ("a?ignored=1&name=x", "a&ignored=2", "a"),
        ("%C3%BC%0A%F0%9F%90%9F", "%C3%BC%0A%F0%9F%90%9F", "ü\n🐟"),
        ("a&b=c;d", "a%26b=c;d", "a&b=c;d"),
        ("{name}", "%7Bname%7D", "{name}"),
        (
            "..%2f..%2fetc%2fpasswd",
            "../../etc/passwd",
            "../../etc/passwd",
        ),
    ] {
        server.fake.with(|state| state.files.clear());
        let put = raw
            .ask(&format!(
                "PUT /files/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
            ))
            .await;
        assert_eq!(put.status, 201, "{path}");
        let names: Vec<String> = server
            .fake
            .with(|state| state.files.keys().cloned().collect());
        assert_eq!(names, [name], "{path}");
        let get = raw
            .ask(&format!(
                "GET /file?name={query} HTTP/1.1\r\nhost: x\r\n\r\n"
            ))
            .await;
        assert_eq!((get.status, get.text()), (200, "x"), "{query}");
        let delete = raw
            .ask(&format!(
                "DELETE http://h/files/{path} HTTP/1.1\r\nhost: x\r\n\r\n"
            ))
            .await;
        assert_eq!(delete.status, 204, "{path}");
        let put = raw
            .ask(&format!(
                "PUT /file?name={query} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\ny"
            ))
            .await;
        assert_eq!(put.status, 201, "{query}");
        let head = raw
            .ask(&format!("HEAD /files/{path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
        assert_eq!(head.status, 200, "{path}");
    }
}

#[tokio::test]
async fn bad_names_are_refused_before_anything_happens() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let long = "x".repeat(1025);
    for path in ["", "%", "%zz", "a%2", "%00", "%ff", "a%C3", &long] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = raw
                .ask(&format!(
                    "{method} /files/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
                ))
                .await;
            assert_eq!(answer.status, 400, "{method} {path}");
            assert!(
                answer.text().contains("urn:chord:invalid-name"),
                "{}",
                answer.text()
            );
        }
    }
    for (query, kind) in [
        ("", "invalid-request"),
        ("?x=1", "invalid-request"),
        ("?name=a&name=a", "invalid-request"),
        ("?name", "invalid-name"),
        ("?name=", "invalid-name"),
        ("?name=%ff", "invalid-name"),
    ] {
        let answer = raw
            .ask(&format!("GET /file{query} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(
            answer.text().contains(&format!("urn:chord:{kind}")),
            "{query} {}",
            answer.text()
        );
    }
    assert!(server.fake.with(|state| state.files.is_empty()));
}

#[tokio::test]
async fn the_longest_name_and_all_its_metadata_pass() {
    let server = Server::start().await;
    let name = "ü".repeat(512);
    let path = "%C3%BC".repeat(512);
    let mut head = format!("PUT /files/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n");
    // 8 KiB in all, in 512 headers of 3 + 13 bytes.
    for number in 0..512 {
        head.push_str(&format!("x-chord-meta-{number:03}: {}\r\n", "v".repeat(13)));
    }
    let mut raw = server.raw().await;
    assert_eq!(raw.ask(&format!("{head}\r\nx")).await.status, 201);
    let meta = server.fake.with(|state| state.files[&name].0.meta.clone());
    assert_eq!(meta.custom().count(), 512);
    let get = raw
        .ask(&format!("GET /files/{path} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .await;
    assert_eq!(
        get.headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-chord-meta-"))
            .count(),
        512
    );

    let answer = raw.ask(&format!("{head}x-chord-meta-z: \r\n\r\nx")).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("urn:chord:too-large"));
}

#[tokio::test]
async fn metadata_is_visible_ascii() {
    let server = Server::start().await;
    let request = client()
        .put(server.url("/files/f"))
        .header("x-chord-meta-a", "ü")
        .body("x");
    assert_eq!(kind(request.send().await.unwrap()).await, "invalid-request");
    assert_eq!(server.fake.content("f"), None);
}
