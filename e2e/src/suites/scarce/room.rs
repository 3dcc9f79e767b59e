//! A file system that others have filled to the last byte.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::client::{Http, raw, status_of};
use crate::content::Content;
use crate::load::get_all;
use crate::manifest::{self, NAME};
use crate::program::chord;
use crate::stage::Hurt;
use crate::stage::local::{Around, Local, LocalCluster};
use crate::stage::namespace::Namespace;
use crate::suites::Ctx;
use crate::wait::{eventually, secs};

/// The file system, and what a node may have of it.
const SIZE: &str = "200m";
const DISK: &str = "64Mi";
const KIB: u64 = 1024;

/// A cluster on a file system of its own.
struct Small {
    namespace: Namespace,
    at: PathBuf,
    beside: PathBuf,
}

impl Small {
    async fn new(local: &Local) -> Result<Small> {
        let beside = local.place()?;
        let at = beside.join("small");
        std::fs::create_dir_all(&at)?;
        let script = format!("mount -t tmpfs -o size={SIZE} small \"$1\"");
        let namespace = Namespace::new(false, &script, &[&at]).await?;
        Ok(Small {
            namespace,
            at,
            beside,
        })
    }

    /// A path on it.
    fn path(&self, name: &str) -> PathBuf {
        self.namespace.path(&self.at).join(name)
    }

    async fn up(&self, local: &Local, file: Option<&Path>) -> Result<Arc<LocalCluster>> {
        let around: Around = self.namespace.around();
        local
            .up_within(&around, &self.beside, &self.path("data"), file)
            .await
    }

    /// Takes all the room that there is: to the last byte.
    fn fill(&self) -> Result<u64> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.path("foreign"))?;
        let mut piece = vec![7u8; 1 << 20];
        loop {
            match file.write(&piece) {
                Ok(0) => bail!("nothing is taken, and nothing said"),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull && piece.len() > 1 => {
                    piece.truncate(piece.len() / 2);
                }
                Err(e) if e.kind() == ErrorKind::StorageFull => break,
                Err(e) => return Err(e).context("filling the file system"),
            }
        }
        Ok(file.metadata()?.len())
    }

    fn make_room(&self) -> Result<()> {
        std::fs::remove_file(self.path("foreign")).context("making room")
    }
}

pub async fn run(ctx: &Ctx, local: &Local) -> Result<()> {
    let cases = &ctx.cases;
    let small = Small::new(local).await?;
    let file = small.beside.join("manifest.yaml");
    let spec = manifest::spec(json!({"storage": {"size": DISK}, "chunkSize": "256Ki"}));
    std::fs::write(
        &file,
        serde_yaml::to_string(&manifest::cluster(NAME, &spec))?,
    )?;
    let cluster = small.up(local, Some(&file)).await?;
    let mut files = ctx.files("room/inline-", 16, 3 * KIB);
    files.extend(ctx.files("room/parts-", 12, 700 * KIB));
    let http = Http::new(cluster.endpoint(), false)?;
    for (name, content) in &files {
        http.put(name, content).await?;
    }
    let mut left = Left {
        small: &small,
        files,
    };
    cases
        .case(
            "on a file system that others have filled files are read and deleted, and refused before their bodies",
            left.read_delete_refuse(&cluster),
        )
        .await?;
    cases
        .case(
            "nodes that are killed there start again",
            left.killed(&cluster),
        )
        .await?;
    let again = cases
        .case("chord up stops there, and starts again", async {
            small.fill()?;
            cluster.stop().await?;
            small.fill()?;
            let again = small.up(local, None).await?;
            left.read_delete_refuse(&again).await?;
            Ok(again)
        })
        .await?;
    cases
        .case(
            "with room again files are stored, and every copy is right",
            left.after(&again),
        )
        .await?;
    again.stop().await
}

/// What is left to read and to delete.
struct Left<'a> {
    small: &'a Small,
    files: Vec<(String, Content)>,
}

impl Left<'_> {
    async fn read_delete_refuse(&mut self, cluster: &LocalCluster) -> Result<()> {
        let http = Http::new(cluster.endpoint(), false)?;
        self.small.fill()?;
        get_all(&http, &self.files).await.context("reading")?;
        let head = "PUT /files/room/more HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n";
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
        // Of each kind, and what that frees is taken by the others at once.
        for kind in ["room/inline-", "room/parts-"] {
            for _ in 0..2 {
                let at = self
                    .files
                    .iter()
                    .position(|(name, _)| name.starts_with(kind));
                let (name, _) = self.files.remove(at.context("none is left")?);
                self.small.fill()?;
                http.delete(&name).await?;
                let gone = http.ask("GET", &Http::path(&name)?).await?;
                gone.expect(404)?;
            }
        }
        get_all(&http, &self.files)
            .await
            .context("reading what is left")
    }

    async fn killed(&mut self, cluster: &LocalCluster) -> Result<()> {
        for ordinal in [0, 1, 2] {
            self.small.fill()?;
            cluster.hurt(ordinal, Hurt::Kill).await?;
        }
        let http = Http::new(cluster.endpoint(), false)?;
        eventually("every file can be read", secs(60), || {
            get_all(&http, &self.files)
        })
        .await?;
        self.read_delete_refuse(cluster).await
    }

    async fn after(&mut self, cluster: &LocalCluster) -> Result<()> {
        self.small.make_room()?;
        let http = Http::new(cluster.endpoint(), false)?;
        let content = self.files.first().context("none is left")?.1.clone();
        eventually("there is room again", secs(60), || async {
            let path = Http::path("room/again")?;
            let answer = http
                .send(http.request("PUT", &path).body(content.bytes()))
                .await;
            let answer = answer.map_err(|e| anyhow::anyhow!("{e:?}"))?;
            ensure!(matches!(answer.status, 200 | 201), "it is {answer}");
            Ok(())
        })
        .await?;
        self.files.push(("room/again".into(), content));
        get_all(&http, &self.files).await?;
        chord(cluster.endpoint(), &["verify"]).await?.expect(0)?;
        Ok(())
    }
}
