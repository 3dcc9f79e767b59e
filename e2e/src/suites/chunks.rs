//! Files in parts: where the parts are, that every byte comes back, for all sizes,
//! names and ranges.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster_spec;
use crate::inspect;
use crate::program::chord;
use crate::stage::Cluster;
use crate::suite::Ctx;
use crate::traffic::content::Content;
use crate::traffic::http::{Http, raw, status_of};
use crate::wait::{eventually, secs};

const CHUNK: u64 = 4 << 20;

pub async fn run(ctx: Ctx) -> Result<()> {
    let cluster = ctx
        .stage
        .start(&cluster_spec::spec(
            json!({"nodes": 4, "storage": {"size": "4Gi"}}),
        ))
        .await?;
    let http = cluster.http()?;
    let cases = &ctx.cases;
    let _ = cases
        .case(
            "6 300 000 bytes are parts of 4 194 304 and 2 105 696 bytes, each on its three owners",
            parts(&ctx, &cluster),
        )
        .await;
    let _ = cases
        .case(
            "chord get writes the same bytes",
            through_the_program(&ctx, &cluster),
        )
        .await;
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1] {
        let _ = cases
            .case(
                &format!("a file of {size} bytes comes back the same"),
                there_and_back(&ctx, &http, size),
            )
            .await;
    }
    let big = if ctx.stage.is_kube() {
        64_000_000
    } else {
        300_000_000
    };
    let _ = cases
        .case(
            &format!("a file of {big} bytes comes back the same"),
            there_and_back(&ctx, &http, big),
        )
        .await;
    let _ = cases
        .case(
            "names are taken as they are, in every form in which they can be sent",
            odd_names(&ctx, &http),
        )
        .await;
    let _ = cases
        .case(
            "dots and empty segments in a raw path are part of the name",
            raw_names(&ctx, &http),
        )
        .await;
    let _ = cases
        .case("ranges are exact, across parts too", ranges(&ctx, &http))
        .await;
    Ok(())
}

async fn parts(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let name = "film.bin";
    let content = ctx.content(name, 6_300_000);
    let http = cluster.http()?;
    http.put(name, &content).await?;
    let found = inspect::pieces(cluster, name).await?;
    let sizes: Vec<(&str, u64)> = found
        .pieces
        .iter()
        .map(|p| (p.piece.as_str(), p.size))
        .collect();
    let wanted = [
        (name, 6_300_000),
        ("film.bin-part1", 4_194_304),
        ("film.bin-part2", 2_105_696),
    ];
    ensure!(sizes == wanted, "the pieces are {sizes:?}");
    eventually(
        "each piece is on its three owners alone",
        secs(30),
        || async {
            for piece in &found.pieces {
                let on = inspect::holders(cluster, &piece.piece).await?;
                let owners = piece.owners.iter().cloned().collect();
                ensure!(
                    on == owners && on.len() == 3,
                    "{} is on {on:?}, and its owners are {owners:?}",
                    piece.piece
                );
            }
            Ok(())
        },
    )
    .await?;
    inspect::in_place(cluster, &[name.to_string()], 3).await?;
    inspect::verified(&http, &[name.to_string()], 3).await?;
    http.get(name, &content).await?;
    Ok(())
}

async fn through_the_program(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (from, to) = (dir.path().join("from.bin"), dir.path().join("to.bin"));
    let content = ctx.content("from.bin", 6_300_000);
    std::fs::write(&from, content.bytes())?;
    let path = |p: &std::path::Path| p.display().to_string();
    chord(
        cluster.endpoint(),
        &["put", &path(&from), "--name", "programs/from.bin"],
    )
    .await?
    .expect(0)?;
    chord(
        cluster.endpoint(),
        &["get", "programs/from.bin", &path(&to)],
    )
    .await?
    .expect(0)?;
    ensure!(
        std::fs::read(&to).context("reading what chord get wrote")? == content.bytes(),
        "the bytes are others"
    );
    cluster.http()?.get("programs/from.bin", &content).await?;
    Ok(())
}

async fn there_and_back(ctx: &Ctx, http: &Http, size: u64) -> Result<()> {
    let name = format!("size/{size}");
    let content = ctx.content(&name, size);
    let (stored, tries) = http.put(&name, &content).await?;
    let (etag, _) = http.get(&name, &content).await?;
    ensure!(
        tries.tries > 1 || stored.etag()? == etag,
        "PUT said {} and GET {etag}",
        stored.etag()?
    );
    let head = http.ask("HEAD", &Http::path(&name)?).await?;
    ensure!(
        head.header("content-length") == Some(size.to_string().as_str()),
        "HEAD says {head}"
    );
    http.delete(&name).await?;
    http.ask("GET", &Http::path(&name)?)
        .await?
        .expect_problem(404, "not-found")?;
    Ok(())
}

async fn odd_names(ctx: &Ctx, http: &Http) -> Result<()> {
    let long = "ü".repeat(512);
    let odd = [
        "two words",
        "a/b/c",
        "..",
        ".",
        "../up",
        "a/../b",
        "a//b",
        "/lead",
        "trail/",
        "🐟 fisch.txt",
        "a+b",
        "a%2Fb",
        "100%",
        "-part1",
        "x-part1",
        "x",
        "?query=1#not",
        "new\nline",
        "tab\t",
        "a&b=c;d",
        "\"quoted\"",
        "\\back\\",
        "ÄÖÜ",
        "A\u{308}",
        "files",
        "%00",
        &long,
    ];
    for (n, name) in odd.iter().enumerate() {
        let content = ctx.content(&format!("odd {n}"), 100 + n as u64);
        http.put(name, &content).await?;
    }
    let mut listed = std::collections::BTreeSet::new();
    let page = http.ask("GET", "/files?limit=1000").await?;
    let page: chord_api::http::FileList = serde_json::from_slice(&page.expect(200)?.body)?;
    listed.extend(page.files.into_iter().map(|f| f.name));
    for (n, name) in odd.iter().enumerate() {
        let content = ctx.content(&format!("odd {n}"), 100 + n as u64);
        ensure!(listed.contains(*name), "{name:?} is not listed");
        http.get(name, &content).await?;
        // The same file by query, in both spellings of a blank.
        let query = chord_types::FileName::new(*name)?.to_query();
        for query in [query.clone(), query.replace("%20", "+")] {
            let answer = http.ask("GET", &format!("/file?name={query}")).await?;
            ensure!(
                answer.expect(200)?.body == content.bytes(),
                "{name:?} by the query {query} is another file"
            );
        }
    }
    // A plus is a plus in a path and a blank in a query; %2F is a slash in a path.
    for (path, name) in [
        ("/files/a+b", "a+b"),
        ("/file?name=two+words", "two words"),
        ("/files/a%2Fb%2fc", "a/b/c"),
    ] {
        let n = odd.iter().position(|odd| *odd == name).unwrap_or_default();
        let answer = http.ask("GET", path).await?;
        let content = ctx.content(&format!("odd {n}"), 100 + n as u64);
        ensure!(
            answer.expect(200)?.body == content.bytes(),
            "{path} is not {name:?}"
        );
    }
    for name in odd {
        http.delete(name).await?;
    }
    Ok(())
}

/// What no library would send: paths that are written on the wire as they are.
async fn raw_names(ctx: &Ctx, http: &Http) -> Result<()> {
    for (n, (path, name)) in [
        ("/files/../up", "../up"),
        ("/files//a", "/a"),
        ("/files/a/./b", "a/./b"),
        ("/files/%2E%2E", ".."),
    ]
    .iter()
    .enumerate()
    {
        let content = ctx.content(&format!("raw {n}"), 50);
        let body = content.bytes();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = raw(
            http.base(),
            &[head.as_bytes(), &body].concat(),
            false,
            secs(10),
        )
        .await?;
        let status = status_of(&answer);
        ensure!(
            matches!(status, Some(200 | 201)),
            "PUT {path}: {}",
            String::from_utf8_lossy(&answer)
        );
        http.get(name, &content).await?;
        http.delete(name).await?;
    }
    Ok(())
}

async fn ranges(ctx: &Ctx, http: &Http) -> Result<()> {
    const SIZE: u64 = 9_000_000;
    let content = ctx.content("ranges", SIZE);
    http.put("ranges", &content).await?;
    let inside = |from: u64, to: u64| (format!("bytes={from}-{}", to - 1), from, to);
    let mut asked = vec![
        inside(0, 1),
        inside(SIZE - 1, SIZE),
        inside(CHUNK - 1, CHUNK + 1),
        inside(CHUNK, CHUNK + 1),
        inside(CHUNK - 10, 2 * CHUNK + 10),
        inside(2 * CHUNK, SIZE),
        inside(65_535, 65_537),
        inside(1_000_000, 7_654_321),
        (format!("bytes={}-", 2 * CHUNK - 3), 2 * CHUNK - 3, SIZE),
        ("bytes=-5".to_string(), SIZE - 5, SIZE),
        (format!("bytes=-{}", SIZE + 9), 0, SIZE),
        (format!("bytes={}-{}", SIZE - 4, SIZE + 100), SIZE - 4, SIZE),
    ];
    let seed = Content::new(ctx.seed, 16).range(0, 16);
    for pair in seed.chunks(4) {
        let from = u64::from(u16::from_le_bytes([pair[0], pair[1]])) * 137 % SIZE;
        let to = (from + 1 + u64::from(u16::from_le_bytes([pair[2], pair[3]])) * 91).min(SIZE);
        asked.push(inside(from, to));
    }
    for (range, from, to) in asked {
        let answer = http
            .ask_with("GET", "/files/ranges", |r| r.header("range", &range))
            .await?;
        answer.expect(206).with_context(|| range.clone())?;
        let told = format!("bytes {from}-{}/{SIZE}", to - 1);
        ensure!(
            answer.header("content-range") == Some(&told),
            "{range} was answered by {:?}",
            answer.header("content-range")
        );
        ensure!(
            answer.body == content.range(from, to),
            "{range} has wrong bytes"
        );
    }
    Ok(())
}
