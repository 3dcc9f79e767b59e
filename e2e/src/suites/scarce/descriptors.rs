//! Too many connections for the file descriptors that there are, and none left at all.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tokio::net::TcpStream;

use crate::cluster_spec::{self as manifest, NAME};
use crate::program::chord;
use crate::stage::local::{Around, Local, LocalCluster};
use crate::stage::process::children;
use crate::suite::Ctx;
use crate::traffic::content::Content;
use crate::traffic::http::Http;
use crate::traffic::load::get_all;
use crate::wait::{eventually, secs};

/// What every process is given.
const LIMIT: u64 = 1024;
/// More connections to one port than fit into the limit.
const IDLE: usize = 1500;

pub async fn run(ctx: &Ctx, local: &Local) -> Result<()> {
    let cases = &ctx.cases;
    let beside = local.place()?;
    let file = beside.join("manifest.yaml");
    let spec = manifest::spec(json!({}));
    std::fs::write(
        &file,
        serde_yaml::to_string(&manifest::cluster(NAME, &spec))?,
    )?;
    let words = ["prlimit".to_string(), format!("--nofile={LIMIT}:{LIMIT}")];
    let around = Around {
        words: words.into(),
        ..Around::default()
    };
    let cluster = local
        .up_within(&around, &beside, &beside.join("data"), Some(&file))
        .await?;
    let files = ctx.files("scarce/", 12, 1_500_000);
    let http = Http::new(cluster.endpoint(), true)?;
    for (name, content) in &files {
        http.put(name, content).await?;
    }
    cases
        .case(
            &format!("{IDLE} idle connections with a limit of {LIMIT} file descriptors"),
            idle(&cluster, &files),
        )
        .await?;
    cases
        .case(
            "processes that have no file descriptor left go on when they have some again",
            none_left(&cluster, &files),
        )
        .await?;
    cluster.stop().await
}

/// The ports that a user and the nodes themselves connect to.
async fn ports(cluster: &LocalCluster) -> Result<Vec<String>> {
    let mut bases = vec![cluster.endpoint().to_string()];
    for node in cluster.nodes().await? {
        bases.push(cluster.peer_url(node.ordinal).await?);
        bases.push(node.url);
    }
    Ok(bases)
}

async fn idle(cluster: &LocalCluster, files: &[(String, Content)]) -> Result<()> {
    let before = processes(cluster);
    for base in ports(cluster).await? {
        let address = base.trim_start_matches("http://");
        let mut quiet = Vec::with_capacity(IDLE);
        for n in 0..IDLE {
            // One that is refused or closed at once is what a limit does.
            let connected = tokio::time::timeout(secs(5), TcpStream::connect(address)).await;
            if let Ok(Ok(stream)) = connected {
                quiet.push(stream);
            }
            if n % 500 == 499 {
                let http = Http::new(cluster.endpoint(), false)?;
                get_all(&http, &files[..2]).await?;
            }
        }
        ensure!(!quiet.is_empty(), "{base} took no connection");
        let http = Http::new(cluster.endpoint(), false)?;
        get_all(&http, files).await?;
        http.put("scarce/between", &files[0].1).await?;
        ensure!(
            processes(cluster) == before,
            "with {IDLE} connections to {base} these run: {:?}, and before {before:?}",
            processes(cluster)
        );
    }
    Ok(())
}

/// `chord up` and what it started.
fn processes(cluster: &LocalCluster) -> Vec<(u32, String)> {
    let mut all = children(cluster.up_pid());
    all.push((cluster.up_pid(), "chord".into()));
    all.sort();
    all
}

fn limit(pid: u32, most: u64) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(LIMIT),
    };
    prlimit(pid, Resource::Nofile, limit).context("setting the limit of a process")?;
    Ok(())
}

async fn none_left(cluster: &LocalCluster, files: &[(String, Content)]) -> Result<()> {
    let before = processes(cluster);
    let mut kept = Vec::new();
    for node in cluster.nodes().await? {
        let http = Http::new(&node.url, true)?;
        get_all(&http, &files[..1]).await?;
        kept.push(http);
    }
    for (pid, _) in &before {
        limit(*pid, 1)?;
    }
    // Over connections that there are already: no file can be opened for it.
    let (name, _) = &files[1];
    for http in &kept {
        let request = http.request("GET", &Http::path(name)?);
        match http.send(request).await {
            Ok(answer) => {
                answer.expect_problem(503, "overloaded")?;
            }
            Err(e) => anyhow::bail!("GET without a file descriptor: {e:?}"),
        }
    }
    // Nor can one be made.
    let put = kept[0].request("PUT", &Http::path("scarce/none")?);
    let put = kept[0].send(put.timeout(secs(60)).body(files[1].1.bytes()));
    match put.await {
        Ok(answer) => answer.expect(503).map(|_| ())?,
        Err(e) => anyhow::bail!("PUT without a file descriptor: {e:?}"),
    }
    // Time for everything that they do by themselves.
    tokio::time::sleep(secs(5)).await;
    ensure!(
        processes(cluster) == before,
        "without a file descriptor these run: {:?}, and before {before:?}",
        processes(cluster)
    );
    for (pid, _) in &before {
        limit(*pid, LIMIT)?;
    }
    let http = Http::new(cluster.endpoint(), false)?;
    eventually("every file can be read again", secs(60), || {
        get_all(&http, files)
    })
    .await?;
    http.put("scarce/after", &files[0].1).await?;
    ensure!(
        processes(cluster) == before,
        "afterwards these run: {:?}, and before {before:?}",
        processes(cluster)
    );
    let checked = chord(cluster.endpoint(), &["verify"]).await?;
    checked.expect(0)?;
    Ok(())
}
