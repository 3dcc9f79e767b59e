//! `/files`, `/list_files` and `/file_exists`.

use futures::StreamExt;

use super::{Server, client, kind};
use crate::files::ListQuery;

async fn text(server: &Server, path: &str) -> String {
    let response = client().get(server.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.text().await.unwrap()
}

#[tokio::test]
async fn the_listing_has_its_form() {
    let server = Server::start().await;
    assert_eq!(
        text(&server, "/files").await,
        r#"{"files":[],"prefixes":[],"next":null}"#
    );
    server.fake.put_now("a \"b\"", b"xyz");
    let entry = r#"{"name":"a \"b\"","size":3,"etag":"tag-1","modified":"1994-11-06T08:49:37.5Z","contentType":null}"#;
    assert_eq!(
        text(&server, "/files").await,
        format!(r#"{{"files":[{entry}],"prefixes":[],"next":null}}"#)
    );
}

#[tokio::test]
async fn the_parameters_of_a_listing() {
    let server = Server::start().await;
    text(&server, "/files").await;
    text(
        &server,
        "/files?prefix=a%2Fb+c&after=z%2525&limit=7&delimiter=%2F&other=1&other=2",
    )
    .await;
    text(&server, "/files?delimiter=&prefix=").await;
    let queries = server.fake.with(|state| std::mem::take(&mut state.queries));
    let plain = ListQuery {
        limit: 1000,
        ..Default::default()
    };
    let full = ListQuery {
        prefix: "a/b c".into(),
        after: "z%25".into(),
        limit: 7,
        delimiter: Some("/".into()),
    };
    assert_eq!(queries, [plain.clone(), full, plain]);
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=1",
        "prefix=a&prefix=b",
        "after=%ff",
        "delimiter=%",
    ] {
        let response = client()
            .get(server.url(&format!("/files?{bad}")))
            .send()
            .await
            .unwrap();
        assert_eq!(kind(response).await, "invalid-request", "{bad}");
    }
    assert!(server.fake.with(|state| state.queries.is_empty()));
}

#[tokio::test]
async fn what_this_node_holds() {
    let server = Server::start().await;
    assert_eq!(text(&server, "/list_files").await, r#"{"files":[]}"#);
    server
        .fake
        .with(|state| state.local = vec!["tmp.txt".into()]);
    assert_eq!(
        text(&server, "/list_files").await,
        r#"{"files":["tmp.txt"]}"#
    );
    assert_eq!(
        text(&server, "/list_files?limit=1").await,
        r#"{"files":["tmp.txt"],"next":null}"#
    );
    assert_eq!(
        text(&server, "/list_files?after=tmp.txt").await,
        r#"{"files":[],"next":null}"#
    );
    assert_eq!(
        text(&server, "/list_files?after=").await,
        r#"{"files":["tmp.txt"],"next":null}"#
    );
    assert_eq!(
        text(&server, "/file_exists?filename=tmp.txt").await,
        r#"{"file_exists":true}"#
    );
    assert_eq!(
        text(&server, "/file_exists?filename=aaa.txt").await,
        r#"{"file_exists":false}"#
    );
    for (bad, expected) in [
        ("/file_exists", "invalid-request"),
        ("/file_exists?filename=a&filename=b", "invalid-request"),
        ("/file_exists?filename=", "invalid-name"),
        ("/file_exists?filename=%00", "invalid-name"),
        ("/list_files?limit=0", "invalid-request"),
        ("/list_files?after=a&after=b", "invalid-request"),
    ] {
        let response = client().get(server.url(bad)).send().await.unwrap();
        assert_eq!(kind(response).await, expected, "{bad}");
    }
}

#[tokio::test]
async fn many_names_are_streamed_and_paged() {
    let server = Server::start().await;
    let mut names: Vec<String> = (0..2345).map(|n| format!("\"ü\"/{n}-part{n}")).collect();
    names.sort();
    // A node may give shorter pages than it is asked for.
    for local_page in [None, Some(7)] {
        server
            .fake
            .with(|state| (state.local, state.local_page) = (names.clone(), local_page));
        let all: serde_json::Value =
            serde_json::from_str(&text(&server, "/list_files").await).unwrap();
        assert_eq!(all, serde_json::json!({ "files": names }));
    }
    server.fake.with(|state| state.local_page = None);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let response = client()
            .get(server.url("/list_files"))
            .query(&[("limit", "335"), ("after", &after)]);
        let page: chord_api::http::LocalFiles =
            response.send().await.unwrap().json().await.unwrap();
        assert!(page.files.len() <= 335);
        paged.extend(page.files);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(paged, names);
}

#[tokio::test]
async fn a_list_that_fails_never_looks_whole() {
    let server = Server::start().await;
    server.fake.with(|state| {
        state.local = (0..2000).map(|n| format!("{n:04}")).collect();
        state.local_fails_after = Some("0700".into());
    });
    let response = client()
        .get(server.url("/list_files"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err());
    let mut raw = server.raw().await;
    raw.send("GET /list_files HTTP/1.0\r\n\r\n").await;
    let (bytes, well) = raw.rest().await;
    assert!(!well && !bytes.ends_with(b"]}"));

    let first = vec!["0000".to_string()];
    let pieces: Vec<_> = super::super::routes::list::document(server.fake.clone(), first)
        .collect()
        .await;
    assert!(
        pieces.last().unwrap().is_err(),
        "nothing comes after the fault"
    );

    server
        .fake
        .with(|state| state.local_fails_after = Some(String::new()));
    let response = client()
        .get(server.url("/list_files"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(kind(response).await, "overloaded");
}
