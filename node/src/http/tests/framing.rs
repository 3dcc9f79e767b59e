//! Bodies in chunks that are none: each is told so at once, not when it has been
//! waited for long enough.

use super::Server;

/// A PUT of `vic` in chunks.
fn put(body: &str) -> String {
    format!("PUT /files/vic HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

/// Bodies that are none from some byte on, whatever comes behind it.
const MALFORMED: &[&str] = &[
    // Lines that end in LF alone: of a size, of the last one, of the trailer, and all.
    "5\nhello\n0\n\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\r\nx: y\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    // A CR without its LF.
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\rz: y\r\n\r\n",
    // Sizes that are none.
    "\r\nhello\r\n0\r\n\r\n",
    "x\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    ";a=b\r\nhello\r\n0\r\n\r\n",
    "5\u{0}\r\nhello\r\n0\r\n\r\n",
    // Sizes that no number holds.
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    // Extensions that are none.
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\r\nhello\r\n0\r\n\r\n",
    "5;a b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n",
    "5;a=b\nx\r\nhello\r\n0\r\n\r\n",
    "5;a=\u{1}\r\nhello\r\n0\r\n\r\n",
    "5,a=b\r\nhello\r\n0\r\n\r\n",
    // Chunks that have not the size that they give.
    "5\r\nhelloo\r\n0\r\n\r\n",
    "5\r\nhell\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    // A trailer that is none.
    "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
];

#[tokio::test]
async fn what_is_not_in_chunks_as_it_says_is_refused_at_once() {
    let server = Server::start().await;
    server.fake.put_now("vic", b"old");
    let next = "GET /files/vic HTTP/1.1\r\nhost: x\r\n\r\n";
    for body in MALFORMED {
        // The client's side stays open: nothing but the bytes says that they are wrong.
        for behind in ["", next] {
            let mut raw = server.raw().await;
            raw.send(put(body) + behind).await;
            let answer = raw.answer(false).await;
            assert_eq!(
                (answer.status, answer.header("connection")),
                (400, Some("close")),
                "{body:?}"
            );
            assert!(
                answer.text().contains("urn:chord:invalid-request"),
                "{body:?}"
            );
            assert_eq!(
                raw.rest().await,
                (vec![], true),
                "{body:?}: nothing after it"
            );
            assert_eq!(server.fake.content("vic").unwrap(), "old", "{body:?}");
        }
    }
}

#[tokio::test]
async fn the_same_byte_by_byte_and_where_nobody_wants_the_body() {
    let server = Server::start().await;
    server.fake.put_now("vic", b"old");
    for body in MALFORMED {
        let mut raw = server.raw().await;
        raw.stream.set_nodelay(true).unwrap();
        for byte in put(body).as_bytes() {
            // It may be refused before all of it is sent.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &[*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.answer(false).await.status, 400, "{body:?}");
        let mut raw = server.raw().await;
        let refused = put(body).replacen("host: x", "host: x\r\nif-none-match: *", 1);
        raw.send(refused).await;
        let answer = raw.answer(false).await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (412, Some("close")),
            "{body:?}"
        );
    }
    assert_eq!(server.fake.content("vic").unwrap(), "old");
}

#[tokio::test]
async fn what_the_grammar_allows_is_taken() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "0000000000000000000005\r\nhello\r\n000\r\n\r\n",
        "2\r\nhe\r\n3;a\r\nllo\r\n0;b=c\r\n\r\n",
        "5;a=\"x;\\\"\t\\\\ü\";b = c ; d\r\nhello\r\n0\r\n\r\n",
        "5  \r\nhello\r\n0 ;a\t\r\nx-sum: 1\r\ny:\r\n\r\n",
        "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n",
    ] {
        server.fake.with(|state| state.files.clear());
        let answer = raw.ask(&put(body)).await;
        assert_eq!(answer.status, 201, "{body:?}: {}", answer.text());
        assert_eq!(server.fake.content("vic").unwrap(), "hello", "{body:?}");
    }
}
