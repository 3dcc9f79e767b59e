//! Connections: garbage, bounds, and the stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Limits, Server, client, kind};

const GET: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

/// Waits until so many requests are being answered, the question itself included.
async fn in_flight(server: &Server, count: u32) {
    let line = format!("chord_http_in_flight {count}\n");
    while !client()
        .get(server.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .contains(&line)
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    let server = Server::start().await;
    let mut good = server.raw().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PUT /files/f HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"PUT /files/f HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        let mut raw = server.raw().await;
        raw.send(garbage).await;
        let (answer, well) = raw.rest().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            well && answer.starts_with("HTTP/1.1 400 "),
            "{garbage:?}: {answer}"
        );
        assert_eq!(good.ask(GET).await.status, 200);
    }
    for _ in 0..50 {
        let mut raw = server.raw().await;
        raw.send("GET /fil").await;
    }
    assert_eq!(good.ask(GET).await.status, 200);
    assert!(server.fake.with(|state| state.files.is_empty()));
}

#[tokio::test]
async fn heads_have_a_bound() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let huge = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n",
        "a".repeat(300_000)
    );
    let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, huge.as_bytes()).await;
    let (answer, _) = raw.rest().await;
    assert!(
        answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let mut raw = server.raw().await;
    raw.send(format!(
        "GET /files/{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "a".repeat(70_000)
    ))
    .await;
    let (answer, _) = raw.rest().await;
    assert!(
        answer.starts_with(b"HTTP/1.1 414 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    server.fake.put_now("f", b"0123456789");
    let mut raw = server.raw().await;
    let all: String = (0..10)
        .map(|n| format!("GET /files/f HTTP/1.1\r\nhost: x\r\nrange: bytes={n}-{n}\r\n\r\n"))
        .collect();
    raw.send(all).await;
    for n in 0..10 {
        assert_eq!(raw.answer(false).await.text(), n.to_string());
    }
}

#[tokio::test]
async fn a_client_may_end_its_side_after_the_request() {
    let server = Server::start().await;
    server.fake.put_now("f", b"content");
    let gate = Arc::new(Semaphore::new(0));
    server.fake.with(|state| state.gate = Some(gate.clone()));
    let mut raw = server.raw().await;
    raw.send("GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n").await;
    in_flight(&server, 2).await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream)
        .await
        .unwrap();
    // Two more requests later the server has seen the end, and the first one is still at work.
    for _ in 0..2 {
        let metrics = client()
            .get(server.url("/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(metrics.contains("chord_http_in_flight 2\n"));
    }
    gate.add_permits(1);
    assert_eq!(raw.answer(false).await.text(), "content");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = Server::with(Limits {
        head: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let mut raw = server.raw().await;
    raw.send("GET /livez HTT").await;
    let (answer, _) = raw.rest().await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let server = Server::with(Limits {
        stall: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    server.fake.put_now("f", &vec![7; 64 << 20]);
    let mut raw = server.raw().await;
    raw.send("GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // Nothing is read until the server has ended the request.
    in_flight(&server, 2).await;
    in_flight(&server, 1).await;
    let (bytes, _) = raw.rest().await;
    assert!(bytes.len() < 64 << 20);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_so() {
    let server = Server::with(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    server.fake.put_now("f", b"content");
    let gate = Arc::new(Semaphore::new(0));
    server.fake.with(|state| state.gate = Some(gate.clone()));
    let mut first = server.raw().await;
    first
        .send(format!("{GET}GET /files/f HTTP/1.1\r\nhost: x\r\n\r\n"))
        .await;
    assert_eq!(first.answer(false).await.status, 200);
    let response = client().get(server.url("/files")).send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "1")
    );
    assert_eq!(kind(response).await, "overloaded");
    let probe = client().get(server.url("/livez")).send().await.unwrap();
    assert_eq!(probe.status(), 200, "it lives nevertheless");
    gate.add_permits(1);
    assert_eq!(first.answer(false).await.text(), "content");
    // It is idle now, and makes room.
    let response = client().get(server.url("/files")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(first.rest().await, (vec![], true));
}

#[tokio::test]
async fn heads_that_do_not_come_keep_nobody_out() {
    let server = Server::with(Limits {
        connections: 8,
        ..Limits::default()
    })
    .await;
    let mut half = Vec::new();
    for _ in 0..100 {
        let mut raw = server.raw().await;
        // By the time it is closed again it may be gone.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, b"GET /fil").await;
        half.push(raw);
        if half.len() % 10 == 0 {
            let probe = client().get(server.url("/readyz")).send().await.unwrap();
            assert_eq!(probe.status(), 200);
            let list = client().get(server.url("/files")).send().await.unwrap();
            assert_eq!(list.status(), 200);
        }
    }
}

#[tokio::test]
async fn the_stop_finishes_what_is_in_flight() {
    let mut server = Server::start().await;
    server.fake.put_now("f", b"content");
    let gate = Arc::new(Semaphore::new(0));
    server.fake.with(|state| state.gate = Some(gate.clone()));
    let (mut idle, mut busy) = (server.raw().await, server.raw().await);
    assert_eq!(idle.ask(GET).await.status, 200);
    busy.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /files/f HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert_eq!(busy.answer(false).await.status, 200);
    in_flight(&server, 2).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(
        idle.rest().await,
        (vec![], true),
        "an idle connection is closed"
    );
    drop(idle);
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    let answer = busy.answer(false).await;
    assert_eq!((answer.status, answer.text()), (200, "content"));
    assert_eq!(busy.rest().await, (vec![], true));
    drop(busy);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_stop_does_not_wait_for_ever() {
    let mut server = Server::with(Limits {
        stop: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    server.fake.put_now("f", b"content");
    server
        .fake
        .with(|state| state.gate = Some(Arc::new(Semaphore::new(0))));
    let mut busy = server.raw().await;
    busy.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /files/f HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert_eq!(busy.answer(false).await.status, 200);
    server.stop.take().unwrap().send(()).unwrap();
    server.task.await.unwrap().unwrap();
    let (bytes, _) = busy.rest().await;
    assert_eq!(bytes, b"");
}
