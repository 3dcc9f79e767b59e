//! Connections through the one endpoint.

use chord_api::files::FilesClient;
use chord_api::retry::{self, Retryable as _};

use super::*;

async fn endpoint_with(nodes: &[SocketAddr], ready: &[SocketAddr], joins: Joins) -> SocketAddr {
    let set = |all: &[SocketAddr]| watch::channel(all.iter().copied().collect::<BTreeSet<_>>()).1;
    let backends = Backends {
        running: set(nodes),
        ready: set(ready),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_with(listener, backends, joins));
    address
}

async fn endpoint(nodes: &[SocketAddr], ready: &[SocketAddr]) -> FilesClient {
    let address = endpoint_with(nodes, ready, Joins::new(CONNECTIONS, QUIET)).await;
    FilesClient::new(&address.to_string()).unwrap()
}

#[tokio::test]
async fn quiet_connections_make_room_and_others_do_not() {
    let a = node("a").await;
    for (quiet, there_is_room) in [(Duration::ZERO, true), (QUIET, false)] {
        let address = endpoint_with(&[a], &[a], Joins::new(2, quiet)).await;
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.unwrap();
            // One answer shows that it is joined.
            client
                .write_all(b"GET /none HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            assert!(client.read(&mut [0; 1000]).await.unwrap() > 0);
            idle.push(client);
        }
        let files = FilesClient::new(&address.to_string()).unwrap();
        let found = files.head(&"x".parse().unwrap()).await;
        match there_is_room {
            true => assert_eq!(found.unwrap().etag, "a"),
            false => assert_eq!(found.unwrap_err().status().map(|s| s.as_u16()), Some(503)),
        }
    }
}

#[tokio::test]
async fn a_connection_that_never_said_anything_makes_room_for_one_that_does() {
    let a = node("a").await;
    let address = endpoint_with(&[a], &[a], Joins::new(2, QUIET)).await;
    let files = FilesClient::new(&address.to_string()).unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let name = "x".parse().unwrap();
    let found = (async || files.head(&name).await)
        .retry(retry::soon(QUIET / 2))
        .await;
    assert_eq!(found.unwrap().etag, "a");
}

/// A node that answers every request for a file with its own name as the tag.
async fn node(name: &'static str) -> SocketAddr {
    let answer = move || async move { ([("etag", name), ("connection", "close")], "") };
    let router = axum::Router::new().route("/files/{*name}", axum::routing::get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn connections_go_to_ready_nodes_in_turn_and_past_one_that_died() {
    let (a, b, unready) = (node("a").await, node("b").await, node("unready").await);
    let dead = {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap()
    };
    let files = endpoint(&[a, b, unready, dead], &[a, b, dead]).await;
    let mut tags = BTreeSet::new();
    for _ in 0..6 {
        tags.insert(files.head(&"x".parse().unwrap()).await.unwrap().etag);
    }
    assert_eq!(tags, BTreeSet::from(["a".to_string(), "b".to_string()]));
}

#[tokio::test]
async fn without_a_ready_node_the_answer_says_so() {
    let files = endpoint(&[], &[]).await;
    let error = files.list(&Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), Some(Kind::NoQuorum));
    assert_eq!(error.status().map(|s| s.as_u16()), Some(503));
    let body = reqwest::Body::from(vec![7u8; 100_000]);
    let error = files
        .put(&"x".parse().unwrap(), body, &Default::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.status().map(|s| s.as_u16()),
        Some(503),
        "also after a body"
    );
}
