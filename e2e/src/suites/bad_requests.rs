//! Requests that are wrong, broken off or hostile, and disks that are full: each is
//! answered as promised, nothing half is ever seen, and no process goes down.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Ctx;
use crate::cluster_spec as manifest;
use crate::stage::Cluster;
use crate::traffic::content::Content;
use crate::traffic::http::{Answer, Http, KEEP_TRYING, Trouble, persist, raw, status_of};
use crate::wait::{eventually, secs};

const MIB: u64 = 1 << 20;

pub async fn run(ctx: Ctx) -> Result<()> {
    let spec = json!({"storage": {"size": "64Mi"}, "chunkSize": "1Mi"});
    let cluster = ctx.stage.start(&manifest::spec(spec)).await?;
    let http = cluster.http()?;
    let before = cluster.identities().await?;
    let cases = &ctx.cases;
    let _ = cases
        .case(
            "wrong and unreadable digests are refused, right ones taken",
            digests(&ctx, &http),
        )
        .await;
    let _ = cases
        .case(
            "ranges outside the file are 416, what is no range is the whole",
            bad_ranges(&ctx, &http),
        )
        .await;
    let _ = cases
        .case("bad names are refused in every form", bad_names(&http))
        .await;
    let _ = cases
        .case(
            "preconditions that do not hold are 412 with the current version",
            conditions(&ctx, &http),
        )
        .await;
    let _ = cases
        .case("what there is not is a problem too", unknown(&http))
        .await;
    let _ = cases
        .case(
            "a PUT that breaks off leaves nothing, and an older version as it was",
            broken_off(&ctx, &http),
        )
        .await;
    let _ = cases
        .case(
            "what broke off and what was deleted gives its room back",
            room_again(&cluster),
        )
        .await;
    let _ = cases
        .case("the peer port wants the secret", no_secret(&cluster))
        .await;
    let _ = cases
        .case(
            "garbage on every port harms nobody",
            garbage(&ctx, &cluster),
        )
        .await;
    let _ = cases
        .case("no process went down", async {
            let after = cluster.identities().await?;
            ensure!(before == after, "they were {before:?} and are {after:?}");
            for node in cluster.nodes().await? {
                Http::new(&node.url, false)?
                    .ask("GET", "/livez")
                    .await?
                    .expect(200)?;
                let metrics = Http::new(&node.url, false)?.ask("GET", "/metrics").await?;
                let text = String::from_utf8_lossy(&metrics.body).into_owned();
                let panics = text
                    .lines()
                    .find(|l| l.contains("panic") && !l.starts_with('#'));
                ensure!(
                    panics.is_none_or(|l| l.ends_with(" 0")),
                    "{}: {panics:?}",
                    node.name
                );
            }
            Ok(())
        })
        .await;
    if ctx.cases.tally().failed == 0 {
        ctx.stage.clear(None).await?;
    }
    let _ = cases
        .case(
            "full disks answer 507 before the body, and writes go on after deletes",
            async {
                let spec = json!({"storage": {"size": "64Mi"}, "chunkSize": "1Mi"});
                let cluster = ctx.stage.start(&manifest::spec(spec)).await?;
                let before = cluster.identities().await?;
                full(&ctx, &cluster).await?;
                let after = cluster.identities().await?;
                ensure!(
                    before == after,
                    "the nodes were {before:?} and are {after:?}"
                );
                Ok(())
            },
        )
        .await;
    Ok(())
}

async fn put_with(
    http: &Http,
    path: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> Result<Answer> {
    http.ask_with("PUT", path, |mut r| {
        for (name, value) in headers {
            r = r.header(*name, *value);
        }
        r.body(body.to_vec())
    })
    .await
}

async fn digests(ctx: &Ctx, http: &Http) -> Result<()> {
    let body = ctx.content("digests", 1_500_000).bytes();
    let md5 = STANDARD.encode(Md5::digest(&body));
    let sha = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&body)));
    let (other_md5, other_sha) = (
        STANDARD.encode([7; 16]),
        format!("sha-256=:{}:", STANDARD.encode([7; 32])),
    );
    for (header, value) in [
        ("content-md5", &other_md5),
        ("content-digest", &other_sha),
        ("repr-digest", &other_sha),
    ] {
        put_with(http, "/files/digests", &body, &[(header, value)])
            .await?
            .expect_problem(400, "digest-mismatch")
            .context(header)?;
        http.ask("GET", "/files/digests").await?.expect(404)?;
    }
    for (header, value) in [
        ("content-md5", "?"),
        ("content-digest", "sha-256=:x:"),
        ("repr-digest", "="),
    ] {
        put_with(http, "/files/digests", &body, &[(header, value)])
            .await?
            .expect_problem(400, "invalid-request")
            .context(header)?;
    }
    let right = [
        ("content-md5", md5.as_str()),
        ("content-digest", &sha),
        ("repr-digest", &sha),
    ];
    put_with(http, "/files/digests", &body, &right)
        .await?
        .expect(201)?;
    // A wrong one must not harm the version that is there.
    put_with(http, "/files/digests", b"other", &[("content-md5", &md5)])
        .await?
        .expect(400)?;
    http.get("digests", &ctx.content("digests", 1_500_000))
        .await?;
    http.delete("digests").await?;
    Ok(())
}

async fn bad_ranges(ctx: &Ctx, http: &Http) -> Result<()> {
    let content = ctx.content("few", 1000);
    http.put("few", &content).await?;
    let ask = async |range: &str| {
        http.ask_with("GET", "/files/few", |r| r.header("range", range))
            .await
    };
    for range in ["bytes=1000-", "bytes=5000-6000", "bytes=-0"] {
        let answer = ask(range).await?;
        answer
            .expect_problem(416, "range")
            .context(range.to_string())?;
        ensure!(
            answer.header("content-range") == Some("bytes */1000"),
            "{range}: {answer}"
        );
    }
    for range in [
        "bytes=9-5",
        "bytes=a-b",
        "lines=1-2",
        "bytes=0-1,5-6",
        "bytes",
        "bytes=99999999999999999999999-",
    ] {
        let answer = ask(range).await?;
        ensure!(matches!(answer.status, 200 | 416), "{range}: {answer}");
        ensure!(
            answer.status == 416 || answer.body == content.bytes(),
            "{range} has wrong bytes"
        );
    }
    ask("bytes=0-1,5-6")
        .await?
        .expect(200)
        .context("several ranges")?;
    http.delete("few").await?;
    Ok(())
}

async fn bad_names(http: &Http) -> Result<()> {
    let long = "x".repeat(1025);
    let bad = [
        "/files/a%00b".to_string(),
        "/files/".to_string(),
        "/files/%ff%fe".to_string(),
        format!("/files/{long}"),
        "/file?name=".to_string(),
        "/file?name=a%00b".to_string(),
        "/file?name=%ff".to_string(),
        format!("/file?name={long}"),
    ];
    for path in &bad {
        for method in ["PUT", "GET", "DELETE"] {
            let answer = http.ask_with(method, path, |r| r.body("x")).await?;
            answer
                .expect_problem(400, "invalid-name")
                .with_context(|| format!("{method} {path:.60}"))?;
        }
    }
    http.ask_with("PUT", "/file", |r| r.body("x"))
        .await?
        .expect(400)?;
    Ok(())
}

async fn conditions(ctx: &Ctx, http: &Http) -> Result<()> {
    let content = ctx.content("conditions", 5000);
    let (stored, _) = http.put("conditions", &content).await?;
    let etag = stored.etag()?;
    let path = "/files/conditions";
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    let refused: [(&str, &str, &str); 6] = [
        ("PUT", "if-none-match", "*"),
        ("PUT", "if-none-match", &etag),
        ("PUT", "if-match", "\"another\""),
        ("PUT", "if-unmodified-since", past),
        ("DELETE", "if-match", "\"another\""),
        ("GET", "if-match", "\"another\""),
    ];
    for (method, header, value) in refused {
        let answer = http
            .ask_with(method, path, |r| r.header(header, value).body("new"))
            .await?;
        let what = || format!("{method} with {header}: {value}");
        answer
            .expect_problem(412, "precondition-failed")
            .with_context(what)?;
        ensure!(answer.header("etag") == Some(&etag), "{}: {answer}", what());
        ensure!(
            answer.header("x-chord-version").is_some(),
            "{}: {answer}",
            what()
        );
    }
    for (method, header, value) in [
        ("PUT", "if-match", "*"),
        ("DELETE", "if-match", "*"),
        ("DELETE", "if-match", "\"x\""),
    ] {
        let answer = http
            .ask_with(method, "/files/no-such", |r| {
                r.header(header, value).body("new")
            })
            .await?;
        answer
            .expect(412)
            .with_context(|| format!("{method} of nothing with {header}: {value}"))?;
    }
    http.ask_with("GET", path, |r| r.header("if-none-match", &etag))
        .await?
        .expect(304)?;
    http.ask_with("GET", path, |r| r.header("if-match", &etag))
        .await?
        .expect(200)?;
    http.get("conditions", &content).await?;
    let replaced = put_with(http, path, b"new", &[("if-match", &etag)]).await?;
    replaced.expect(200)?;
    ensure!(replaced.etag()? != etag, "the new version has the old tag");
    put_with(http, path, b"newer", &[("if-match", &etag)])
        .await?
        .expect(412)?;
    http.ask_with("DELETE", path, |r| {
        r.header("if-match", replaced.etag().unwrap_or_default())
    })
    .await?
    .expect(204)?;
    http.ask("DELETE", path)
        .await?
        .expect_problem(404, "not-found")?;
    Ok(())
}

async fn unknown(http: &Http) -> Result<()> {
    for path in [
        "/",
        "/nothing",
        "/files%2Fx",
        "/ring/nothing",
        "/verify?name=no-such",
        "/where?name=no-such",
    ] {
        http.ask("GET", path)
            .await?
            .expect_problem(404, "not-found")
            .context(path)?;
    }
    let answer = http.ask("PATCH", "/files/x").await?;
    answer.expect(405)?;
    ensure!(
        answer.header("allow").is_some_and(|a| a.contains("PUT")),
        "{answer}"
    );
    for query in ["limit=0", "limit=1001", "limit=x", "prefix=%ff"] {
        http.ask("GET", &format!("/files?{query}"))
            .await?
            .expect(400)
            .context(query)?;
    }
    Ok(())
}

/// A PUT that says it is `length` bytes long and sends fewer.
async fn break_off(
    http: &Http,
    name: &str,
    content: &Content,
    send: u64,
    end: bool,
    chunked: bool,
) -> Result<()> {
    let body = content.range(0, send);
    let mut bytes = format!("PUT /files/{name} HTTP/1.1\r\nHost: x\r\n").into_bytes();
    if chunked {
        bytes.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).bytes());
        bytes.extend(&body);
        bytes.extend(b"\r\n");
    } else {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", content.size).bytes());
        bytes.extend(&body);
    }
    let address = http.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let _ = stream.write_all(&bytes).await;
    if end {
        // Half closed: an answer may come, and it must not be that of a success.
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(secs(10), stream.read_to_end(&mut answer)).await;
        ensure!(
            !matches!(status_of(&answer), Some(200..=299)),
            "half a file was accepted: {}",
            String::from_utf8_lossy(&answer)
        );
    } else {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        drop(stream);
    }
    Ok(())
}

async fn broken_off(ctx: &Ctx, http: &Http) -> Result<()> {
    let old = ctx.content("old version", 2_500_000);
    let (stored, _) = http.put("torn-old", &old).await?;
    let new = ctx.content("new version", 3_500_000);
    for (n, (end, chunked)) in [(false, false), (true, false), (false, true), (true, true)]
        .into_iter()
        .enumerate()
    {
        let name = format!("torn-{n}");
        for send in [10, 3_200_000] {
            break_off(http, &name, &new, send, end, chunked).await?;
            break_off(http, "torn-old", &new, send, end, chunked).await?;
        }
        http.ask("GET", &format!("/files/{name}"))
            .await?
            .expect(404)?;
        let (etag, _) = http.get("torn-old", &old).await?;
        ensure!(etag == stored.etag()?, "it has another tag than before");
    }
    let listed = http.ask("GET", "/files?prefix=torn-").await?;
    let listed: chord_api::http::FileList = serde_json::from_slice(&listed.expect(200)?.body)?;
    ensure!(listed.files.len() == 1, "{:?} are listed", listed.files);
    http.delete("torn-old").await?;
    Ok(())
}

/// What was sent of a file that was never finished, and what was deleted, gives its
/// room back.
async fn room_again(cluster: &Cluster) -> Result<()> {
    eventually("every disk is nearly empty again", secs(60), || async {
        for node in cluster.nodes().await? {
            let report = cluster.files(&node).await?.status().await?.report;
            let (used, held) = (report.space.used, report.inventory);
            ensure!(
                held.chunks == 0 && used < 4 * MIB,
                "{} uses {used} bytes and holds {held:?}",
                node.name
            );
        }
        Ok(())
    })
    .await
}

async fn no_secret(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes().await? {
        let peer = Http::new(&cluster.peer_url(node.ordinal).await?, false)?;
        for path in ["/peer/report", "/peer/view", "/"] {
            let answer = peer.ask("GET", path).await?;
            ensure!(
                answer.status == 401,
                "GET {path} without the secret: {answer}"
            );
            let wrong = peer
                .ask_with("GET", path, |r| r.header("authorization", "Bearer wrong"))
                .await?;
            ensure!(
                wrong.status == 401,
                "GET {path} with a wrong secret: {wrong}"
            );
        }
        let put = peer.ask_with("PUT", "/peer/view", |r| r.body("x")).await?;
        ensure!(
            put.status == 401,
            "PUT /peer/view without the secret: {put}"
        );
    }
    Ok(())
}

async fn garbage(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let noise = ctx.content("noise", 100_000).bytes().to_vec();
    let long_line = [
        b"GET /".as_slice(),
        &vec![b'a'; 300_000],
        b" HTTP/1.1\r\n\r\n",
    ]
    .concat();
    let many_headers: Vec<u8> = std::iter::once("GET /livez HTTP/1.1\r\n".to_string())
        .chain((0..2000).map(|n| format!("X-{n}: y\r\n")))
        .collect::<String>()
        .into_bytes();
    let pieces: [&[u8]; 8] = [
        &noise,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        &long_line,
        &many_headers,
        b"PUT /files/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /files/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"\0\0\0\0\r\n\r\n",
    ];
    for node in cluster.nodes().await? {
        for base in [node.url.clone(), cluster.peer_url(node.ordinal).await?] {
            for piece in pieces {
                let answer = raw(&base, piece, true, secs(2)).await?;
                ensure!(
                    !matches!(status_of(&answer), Some(200..=299)),
                    "garbage was answered by {:.100}",
                    String::from_utf8_lossy(&answer)
                );
            }
        }
        two_lengths(&node.url).await?;
        Http::new(&node.url, false)?
            .ask("GET", "/livez")
            .await?
            .expect(200)?;
    }
    cluster.http()?.ask("GET", "/files/x").await?.expect(404)?;
    Ok(())
}

/// A request with two lengths may be taken by the second or refused, but what follows
/// must never be taken for a request: somebody else may have written it.
async fn two_lengths(base: &str) -> Result<()> {
    let head = "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = raw(base, format!("{head}{next}").as_bytes(), false, secs(5)).await?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(
        text.matches("HTTP/1.1 ").count() == 1,
        "two answers came: {text}"
    );
    Ok(())
}

/// A PUT that is answered, or refused for want of space.
async fn fill(http: &Http, name: &str, content: &Content) -> Result<u16> {
    let path = Http::path(name)?;
    let (status, _) = persist(&format!("storing {name:?}"), KEEP_TRYING, || async {
        let answer = http
            .send(http.request("PUT", &path).body(content.bytes()))
            .await?;
        match answer.status {
            503 => Err(Trouble::Again(answer.to_string())),
            507 => answer
                .expect_problem(507, "full")
                .map(|a| a.status)
                .map_err(Trouble::Wrong),
            _ => Ok(answer.status),
        }
    })
    .await?;
    Ok(status)
}

async fn full(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let http = cluster.http()?;
    let mut stored = Vec::new();
    for (name, content) in ctx.files("full/", 80, MIB) {
        match fill(&http, &name, &content).await? {
            200 | 201 => stored.push((name, content)),
            507 => break,
            status => anyhow::bail!("{name} was answered by {status}"),
        }
    }
    ctx.cases.note(&format!(
        "{} files of 1 MiB fit on three disks of 64 MiB",
        stored.len()
    ));
    ensure!(
        (30..64).contains(&stored.len()),
        "{} files of 1 MiB fit on disks of 64 MiB",
        stored.len()
    );
    // Before the body: what waits for 100 (Continue) is told at once, by any node that
    // has heard how full the others are, which takes a moment after the last write.
    let head = "PUT /files/full/more HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\nExpect: 100-continue\r\n\r\n";
    eventually("a PUT is refused before its body", secs(20), || async {
        let answer = raw(http.base(), head.as_bytes(), false, secs(5)).await?;
        ensure!(
            status_of(&answer) == Some(507),
            "it was answered by {:.200}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    })
    .await?;
    crate::traffic::load::get_all(&http, &stored).await?;
    let (gone, stay) = stored.split_at(stored.len() / 2);
    for (name, _) in gone {
        http.delete(name).await?;
    }
    let content = ctx.content("room again", MIB);
    eventually("there is room again", secs(60), || async {
        let status = fill(&http, "full/again", &content).await?;
        ensure!(matches!(status, 200 | 201), "it is answered by {status}");
        Ok(())
    })
    .await?;
    http.get("full/again", &content).await?;
    crate::traffic::load::get_all(&http, stay).await
}
