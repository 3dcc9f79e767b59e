//! Requests that are wrong: digests, ranges, names, conditions, routes.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::suite::Ctx;
use crate::traffic::http::{Answer, Http};

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

pub async fn digests(ctx: &Ctx, http: &Http) -> Result<()> {
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

pub async fn ranges(ctx: &Ctx, http: &Http) -> Result<()> {
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

pub async fn names(http: &Http) -> Result<()> {
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

pub async fn conditions(ctx: &Ctx, http: &Http) -> Result<()> {
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

pub async fn unknown(http: &Http) -> Result<()> {
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
