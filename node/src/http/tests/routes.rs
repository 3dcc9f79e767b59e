//! The routes, their description, and what this node says of itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::routes::Route;
use super::super::routes::openapi::DOCUMENT;
use super::{Server, client, kind};

#[test]
fn the_description_has_exactly_the_routes() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters");
            methods
                .map(|method| (path.clone(), method.to_uppercase()))
                .collect::<Vec<_>>()
        })
        .collect();
    let routed: BTreeSet<(String, String)> = Route::ALL
        .iter()
        .flat_map(|route| {
            route
                .allow()
                .split(", ")
                .map(|method| (route.template().to_string(), method.to_string()))
        })
        .collect();
    assert_eq!(described, routed);

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in found {
        assert!(
            document
                .pointer(reference.strip_prefix('#').unwrap())
                .is_some(),
            "{reference}"
        );
    }
}

#[test]
fn the_description_says_what_is_too_small() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for (schema, least) in [
        ("/components/parameters/path-name/schema/minLength", 1),
        ("/components/parameters/query-name/schema/minLength", 1),
        (
            "/paths/~1cluster~1scale/post/requestBody/content/application~1json/schema/properties/nodes/minimum",
            1,
        ),
        (
            "/paths/~1cluster~1drain/post/requestBody/content/application~1json/schema/properties/ordinal/minimum",
            0,
        ),
    ] {
        assert_eq!(document.pointer(schema), Some(&least.into()), "{schema}");
    }
}

/// A path that gets an answer of the route itself.
fn example(route: Route) -> String {
    let path = route.template().replace("{name}", "a/b");
    match route {
        Route::FileByQuery | Route::Verify | Route::Where | Route::Successor => {
            format!("{path}?name=a")
        }
        Route::FileExists => format!("{path}?filename=a"),
        _ => path,
    }
}

#[tokio::test]
async fn every_route_answers_as_it_is_described() {
    let server = Server::start().await;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for route in Route::ALL {
        for method in [
            "GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
        ] {
            server.fake.put_now("a", b"x");
            server.fake.put_now("a/b", b"x");
            let request = client().request(method.parse().unwrap(), server.url(&example(route)));
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            if !route.allow().split(", ").any(|allowed| allowed == method) {
                assert_eq!(status, 405, "{method} {route:?}");
                assert_eq!(response.headers()["allow"], route.allow());
                if method != "HEAD" {
                    assert_eq!(kind(response).await, "invalid-request");
                }
                continue;
            }
            let described =
                &document["paths"][route.template()][method.to_lowercase()]["responses"];
            let fits = described
                .get(status.to_string())
                .or(described.get("default"));
            assert!(
                fits.is_some() && status != 405,
                "{method} {route:?} answers {status}"
            );
            if status >= 400 && method != "HEAD" {
                assert!(
                    matches!(
                        kind(response).await.as_str(),
                        "not-found" | "invalid-request"
                    ),
                    "{route:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_before_a_route_is_asked_is_described_too() {
    let server = Server::start().await;
    server.fake.with(|state| state.supervised = true);
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let refusals = [
        (
            403,
            "1.1",
            "host: localhost\r\norigin: http://evil.example\r\n",
        ),
        (411, "1.0", "content-type: application/json\r\n"),
        (415, "1.1", "host: localhost\r\n"),
        (
            501,
            "1.1",
            "host: localhost\r\ntransfer-encoding: gzip, chunked\r\n",
        ),
    ];
    let mut refused = BTreeSet::new();
    for route in Route::ALL {
        for method in route.allow().split(", ") {
            let described =
                &document["paths"][route.template()][method.to_lowercase()]["responses"];
            for (status, version, headers) in refusals {
                let mut raw = server.raw().await;
                let path = example(route);
                let request = format!("{method} {path} HTTP/{version}\r\n{headers}\r\n");
                raw.send(&request).await;
                if raw.answer(true).await.status != status {
                    continue;
                }
                refused.insert((method, status));
                let named = described.get(status.to_string()).is_some();
                let head = method == "HEAD" && described.get("default").is_some();
                assert!(named || head, "{method} {path} answers {status}");
            }
        }
    }
    let every = ["GET", "HEAD", "PUT", "DELETE", "POST"].map(|m| [(m, 403), (m, 501)]);
    let some = [("PUT", 411), ("POST", 411), ("POST", 415)];
    let wanted: BTreeSet<_> = every.into_iter().flatten().chain(some).collect();
    assert_eq!(refused, wanted);
}

#[tokio::test]
async fn unknown_paths_are_problems_too() {
    let server = Server::start().await;
    for path in [
        "/",
        "/nothing",
        "/files2",
        "/status/",
        "/node/files",
        "/cluster/",
        "//files/a",
    ] {
        for method in ["GET", "PUT", "BREW"] {
            let request = client().request(method.parse().unwrap(), server.url(path));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 404, "{method} {path}");
            assert_eq!(kind(response).await, "not-found");
        }
    }
    let mut raw = server.raw().await;
    assert_eq!(
        raw.ask("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .status,
        404
    );
    let head = raw.ask("HEAD /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (404, Some("application/problem+json"))
    );
    assert_eq!(
        raw.ask("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .text(),
        "alive\n"
    );
}

#[tokio::test]
async fn what_the_node_says_of_itself() {
    let server = Server::start().await;
    let get = async |path: &str| client().get(server.url(path)).send().await.unwrap();
    let by_name: Value = get("/ring/successor?name=a+b").await.json().await.unwrap();
    let id = chord_types::Id::of_file(&"a b".parse().unwrap()).to_string();
    assert_eq!(by_name["id"], id);
    let by_id: Value = get(&format!("/ring/successor?id={id}"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(by_id, by_name);
    for bad in [
        "",
        "?id=xyz",
        "?name=a&id=b",
        "?id=1&id=1",
        "?name=a&name=a",
    ] {
        assert_eq!(
            kind(get(&format!("/ring/successor{bad}")).await).await,
            "invalid-request",
            "{bad}"
        );
    }
    assert_eq!(
        get("/ring").await.json::<Value>().await.unwrap()["node"],
        "files-0"
    );
    assert_eq!(
        get("/status").await.json::<Value>().await.unwrap()["name"],
        "files-0"
    );
    assert_eq!(
        get("/where?name=x").await.json::<Value>().await.unwrap()["pieces"][0]["piece"],
        "x"
    );
    assert_eq!(
        get("/verify?name=x").await.json::<Value>().await.unwrap()["ok"],
        true
    );
    assert_eq!(get("/view").await.status(), 404);
    assert_eq!(get("/readyz").await.text().await.unwrap(), "ready\n");
    server
        .fake
        .with(|state| state.not_ready = Some("the disk is not in the view".into()));
    let not_ready = get("/readyz").await;
    assert_eq!(not_ready.status(), 503);
    assert!(
        not_ready
            .text()
            .await
            .unwrap()
            .contains("the disk is not in the view")
    );
    assert_eq!(get("/livez").await.status(), 200);
}

#[tokio::test]
async fn the_supervisor_answers_where_there_is_one() {
    let server = Server::start().await;
    let post = async |path: &str, body: String| {
        client()
            .post(server.url(path))
            .header("content-type", "application/json; charset=utf-8")
            .body(body)
            .send()
            .await
            .unwrap()
    };
    let refused = post("/cluster/scale", "{}".into()).await;
    assert_eq!(refused.status(), 409);
    assert!(refused.text().await.unwrap().contains("ChordCluster"));
    server.fake.with(|state| state.supervised = true);
    for path in ["/cluster/scale", "/cluster/drain", "/cluster/replace"] {
        assert_eq!(
            post(path, "{\"n\":1}".into()).await.text().await.unwrap(),
            format!("POST {path} {{\"n\":1}}")
        );
    }
    let status = client()
        .get(server.url("/cluster/status"))
        .send()
        .await
        .unwrap();
    assert_eq!(status.headers()["content-type"], "text/plain");
    assert_eq!(status.text().await.unwrap(), "GET /cluster/status ");
    let large = post("/cluster/scale", "x".repeat(70_000)).await;
    assert_eq!(kind(large).await, "too-large");
    let mut raw = server.raw().await;
    let long = format!(
        "POST /cluster/scale HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n{}",
        "x".repeat(70_000)
    );
    assert_eq!(raw.ask(&long).await.status, 413);
    let mut raw = server.raw().await;
    raw.send("POST /cluster/scale HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\nhi")
        .await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream)
        .await
        .unwrap();
    assert_eq!(raw.answer(false).await.status, 400);
}

#[tokio::test]
async fn a_web_page_cannot_use_a_cluster_on_ones_own_machine() {
    let server = Server::start().await;
    server.fake.put_now("f", b"x");
    let ask = async |head: &str| {
        let mut raw = server.raw().await;
        raw.ask(&format!("{head}\r\nconnection: close\r\n\r\n"))
            .await
            .status
    };
    let scale = |more: &str| format!("POST /cluster/scale HTTP/1.1\r\ncontent-length: 0{more}");
    let json = "\r\ncontent-type: application/json";
    let foreign =
        "GET /files/f HTTP/1.1\r\nhost: files.example:8080\r\norigin: http://files.example";
    assert_eq!(ask(foreign).await, 200, "a node elsewhere has many names");
    server.fake.with(|state| state.supervised = true);
    assert_eq!(ask(foreign).await, 403);
    for (more, status) in [
        ("\r\nhost: 127.0.0.1:8080", 415),
        ("\r\nhost: localhost\r\ncontent-type: text/plain", 415),
    ] {
        assert_eq!(ask(&scale(more)).await, status, "{more}");
    }
    // Where there is nothing to POST to, its media type is no matter.
    for (path, status, allow) in [
        ("/nothing", 404, None),
        ("/files/f", 405, Some("GET, HEAD, PUT, DELETE")),
        ("/cluster/status", 405, Some("GET, HEAD")),
    ] {
        let head = |host: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n")
        };
        let mut raw = server.raw().await;
        let answer = raw.ask(&head("localhost")).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (status, allow),
            "{path}"
        );
        assert_eq!(raw.ask(&head("evil.example")).await.status, 403, "{path}");
    }
    for (host, origin, status) in [
        ("localhost:8080", "", 200),
        ("localhost", "\r\norigin: http://localhost:3000", 200),
        ("localhost", "\r\norigin: http://evil.example", 403),
        ("localhost", "\r\norigin: null", 403),
        ("evil.example", "", 403),
        (
            "evil.example:8080",
            "\r\norigin: http://evil.example:8080",
            403,
        ),
    ] {
        let head = scale(&format!("\r\nhost: {host}{origin}{json}"));
        assert_eq!(ask(&head).await, status, "{head}");
        let head = format!("GET /files/f HTTP/1.1\r\nhost: {host}{origin}");
        assert_eq!(ask(&head).await, status, "{head}");
    }
}

#[tokio::test]
async fn a_panic_takes_down_one_answer_only() {
    let server = Server::start().await;
    server.fake.put_now("f", b"x");
    server.fake.with(|state| state.panics = true);
    let get = client().get(server.url("/files/f")).send().await.unwrap();
    assert_eq!(get.status(), 500);
    assert_eq!(get.headers()["content-type"], "application/problem+json");
    let put = client()
        .put(server.url("/files/f"))
        .body("y")
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 500);
    assert_eq!(kind(put).await, "outcome-unknown");
    assert_eq!(
        client()
            .get(server.url("/livez"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn metrics_count_requests_and_bytes() {
    let server = Server::start().await;
    client()
        .put(server.url("/files/f"))
        .body("hello")
        .send()
        .await
        .unwrap();
    client()
        .get(server.url("/files/f"))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    client()
        .get(server.url("/files/none"))
        .send()
        .await
        .unwrap();
    let response = client().get(server.url("/metrics")).send().await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = response.text().await.unwrap();
    for line in [
        "chord_fake 1",
        "chord_http_requests_total{method=\"PUT\",code=\"2xx\"} 1",
        "chord_http_requests_total{method=\"GET\",code=\"2xx\"} 1",
        "chord_http_requests_total{method=\"GET\",code=\"4xx\"} 1",
        "chord_http_received_bytes_total 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}
