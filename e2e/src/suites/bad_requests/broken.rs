//! Requests that break off, that nobody may make, and what is no request at all.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::MIB;
use crate::stage::Cluster;
use crate::suite::Ctx;
use crate::traffic::content::Content;
use crate::traffic::http::{Http, raw, status_of};
use crate::wait::{eventually, secs};

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
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(stream);
    }
    Ok(())
}

pub async fn broken_off(ctx: &Ctx, http: &Http) -> Result<()> {
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
pub async fn room_again(cluster: &Cluster) -> Result<()> {
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

pub async fn no_secret(cluster: &Cluster) -> Result<()> {
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

pub async fn garbage(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
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
