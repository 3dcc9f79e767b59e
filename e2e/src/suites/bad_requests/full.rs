//! Disks that are full: refused before the body, and room again after deletes.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::MIB;
use crate::suite::Ctx;
use crate::traffic::content::Content;
use crate::traffic::http::{Http, KEEP_TRYING, Trouble, persist, raw, status_of};
use crate::traffic::load;
use crate::wait::{eventually, secs};

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

/// Fills a cluster with this spec, and makes room in it.
pub async fn full(ctx: &Ctx, spec: &Value) -> Result<()> {
    let cluster = ctx.stage.start(spec).await?;
    let before = cluster.identities().await?;
    let http = cluster.http()?;
    let stored = fill_up(ctx, &http).await?;
    refused_at_once(&http).await?;
    load::get_all(&http, &stored).await?;
    room_after_deletes(ctx, &http, &stored).await?;
    let after = cluster.identities().await?;
    ensure!(
        before == after,
        "the nodes were {before:?} and are {after:?}"
    );
    Ok(())
}

/// Stores files until there is no room. Those that were stored.
async fn fill_up(ctx: &Ctx, http: &Http) -> Result<Vec<(String, Content)>> {
    let mut stored = Vec::new();
    for (name, content) in ctx.files("full/", 80, MIB) {
        match fill(http, &name, &content).await? {
            200 | 201 => stored.push((name, content)),
            507 => break,
            status => bail!("{name} was answered by {status}"),
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
    Ok(stored)
}

/// Before the body: what waits for 100 (Continue) is told at once, by any node that has
/// heard how full the others are, which takes a moment after the last write.
async fn refused_at_once(http: &Http) -> Result<()> {
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
    .await
}

async fn room_after_deletes(ctx: &Ctx, http: &Http, stored: &[(String, Content)]) -> Result<()> {
    let (gone, stay) = stored.split_at(stored.len() / 2);
    for (name, _) in gone {
        http.delete(name).await?;
    }
    let content = ctx.content("room again", MIB);
    eventually("there is room again", secs(60), || async {
        let status = fill(http, "full/again", &content).await?;
        ensure!(matches!(status, 200 | 201), "it is answered by {status}");
        Ok(())
    })
    .await?;
    http.get("full/again", &content).await?;
    load::get_all(http, stay).await
}
