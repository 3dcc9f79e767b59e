//! What clients see of real nodes when they ask for odd things, or badly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use chord_types::metadata::KeptHeader;
use support::{Cluster, contents};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// All that a node holds, page by page.
async fn held(cluster: &Cluster, limit: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/list_files?limit={limit}&after={after}");
        let page = cluster.json(0, &path).await;
        let files = page["files"].as_array().unwrap();
        names.extend(files.iter().map(|f| f.as_str().unwrap().to_string()));
        let Some(next) = page["next"].as_str() else {
            return names;
        };
        assert!(names.len() < 1000, "it has an end");
        after = next.into();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_holds_is_listed_whole_however_long_the_names_are() {
    let cluster = Cluster::start(1);
    cluster.form(1).await;
    let long = "a".repeat(1024);
    let put = cluster.put(0, &long, contents(5_000_000, 1)).await;
    assert_eq!(put.status(), 201);
    let mut names = BTreeSet::from([
        long.clone(),
        format!("{long}-part1"),
        format!("{long}-part2"),
    ]);
    // Names before, between and after those of the parts.
    for name in (0..10).flat_map(|n| {
        [
            format!("Z{n}"),
            format!("{}b{n}", &long[3..]),
            format!("z{n}"),
        ]
    }) {
        assert_eq!(cluster.put(0, &name, vec![7]).await.status(), 201);
        names.insert(name);
    }
    let names: Vec<String> = names.into_iter().collect();
    let whole = cluster
        .eventually("the parts are known to belong to the file", async || {
            let whole = cluster.json(0, "/list_files").await["files"].clone();
            let whole: Vec<String> = serde_json::from_value(whole).unwrap();
            (whole.len() == names.len()).then_some(whole)
        })
        .await;
    assert_eq!(whole, names);
    for limit in [1, 2, 3, 7] {
        assert_eq!(held(&cluster, limit).await, names, "pages of {limit}");
    }
    for (name, there) in [
        (long.clone(), true),
        (format!("{long}-part2"), true),
        (format!("{long}-part02"), false),
        (format!("{long}-part%2B2"), false),
        (format!("{long}-part3"), false),
    ] {
        let answer = cluster
            .json(0, &format!("/file_exists?filename={name}"))
            .await;
        assert_eq!(answer["file_exists"], there, "{}", &name[1024..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_behind_any_text() {
    let cluster = Cluster::start(1);
    cluster.form(1).await;
    let long = "a".repeat(1024);
    let deep = format!("{}/x", "p".repeat(1022));
    for name in [long.as_str(), "b", &deep, "z"] {
        let put = cluster.put(0, &name.replace('/', "%2F"), vec![7]).await;
        assert_eq!(put.status(), 201);
    }
    for (query, shown) in [
        (format!("after={long}"), vec!["b", &deep, "z"]),
        (format!("after={long}a"), vec!["b", &deep, "z"]),
        (format!("after={long}%C3%BC-part1"), vec!["b", &deep, "z"]),
        (format!("after=b%00c{long}"), vec![&deep, "z"]),
        (format!("after={}", "p".repeat(4000)), vec!["z"]),
        (
            format!("prefix={}&delimiter=/&limit=1", &deep[..1000]),
            vec![&deep[..1023]],
        ),
        (
            format!(
                "prefix={}&delimiter=/&limit=1&after={}",
                &deep[..1000],
                &deep[..1023]
            ),
            vec![],
        ),
    ] {
        let page = cluster.json(0, &format!("/files?{query}")).await;
        let files = page["files"].as_array().unwrap().iter().map(|f| &f["name"]);
        let all: Vec<&str> = files
            .chain(page["prefixes"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(all, shown, "{query}");
        assert!(page["next"].is_null(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stand_still_keep_nobody_out() {
    let cluster = Cluster::start(1);
    cluster.form(1).await;
    let address = cluster.url(0, "").replace("http://", "");
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        // Once it is asked for its body its place is taken.
        let head = format!(
            "PUT /files/slow{n} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4194304\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut word = [0; 25];
        let asked = tokio::time::timeout(
            std::time::Duration::from_secs(60),
            stream.read_exact(&mut word),
        );
        asked.await.expect("it is asked for its body").unwrap();
        assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"x").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(cluster.put(0, "small", vec![7]).await.status(), 201);
    let large = contents(9_000_000, 2);
    assert_eq!(cluster.put(0, "large", large.clone()).await.status(), 201);
    assert_eq!(cluster.get(0, "large").await, Some(large));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_reads_all_metadata_that_can_be_stored() {
    let cluster = Cluster::start(1);
    cluster.form(1).await;
    let files = chord_api::files::FilesClient::new(&cluster.url(0, "")).unwrap();
    let name = "f".parse().unwrap();
    let options = chord_api::files::PutOptions {
        headers: vec![
            (KeptHeader::ContentEncoding, "gzip".into()),
            (KeptHeader::CacheControl, "max-age=60".into()),
        ],
        meta: (0..700).map(|n| (format!("m{n}"), "v".into())).collect(),
        ..Default::default()
    };
    files.put(&name, "x".into(), &options).await.unwrap();
    let info = files.head(&name).await.unwrap();
    assert_eq!(info.meta.len(), 700);
    assert_eq!(info.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(info.cache_control.as_deref(), Some("max-age=60"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_when_its_file_is_replaced() {
    let cluster = Cluster::start(3);
    cluster.form(3).await;
    let size = 40_000_000;
    let body = contents(size, 1);
    for name in ["read", "unread"] {
        assert_eq!(cluster.put(0, name, body.clone()).await.status(), 201);
    }
    let mut download = cluster
        .http
        .get(cluster.url(1, "/files/read"))
        .send()
        .await
        .unwrap();
    let mut got = download.chunk().await.unwrap().unwrap().to_vec();
    let chunks = async || {
        let metrics = cluster.http.get(cluster.url(0, "/metrics")).send().await;
        let text = metrics.unwrap().text().await.unwrap();
        let line = text.lines().find(|l| l.starts_with("chord_chunks "));
        line.unwrap()
            .trim_start_matches("chord_chunks ")
            .to_string()
    };
    cluster
        .eventually("all copies are there", async || {
            (chunks().await == "20").then_some(())
        })
        .await;
    for name in ["read", "unread"] {
        assert_eq!(cluster.put(2, name, vec![7]).await.status(), 200);
    }
    cluster
        .eventually("what nobody reads is taken away", async || {
            (chunks().await == "10").then_some(())
        })
        .await;
    while let Some(piece) = download.chunk().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == body, "{} bytes of {size}", got.len());
    cluster
        .eventually("the rest goes after it", async || {
            (chunks().await == "0").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_file_are_all_told_what_became_of_it() {
    let cluster = Cluster::start(3);
    cluster.form(3).await;
    assert_eq!(cluster.put(0, "hot", vec![7]).await.status(), 201);
    let writers = (0..24usize).map(|writer| {
        let cluster = &cluster;
        async move {
            let url = cluster.url(writer % 3, "/files/hot");
            let (mut done, mut unknown) = (0u64, 0u64);
            for _ in 0..15 {
                let head = cluster.http.head(&url).send().await.unwrap();
                assert_eq!(head.status(), 200);
                let tag = head.headers()["etag"].clone();
                let put = cluster.http.put(&url).header("If-Match", tag);
                let put = put.body("x").send().await.unwrap();
                let status = put.status().as_u16();
                let said = put.text().await.unwrap();
                match status {
                    200 => done += 1,
                    412 => {}
                    // On a machine with other things to do it may not be known in time.
                    503 if said.contains("outcome-unknown") => unknown += 1,
                    other => panic!("{other}: {said}"),
                }
            }
            (done, unknown)
        }
    });
    let ends: Vec<(u64, u64)> = futures::future::join_all(writers).await;
    let done: u64 = ends.iter().map(|(done, _)| done).sum();
    let unknown: u64 = ends.iter().map(|(_, unknown)| unknown).sum();
    let head = cluster.http.head(cluster.url(0, "/files/hot")).send();
    let version = head.await.unwrap().headers()["x-chord-version"].clone();
    let version: u64 = version.to_str().unwrap().parse().unwrap();
    assert!(
        (1 + done..=1 + done + unknown).contains(&version),
        "each was applied once: {version}, {done} done, {unknown} unknown"
    );
    assert!(
        unknown * 20 <= 24 * 15,
        "{unknown} of 360 did not get to know"
    );
}
