//! The headers that are kept with a file, and given back with it.

use super::{Server, client, kind};

/// Headers of a PUT, as they come back.
const KEPT: [(&str, &str); 5] = [
    ("content-encoding", "gzip"),
    ("content-language", "de, en-GB"),
    (
        "content-disposition",
        "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%BC.txt",
    ),
    ("cache-control", "public, max-age=3600, private=\"x, y\""),
    ("expires", "Sat, 06 Nov 2094 08:49:37 GMT"),
];

async fn put(server: &Server, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = client().put(server.url("/files/f"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body("0123456789").send().await.unwrap()
}

#[tokio::test]
async fn standard_headers_come_back_until_another_put() {
    let server = Server::start().await;
    assert_eq!(put(&server, &KEPT).await.status(), 201);
    for (method, range, status) in [
        ("GET", None, 200),
        ("HEAD", None, 200),
        ("GET", Some("bytes=2-4"), 206),
    ] {
        let mut ask = client().request(method.parse().unwrap(), server.url("/files/f"));
        if let Some(range) = range {
            ask = ask.header("range", range);
        }
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.status(), status);
        for (name, value) in KEPT {
            let got: Vec<_> = answer.headers().get_all(name).iter().collect();
            assert_eq!(got, [value], "{method} {range:?} {name}");
        }
    }
    let cached = client().get(server.url("/files/f"));
    let cached = cached.header("if-none-match", "*").send().await.unwrap();
    assert_eq!(cached.status(), 304);
    let headers = cached.headers();
    // Of the file's headers a 304 has those that say how long it may be kept.
    for name in ["cache-control", "expires"] {
        let value = KEPT.iter().find(|(kept, _)| *kept == name).unwrap().1;
        assert_eq!(headers[name], value);
    }
    for name in [
        "content-encoding",
        "content-language",
        "content-disposition",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }

    assert_eq!(put(&server, &[]).await.status(), 200);
    let plain = client().get(server.url("/files/f")).send().await.unwrap();
    assert_eq!(plain.headers()["cache-control"], "no-cache");
    for (name, _) in KEPT
        .into_iter()
        .filter(|(name, _)| *name != "cache-control")
    {
        assert!(!plain.headers().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn what_the_client_says_of_caching_is_all_that_is_said() {
    let server = Server::start().await;
    for (given, cache_control, expires) in [
        (vec![("cache-control", "no-store")], Some("no-store"), None),
        (vec![("expires", "0")], None, Some("0")),
        (vec![KEPT[4]], None, Some(KEPT[4].1)),
        (vec![("cache-control", "")], Some("no-cache"), None),
    ] {
        put(&server, &given).await;
        let answer = client().get(server.url("/files/f")).send().await.unwrap();
        let get = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap());
        assert_eq!(get("cache-control"), cache_control, "{given:?}");
        assert_eq!(get("expires"), expires, "{given:?}");
    }
}

#[tokio::test]
async fn lines_of_a_list_are_one_and_what_is_none_stands_once() {
    let server = Server::start().await;
    for (name, lines, kept) in [
        ("content-encoding", ["gzip", "br"], Some("gzip, br")),
        ("content-language", ["de,", "en"], Some("de,, en")),
        (
            "cache-control",
            ["public", "max-age=1"],
            Some("public, max-age=1"),
        ),
        ("content-disposition", ["inline", "attachment"], None),
        ("expires", ["0", "0"], None),
    ] {
        let answer = put(&server, &lines.map(|line| (name, line))).await;
        match kept {
            None => assert_eq!(kind(answer).await, "invalid-request", "{name}"),
            Some(kept) => {
                assert!(answer.status().is_success(), "{name}");
                let head = client().head(server.url("/files/f")).send().await.unwrap();
                assert_eq!(head.headers()[name], kept);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_such_header_is_refused_before_the_body() {
    let server = Server::start().await;
    for (name, value) in [
        ("content-encoding", "gz ip"),
        ("content-encoding", "gzip;q=1"),
        ("content-encoding", "ü"),
        ("content-encoding", ","),
        ("content-language", "deutsch-und-englische"),
        ("content-language", "*"),
        ("content-language", "1a"),
        ("content-language", "de_DE"),
        ("content-disposition", "attachment; filename=a b.txt"),
        ("content-disposition", "attachment; filename"),
        ("content-disposition", "attachment; filename=\"a"),
        ("content-disposition", "; filename=a"),
        ("content-disposition", "attachment; filename=\"ü\""),
        ("cache-control", "max-age="),
        ("cache-control", "max age=1"),
        ("cache-control", "private=\"x"),
        ("cache-control", "public; max-age=1"),
        ("cache-control", "a\tb"),
        ("expires", "tomorrow"),
        ("expires", "3600"),
        ("expires", "Sat, 31 Feb 2094 08:49:37 GMT"),
    ] {
        for path in ["/files/f", "/node/files/f"] {
            let mut raw = server.raw().await;
            let answer = raw
                .ask(&format!(
                    "PUT {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n{name}: {value}\r\n\r\n"
                ))
                .await;
            assert_eq!(answer.status, 400, "{path} {name}: {value}");
            assert!(answer.text().contains("urn:chord:invalid-request"));
            let text = answer.text().to_ascii_lowercase();
            assert!(text.contains(name), "{text}");
        }
    }
    assert!(
        server
            .fake
            .with(|state| state.files.is_empty() && state.dropped.is_empty())
    );
}

#[tokio::test]
async fn they_count_as_metadata() {
    let server = Server::start().await;
    let long = format!("inline; filename=\"{}\"", "a".repeat(4000));
    let given = [
        ("content-disposition", long.as_str()),
        ("x-chord-meta-a", &long),
    ];
    assert_eq!(put(&server, &given).await.status(), 201);
    let more = "a".repeat(200);
    let over = [given[0], given[1], ("x-chord-meta-b", &more)];
    assert_eq!(kind(put(&server, &over).await).await, "too-large");
}
