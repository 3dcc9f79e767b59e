//! What somebody types who has just met chord, and what scripts hold on to: exit
//! codes, JSON, Ctrl-C.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster_spec::{self, NAME};
use crate::program::{Ran, binary, chord, repo, run as run_program, run_with};
use crate::stage::Stage;
use crate::stage::local::{Around, Local, LocalCluster};
use crate::suite::Ctx;
use crate::traffic::http::{raw, status_of};
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Local(local) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about one machine");
        return Ok(());
    };
    let cases = &ctx.cases;
    let beside = local.place()?;
    let laptop = repo().join("examples/laptop.yaml");
    let file = laptop.is_file().then_some(laptop.as_path());
    let content = ctx.content("hello", 5_000_000);
    let hello = beside.join("hello.bin");
    std::fs::write(&hello, content.bytes())?;
    let cluster = cases
        .case("chord up listens", local.up(&beside, file))
        .await?;
    let endpoint = cluster.endpoint().to_string();
    cases
        .case(
            "put, ls, stat, find, get, cat, nodes, status, ring, verify, rm",
            session(&endpoint, &beside),
        )
        .await?;
    let _ = cases
        .case(
            "exit codes are those of the interface",
            exit_codes(&endpoint, &beside),
        )
        .await;
    let _ = cases
        .case("a web page cannot reshape the cluster", web_page(&endpoint))
        .await;
    let _ = cases
        .case(
            "a folder with somebody's things in it is left as it is",
            foreign_folder(&beside),
        )
        .await;
    let _ = cases
        .case(
            "a busy port and a busy folder are named",
            busy(&endpoint, cluster.dir(), &beside),
        )
        .await;
    cases
        .case(
            "Ctrl-C stops every process, and a second start has the data",
            stopped_and_started(local, &cluster, &beside, &hello),
        )
        .await?;
    let _ = cases
        .case(
            "scaling by hand is refused with exit 4 while autoscaling decides",
            automatic(local),
        )
        .await;
    let _ = cases
        .case(
            "a proxy of the environment hears nothing of what is said on the machine",
            proxied(local),
        )
        .await;
    Ok(())
}

/// What `chord`, `chord up` and its processes say to each other carries the cluster's
/// secret, and is nobody else's to hear.
async fn proxied(local: &Local) -> Result<()> {
    let beside = local.place()?;
    let file = beside.join("manifest.yaml");
    let spec = cluster_spec::spec(json!({"nodes": 1, "replication": 1}));
    std::fs::write(
        &file,
        serde_yaml::to_string(&cluster_spec::cluster(NAME, &spec))?,
    )?;
    let proxy = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at = format!("http://{}", proxy.local_addr()?);
    let env = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let around = Around {
        env: env.map(|name| (name.to_string(), at.clone())).into(),
        ..Around::default()
    };
    let cluster = local
        .up_within(&around, &beside, &beside.join("data"), Some(&file))
        .await?;
    for args in [["put", "manifest.yaml"], ["scale", "2"]] {
        let endpoint = ["--endpoint", cluster.endpoint()];
        let args = [&args[..], &endpoint].concat();
        let ran = run_with(&binary("chord")?, &args, secs(60), |c| {
            c.envs(around.env.iter().cloned()).current_dir(&beside)
        })
        .await?;
        ran.expect(0)?;
    }
    let heard = tokio::time::timeout(secs(1), proxy.accept()).await;
    ensure!(heard.is_err(), "it was connected to: {heard:?}");
    cluster.stop().await
}

async fn stopped_and_started(
    local: &Local,
    cluster: &LocalCluster,
    beside: &Path,
    hello: &Path,
) -> Result<()> {
    let endpoint = cluster.endpoint();
    chord(
        endpoint,
        &["put", &hello.display().to_string(), "--name", "kept.bin"],
    )
    .await?
    .expect(0)?;
    cluster.stop().await?;
    let ran = chord(endpoint, &["ls"]).await?;
    ensure!(
        ran.code == Some(5),
        "after it has stopped, ls ends with {:?}: {}",
        ran.code,
        ran.stderr
    );
    let again = local.up(beside, None).await?;
    again_has(again.endpoint(), beside, hello).await?;
    again.stop().await
}

async fn again_has(endpoint: &str, beside: &Path, hello: &Path) -> Result<()> {
    let back = beside.join("back.bin");
    chord(endpoint, &["get", "kept.bin", &back.display().to_string()])
        .await?
        .expect(0)?;
    ensure!(
        std::fs::read(&back)? == std::fs::read(hello)?,
        "the bytes are others"
    );
    chord(endpoint, &["ls"]).await?.expect(0)?;
    Ok(())
}

async fn session(endpoint: &str, beside: &Path) -> Result<()> {
    let run = async |args: &[&str]| -> Result<Ran> { chord(endpoint, args).await?.expect(0) };
    let at = |name: &str| beside.join(name).display().to_string();
    run(&["put", &at("hello.bin"), "--name", "greetings/hello.bin"]).await?;
    std::fs::write(beside.join("note.txt"), "a note\n")?;
    run(&[
        "put",
        &at("note.txt"),
        "note.txt",
        "--meta",
        "mood=fine",
        "--content-type",
        "text/plain",
    ])
    .await?;
    let listed = run(&["ls"]).await?.text();
    ensure!(
        listed.lines().collect::<Vec<_>>() == ["greetings/hello.bin", "note.txt"],
        "ls says {listed:?}"
    );
    let listed = run(&["ls", "greet", "-o", "json"]).await?.json()?;
    ensure!(listed["files"][0]["size"] == 5_000_000, "ls says {listed}");
    let stat = run(&["stat", "note.txt", "-o", "json"]).await?.json()?;
    ensure!(
        stat["size"] == 7 && stat["meta"]["mood"] == "fine",
        "stat says {stat}"
    );
    ensure!(stat["contentType"] == "text/plain", "stat says {stat}");
    let found = run(&["find", "note.txt", "-o", "json"]).await?.json()?;
    ensure!(
        found["owners"].as_array().is_some_and(|o| o.len() == 3),
        "find says {found}"
    );
    ensure!(
        run(&["cat", "note.txt"]).await?.stdout == b"a note\n",
        "cat says something else"
    );
    run(&["get", "greetings/hello.bin", &at("got.bin")]).await?;
    ensure!(
        std::fs::read(beside.join("got.bin"))? == std::fs::read(beside.join("hello.bin"))?,
        "get wrote other bytes"
    );
    let nodes = run(&["nodes", "-o", "json"]).await?.json()?;
    nodes_are_complete(nodes.as_array().context("nodes is no array")?)?;
    let status = run(&["status", "-o", "json"]).await?.json()?;
    ensure!(
        status["phase"] == "Ready" && status["view"]["tables"] == "Stable",
        "status says {status}"
    );
    for command in ["nodes", "status", "ring"] {
        ensure!(
            !run(&[command]).await?.stdout.is_empty(),
            "{command} says nothing"
        );
    }
    eventually("verify finds every copy", secs(30), || async {
        let verified = run(&["verify", "-o", "json"]).await?.json()?;
        ensure!(
            verified["ok"] == true && verified["files"] == 2,
            "verify says {verified}"
        );
        Ok(())
    })
    .await?;
    run(&["rm", "note.txt", "greetings/hello.bin"]).await?;
    ensure!(
        run(&["ls"]).await?.stdout.is_empty(),
        "there is something left"
    );
    Ok(())
}

/// That `chord nodes` says of each node what the interface promises.
fn nodes_are_complete(nodes: &[Value]) -> Result<()> {
    ensure!(nodes.len() >= 3, "nodes says {nodes:?}");
    for node in nodes {
        let complete = node["name"].is_string()
            && node["address"]
                .as_str()
                .is_some_and(|a| a.starts_with("http://127.0.0.1:"))
            && node["state"] == "Ready"
            && node["pid"].is_u64()
            && node["capacity"].as_u64() > Some(0)
            && node["used"].is_u64()
            && node["files"].is_u64();
        ensure!(complete, "nodes says {node}");
    }
    Ok(())
}

async fn exit_codes(endpoint: &str, beside: &Path) -> Result<()> {
    let note = beside.join("note.txt").display().to_string();
    let out = beside.join("out").display().to_string();
    chord(endpoint, &["put", &note, "--name", "there"])
        .await?
        .expect(0)?;
    for (args, code) in [
        (vec!["get", "no-such", &out], 3),
        (vec!["cat", "no-such"], 3),
        (vec!["stat", "no-such"], 3),
        (vec!["rm", "no-such"], 3),
        (vec!["verify", "no-such"], 3),
        (
            vec!["put", &note, "--name", "there", "--if-none-match", "*"],
            4,
        ),
        (
            vec!["put", &note, "--name", "there", "--if-match", "another"],
            4,
        ),
        (vec!["rm", "there", "--if-match", "another"], 4),
        (vec!["drain", "files-77"], 3),
        (vec!["drain", "77", "--undo"], 3),
        (vec!["replace", "files-77"], 3),
        (vec!["replace", "files-0"], 4),
        (vec!["replace", "files-0", "--undo"], 3),
        (vec!["stat", ""], 2),
        (vec!["nonsense"], 2),
        (vec!["ls", "--limit", "x"], 2),
    ] {
        let ran = chord(endpoint, &args).await?.expect(code)?;
        ensure!(
            !ran.stderr.trim().is_empty(),
            "`{}` says nothing",
            ran.command
        );
    }
    ensure!(
        !Path::new(&out).exists(),
        "a file was made for what there is not"
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    chord(&format!("http://{nobody}"), &["ls"])
        .await?
        .expect(5)?;
    chord(endpoint, &["rm", "there"]).await?.expect(0)?;
    Ok(())
}

async fn web_page(endpoint: &str) -> Result<()> {
    let body = r#"{"nodes":5}"#;
    for (headers, status) in [
        ("Host: 127.0.0.1\r\nContent-Type: text/plain", 415),
        (
            "Host: 127.0.0.1\r\nOrigin: http://evil.example\r\nContent-Type: application/json",
            403,
        ),
        ("Host: evil.example\r\nContent-Type: application/json", 403),
    ] {
        let request = format!(
            "POST /cluster/scale HTTP/1.1\r\n{headers}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(endpoint, request.as_bytes(), false, secs(10)).await?;
        let told = status_of(&answer);
        ensure!(told == Some(status), "{headers:?} is answered {told:?}");
    }
    Ok(())
}

async fn foreign_folder(beside: &Path) -> Result<()> {
    let theirs = beside.join("theirs");
    std::fs::create_dir_all(theirs.join("logs"))?;
    let text = serde_yaml::to_string(&cluster_spec::cluster(NAME, &cluster_spec::spec(json!({}))))?;
    std::fs::write(theirs.join("cluster.yaml"), &text)?;
    let dir = theirs.display().to_string();
    let args = ["up", "--dir", &dir, "--port", "0"];
    let ran = run_program(&binary("chord")?, &args, secs(30)).await?;
    ensure!(
        !matches!(ran.code, Some(0) | None) && ran.stderr.contains(&dir),
        "{:?}: {}",
        ran.code,
        ran.stderr.trim()
    );
    ensure!(
        std::fs::read_dir(&theirs)?.count() == 2
            && std::fs::read_to_string(theirs.join("cluster.yaml"))? == text,
        "there are other things in it now"
    );
    Ok(())
}

async fn busy(endpoint: &str, dir: &Path, beside: &Path) -> Result<()> {
    let port = endpoint.rsplit(':').next().unwrap_or_default();
    let (dir, other) = (
        dir.display().to_string(),
        beside.join("other").display().to_string(),
    );
    let up = async |dir: &str, port: &str| {
        run_program(
            &binary("chord")?,
            &["up", "--dir", dir, "--port", port],
            secs(30),
        )
        .await
    };
    let ran = up(&other, port).await?;
    ensure!(
        ran.code == Some(5) && ran.stderr.contains(port),
        "{:?}: {}",
        ran.code,
        ran.stderr.trim()
    );
    let ran = up(&dir, "0").await?;
    ensure!(
        ran.code == Some(5) && ran.stderr.contains(&dir),
        "{:?}: {}",
        ran.code,
        ran.stderr.trim()
    );
    Ok(())
}

async fn automatic(local: &Local) -> Result<()> {
    let beside = local.place()?;
    let file = beside.join("automatic.yaml");
    let spec = cluster_spec::spec(json!({"autoscaling": {"minNodes": 3, "maxNodes": 4}}));
    std::fs::write(
        &file,
        serde_yaml::to_string(&cluster_spec::cluster(NAME, &spec))?,
    )?;
    let cluster = local.up(&beside, Some(&file)).await?;
    let ran = chord(cluster.endpoint(), &["scale", "4"])
        .await?
        .expect(4)?;
    ensure!(
        ran.stderr.contains("autoscaling"),
        "it says {}",
        ran.stderr.trim()
    );
    cluster.stop().await
}
