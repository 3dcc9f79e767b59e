//! Nodes of the previous build and of this one in one cluster, under load, as during
//! an upgrade: it grows, nodes of both builds die, and the old ones are replaced one
//! after the other. Nothing that was acknowledged is lost, and all nodes say the same.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster_spec::{self, NAME};
use crate::inspect;
use crate::program::{binary, repo, run as run_program};
use crate::stage::local::{Around, Local};
use crate::stage::node::Hurt;
use crate::stage::process::program_of;
use crate::stage::{Cluster, Stage};
use crate::suite::Ctx;
use crate::traffic::load::Load;
use crate::wait::{eventually, secs};

/// The nodes that are of the previous build at first.
const OLD: [u32; 2] = [0, 1];
/// What `scripts/previous.sh` ends with where there is no earlier commit.
const NO_COMMIT: i32 = 3;

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Local(local) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about one machine");
        return Ok(());
    };
    let cases = &ctx.cases;
    let built = run_program(&repo().join("scripts/previous.sh"), &[], secs(3600)).await?;
    if built.code == Some(NO_COMMIT) {
        ctx.cases.skipped("all of it", built.stderr.trim());
        return Ok(());
    }
    let previous = PathBuf::from(built.expect(0)?.text().trim());
    ctx.cases
        .note(&format!("the old nodes are {}", previous.display()));
    let builds = Builds::new(&local.place()?, previous)?;
    let cluster = cases
        .case(
            "two nodes of the previous build and one of this form a cluster",
            form(local, &builds),
        )
        .await?;
    let mut load = Load::start(cluster.endpoint(), ctx.seed, ctx.stage.load())?;
    cases
        .case("clients read and write", load.progress(30, 30))
        .await?;
    cases
        .case("a fourth node, of this build, joins", async {
            cluster.scale(4).await?;
            load.during(cluster.settled(4)).await?;
            builds.check(&cluster).await?;
            load.progress(10, 10).await
        })
        .await?;
    for (ordinal, which) in [(OLD[0], "the previous"), (2, "this")] {
        cases
            .case(
                &format!("kill -9 of a node of {which} build: reads and writes go on"),
                async {
                    cluster.hurt(ordinal, Hurt::Kill).await?;
                    load.progress(10, 10).await?;
                    load.during(cluster.settled(4)).await?;
                    builds.check(&cluster).await
                },
            )
            .await?;
    }
    for ordinal in OLD {
        cases
            .case(
                &format!("node {ordinal} is replaced by this build, with the disk that it had"),
                replace(&builds, &cluster, &mut load, ordinal),
            )
            .await?;
    }
    all_there(&ctx, &cluster, &mut load).await?;
    cases.note(&load.summary());
    Ok(())
}

/// Nothing was lost on the way, on any node.
async fn all_there(ctx: &Ctx, cluster: &Cluster, load: &mut Load) -> Result<()> {
    let cases = &ctx.cases;
    cases
        .case(
            "every acknowledged file is there, with the right bytes, and none that was deleted",
            async {
                load.stop().await?;
                load.all_there().await
            },
        )
        .await?;
    cases
        .case(
            "every copy is whole, and every node gives the same",
            async {
                let (http, all) = (cluster.http()?, load.kept());
                eventually("all copies are whole", secs(90), || {
                    inspect::verified(&http, &all, 3)
                })
                .await?;
                let nodes = cluster.nodes().await?;
                let urls: Vec<&str> = nodes.iter().map(|n| n.url.as_str()).collect();
                load.same_from(&urls).await
            },
        )
        .await?;
    Ok(())
}

async fn form(local: &Arc<Local>, builds: &Builds) -> Result<Cluster> {
    let beside = local.place()?;
    let spec = cluster_spec::spec(json!({"nodes": 3, "chunkSize": "256Ki"}));
    let file = beside.join("manifest.yaml");
    std::fs::write(
        &file,
        serde_yaml::to_string(&cluster_spec::cluster(NAME, &spec))?,
    )?;
    let around = Around {
        env: vec![(
            "CHORD_NODE_BIN".to_string(),
            builds.launcher().display().to_string(),
        )],
        ..Around::default()
    };
    let cluster = local
        .up_within(&around, &beside, &beside.join("data"), Some(&file))
        .await?;
    let cluster = Cluster::Local(cluster);
    cluster.settled(3).await?;
    builds.check(&cluster).await?;
    Ok(cluster)
}

/// Ends an old node; the one that comes in its place is of this build.
async fn replace(builds: &Builds, cluster: &Cluster, load: &mut Load, ordinal: u32) -> Result<()> {
    builds.choose(ordinal, &builds.present)?;
    load.during(cluster.hurt(ordinal, Hurt::Stop)).await?;
    load.progress(10, 10).await?;
    load.during(cluster.settled(4)).await?;
    builds.check(cluster).await
}

/// Two builds of the node, and which of them each node is.
struct Builds {
    folder: PathBuf,
    present: PathBuf,
}

impl Builds {
    /// In a folder of their own: a program that becomes the build that is chosen for a
    /// node, by a file that is called as its number.
    fn new(folder: &Path, previous: PathBuf) -> Result<Builds> {
        let builds = Builds {
            folder: folder.to_path_buf(),
            present: binary("chord-node")?.canonicalize()?,
        };
        let previous = previous
            .canonicalize()
            .with_context(|| format!("finding {}", previous.display()))?;
        ensure!(
            std::fs::read(&previous)? != std::fs::read(&builds.present)?,
            "{} is no other program than {}",
            previous.display(),
            builds.present.display()
        );
        for ordinal in OLD {
            builds.choose(ordinal, &previous)?;
        }
        let script = format!(
            "#!/bin/sh\n\
             before=\n\
             for word; do\n\
             if [ \"$before\" = --ordinal ]; then ordinal=$word; fi\n\
             before=$word\n\
             done\n\
             if [ -f '{folder}'/\"$ordinal\" ]; then program=$(cat '{folder}'/\"$ordinal\"); else program='{present}'; fi\n\
             exec \"$program\" \"$@\"\n",
            folder = folder.display(),
            present = builds.present.display()
        );
        let launcher = builds.launcher();
        std::fs::write(&launcher, script)?;
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755))?;
        Ok(builds)
    }

    fn launcher(&self) -> PathBuf {
        self.folder.join("chord-node")
    }

    /// From its next start on a node is this program.
    fn choose(&self, ordinal: u32, program: &Path) -> Result<()> {
        let file = self.folder.join(ordinal.to_string());
        let draft = self.folder.join(format!("{ordinal}.new"));
        std::fs::write(&draft, program.display().to_string())?;
        std::fs::rename(&draft, &file).with_context(|| format!("writing {}", file.display()))
    }

    fn chosen(&self, ordinal: u32) -> PathBuf {
        std::fs::read_to_string(self.folder.join(ordinal.to_string()))
            .map_or_else(|_| self.present.clone(), PathBuf::from)
    }

    /// That every node is the program that was chosen for it.
    async fn check(&self, cluster: &Cluster) -> Result<()> {
        for (ordinal, pid) in cluster.identities().await? {
            let runs = program_of(pid.parse().context("a process without a number")?)
                .with_context(|| format!("finding the program of node {ordinal}"))?;
            let chosen = self.chosen(ordinal);
            ensure!(
                runs == chosen,
                "node {ordinal} is {}, and not {}",
                runs.display(),
                chosen.display()
            );
        }
        Ok(())
    }
}
