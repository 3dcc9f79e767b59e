//! A file system that somebody else has filled to the last byte: one for all nodes,
//! the operator and `chord up` itself.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use serde_json::json;

use crate::cluster_spec::{self, NAME};
use crate::program::{binary, run_with};
use crate::stage::local::{Around, Local, LocalCluster};
use crate::stage::namespace::Namespace;
use crate::stage::node::Hurt;
use crate::stage::process::{children, parent, signal};
use crate::suite::Ctx;
use crate::traffic::content::Content;
use crate::traffic::http::{Http, KEEP_TRYING, Trouble, persist};
use crate::traffic::load::get_all;
use crate::wait::{eventually, secs};

/// Small file systems, at `$1`. One in memory gives out room page by page, so that
/// nothing is left beside the last byte; ext4 puts off what it gives out, and what was
/// deleted is free with its next commit. Neither keeps anything for root.
const KINDS: [(&str, &str); 2] = [
    ("in memory", r#"mount -t tmpfs -o size=160m none "$1""#),
    (
        "ext4",
        r#"truncate -s 176M "$1.image"
mkfs.ext4 -q -m 0 "$1.image"
mount -o loop "$1.image" "$1""#,
    ),
];
const NODES: u32 = 3;
/// How long the filler waits before it looks for room again.
const PAUSE: Duration = Duration::from_millis(2);

pub async fn run(ctx: &Ctx, local: &Local) -> Result<()> {
    for (kind, prepare) in KINDS {
        run_on(ctx, local, kind, prepare).await?;
    }
    Ok(())
}

async fn run_on(ctx: &Ctx, local: &Local, kind: &'static str, prepare: &str) -> Result<()> {
    let beside = local.place()?;
    let disk = beside.join("disk");
    std::fs::create_dir(&disk)?;
    let namespace = match Namespace::new(false, prepare, &[&disk]).await {
        Ok(namespace) => namespace,
        Err(e) => {
            let what = format!("a full file system, {kind}");
            ctx.cases.skipped(&what, &format!("{e:#}"));
            return Ok(());
        }
    };
    let file = beside.join("manifest.yaml");
    let spec = cluster_spec::spec(json!({
        "nodes": NODES, "chunkSize": "1Mi", "storage": {"size": "64Mi"},
    }));
    std::fs::write(
        &file,
        serde_yaml::to_string(&cluster_spec::cluster(NAME, &spec))?,
    )?;
    let mut full = FullDisk {
        kind,
        local,
        around: namespace.around(),
        outside: namespace.path(&disk),
        file,
        beside,
        disk,
        cluster: None,
        filler: None,
        whole: Vec::new(),
        held: Vec::new(),
        refused: ctx.content("refused", 300_000),
        small: ctx.content("small", 2_000),
    };
    full.prepare(ctx).await?;
    full.cases(ctx).await?;
    full.cluster()?.stop().await
}

/// A cluster on a file system that gets full.
struct FullDisk<'a> {
    kind: &'static str,
    local: &'a Local,
    around: Around,
    beside: PathBuf,
    file: PathBuf,
    /// The file system as the cluster sees it.
    disk: PathBuf,
    /// The same as this process sees it.
    outside: PathBuf,
    cluster: Option<Arc<LocalCluster>>,
    filler: Option<Filler>,
    /// What the ballasts held before anything was full.
    whole: Vec<u64>,
    /// The files that are still there.
    held: Vec<(String, Content)>,
    refused: Content,
    small: Content,
}

impl FullDisk<'_> {
    fn cluster(&self) -> Result<&Arc<LocalCluster>> {
        self.cluster.as_ref().context("no cluster runs")
    }

    fn http(&self) -> Result<Http> {
        Http::new(self.cluster()?.endpoint(), true)
    }

    async fn up(&mut self) -> Result<()> {
        // By the path that leads there from outside, too: this process looks into it.
        let data = self.outside.join("data");
        let up = self
            .local
            .up_within(&self.around, &self.beside, &data, Some(&self.file));
        self.cluster = Some(up.await?);
        Ok(())
    }

    /// Stores files of every kind, and fills what is left.
    async fn prepare(&mut self, ctx: &Ctx) -> Result<()> {
        self.up().await?;
        let http = self.http()?;
        self.held = ctx.files("room/large-", 12, 1_500_000);
        self.held.extend(ctx.files("room/small-", 24, 9_000));
        for (name, content) in &self.held {
            http.put(name, content).await?;
        }
        self.whole = self.ballasts()?;
        self.filler = Some(Filler::start(&self.outside)?);
        eventually("the file system is full", secs(20), || async {
            let free = self.free()?;
            ensure!(free == 0, "{free} bytes are free");
            Ok(())
        })
        .await
    }

    async fn cases(&mut self, ctx: &Ctx) -> Result<()> {
        let cases = &ctx.cases;
        let on = format!("a full file system, {}", self.kind);
        let what = format!("{on}: GET, LIST and DELETE work, PUT is 507");
        cases.case(&what, self.used(8)).await?;
        for (hurt, name) in [(Hurt::Kill, "killed"), (Hurt::Stop, "stopped")] {
            let restarted = async {
                self.hurt(hurt).await?;
                self.used(4).await
            };
            let what = format!("{on}: a node that was {name} starts");
            cases.case(&what, restarted).await?;
        }
        let again = async {
            self.cluster()?.stop().await?;
            self.up().await?;
            self.used(4).await
        };
        let what = format!("{on}: chord up starts after Ctrl-C");
        cases.case(&what, again).await?;
        let again = async {
            self.kill_all().await?;
            self.up().await?;
            self.used(4).await
        };
        let what = format!("{on}: chord up starts after kill -9");
        cases.case(&what, again).await?;
        let what = format!("{on}: a new cluster is refused and leaves nothing");
        cases.case(&what, self.first_start()).await?;
        let what = format!("{on}: deletes make room, the ballasts are whole again, PUT works");
        cases.case(&what, self.room_again(ctx)).await?;
        Ok(())
    }

    /// What works on a full file system, and what does not; deletes so many files.
    async fn used(&mut self, deletes: usize) -> Result<()> {
        let http = self.http()?;
        get_all(&http, &self.held).await?;
        let at = self.held.len().saturating_sub(deletes);
        let gone = self.held.split_off(at);
        for (name, _) in &gone {
            http.delete(name).await?;
            http.ask("GET", &Http::path(name)?).await?.expect(404)?;
        }
        // New ones, of every way in which a body is kept, and a new version.
        refused(&http, "room/new-large", &self.refused).await?;
        refused(&http, "room/new-small", &self.small).await?;
        if let Some((name, content)) = self.held.first() {
            refused(&http, name, &self.small).await?;
            http.get(name, content).await?;
        }
        self.listed(&http).await?;
        self.unchanged(&http, "room/new-large").await?;
        self.unchanged(&http, "room/new-small").await
    }

    async fn unchanged(&self, http: &Http, name: &str) -> Result<()> {
        let path = Http::path(name)?;
        http.ask("GET", &path).await?.expect(404).map(|_| ())
    }

    /// The list is what is held, and nothing else.
    async fn listed(&self, http: &Http) -> Result<()> {
        let answer = http.ask("GET", "/files?prefix=room/&limit=1000").await?;
        let page: serde_json::Value = serde_json::from_slice(&answer.expect(200)?.body)?;
        let files = page["files"].as_array().context("a list without files")?;
        let mut listed: Vec<&str> = files.iter().filter_map(|f| f["name"].as_str()).collect();
        let mut held: Vec<&str> = self.held.iter().map(|(name, _)| name.as_str()).collect();
        listed.sort_unstable();
        held.sort_unstable();
        ensure!(listed == held, "{listed:?} are listed, {held:?} are held");
        Ok(())
    }

    async fn hurt(&self, how: Hurt) -> Result<()> {
        self.cluster()?.hurt(1, how).await?;
        eventually("the node is ready", secs(40), || async {
            let nodes = self.cluster()?.nodes().await?;
            let node = nodes.iter().find(|n| n.ordinal == 1);
            let http = Http::new(&node.context("node 1 does not run")?.url, false)?;
            http.ask("GET", "/readyz").await?.expect(200).map(|_| ())
        })
        .await
    }

    /// Ends everything at once, as when the machine loses power.
    async fn kill_all(&self) -> Result<()> {
        let cluster = self.cluster()?;
        let mut pids = vec![cluster.up_pid()];
        pids.extend(children(cluster.up_pid()).into_iter().map(|(pid, _)| pid));
        for pid in &pids {
            signal(*pid, Signal::KILL)?;
        }
        eventually("all processes have ended", secs(20), || async {
            let left = pids
                .iter()
                .filter(|p| parent(**p).is_some_and(|(_, zombie)| !zombie));
            ensure!(left.count() == 0, "some of {pids:?} run still");
            Ok(())
        })
        .await
    }

    async fn first_start(&self) -> Result<()> {
        let dir = self.disk.join("another").display().to_string();
        let chord = binary("chord")?.display().to_string();
        let words = self.around.words.iter().skip(1).map(String::as_str);
        let args: Vec<&str> = words
            .chain([chord.as_str(), "up", "--port", "0", "--dir", &dir])
            .collect();
        let ran = run_with(Path::new(&self.around.words[0]), &args, secs(30), |c| c).await?;
        let ran = ran.expect(1)?;
        ensure!(
            ran.stderr.contains(&dir) && ran.stderr.contains("free"),
            "it says: {}",
            ran.stderr
        );
        let made = self.outside.join("another");
        ensure!(!made.exists(), "{} was made", made.display());
        Ok(())
    }

    /// The filler takes no more; then it goes.
    async fn room_again(&mut self, ctx: &Ctx) -> Result<()> {
        let Some(filler) = self.filler.take() else {
            bail!("nothing fills the file system");
        };
        let filled = filler.stop()?;
        let http = self.http()?;
        for (name, _) in self.held.drain(..8) {
            http.delete(&name).await?;
        }
        eventually("the ballasts are whole again", secs(60), || async {
            let now = self.ballasts()?;
            ensure!(
                now == self.whole && !now.contains(&0),
                "they hold {now:?}, and held {:?}",
                self.whole
            );
            Ok(())
        })
        .await?;
        let free = self.free()?;
        ensure!(free > 0, "eight files have gone, and nothing is free");
        ctx.cases.note(&format!(
            "{free} bytes are free after eight deletes of 1.5 MB"
        ));
        std::fs::remove_file(filled)?;
        let content = ctx.content("room/again", 1_500_000);
        persist("storing a file when there is room", KEEP_TRYING, || async {
            match put(&http, "room/again", &content).await? {
                200 | 201 => Ok(()),
                status => Err(Trouble::Again(format!("it is answered by {status}"))),
            }
        })
        .await?;
        http.get("room/again", &content).await?;
        get_all(&http, &self.held).await
    }

    fn ballasts(&self) -> Result<Vec<u64>> {
        let data = self.outside.join("data");
        let mut paths: Vec<PathBuf> = (0..NODES)
            .map(|n| data.join("nodes").join(n.to_string()).join("ballast"))
            .collect();
        paths.push(data.join("run/ballast"));
        paths.push(data.join("operator/ballast"));
        let held = |path: &PathBuf| -> Result<u64> {
            match std::fs::metadata(path) {
                Ok(found) => Ok(found.blocks() * 512),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
                Err(e) => Err(e).with_context(|| format!("looking at {}", path.display())),
            }
        };
        paths.iter().map(held).collect()
    }

    fn free(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(&self.outside)?;
        Ok(found.f_bavail * found.f_frsize)
    }
}

/// A PUT's answer; one that cannot be given now is asked for again.
async fn put(http: &Http, name: &str, content: &Content) -> Result<u16, Trouble> {
    let path = Http::path(name).map_err(Trouble::Wrong)?;
    let request = http.request("PUT", &path).body(content.bytes());
    let answer = http.send(request).await?;
    match answer.status {
        503 => Err(Trouble::Again(answer.to_string())),
        507 => answer
            .expect_problem(507, "full")
            .map(|a| a.status)
            .map_err(Trouble::Wrong),
        status => Ok(status),
    }
}

async fn refused(http: &Http, name: &str, content: &Content) -> Result<()> {
    let (status, _) = persist(&format!("storing {name:?}"), KEEP_TRYING, || {
        put(http, name, content)
    })
    .await?;
    ensure!(status == 507, "a PUT of {name:?} is answered by {status}");
    Ok(())
}

/// Takes whatever is free, and whatever becomes free, until it is stopped.
struct Filler {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Filler {
    fn start(folder: &Path) -> Result<Filler> {
        let path = folder.join("filler");
        let mut file = File::create(&path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                // In ever smaller pieces, to the last byte.
                for piece in [1 << 20, 4096, 1] {
                    loop {
                        match file.write(&vec![7; piece]) {
                            Ok(_) => {}
                            Err(e) if e.kind() == ErrorKind::StorageFull => break,
                            Err(e) => return Err(e),
                        }
                    }
                }
                std::thread::sleep(PAUSE);
            }
            Ok(())
        };
        Ok(Filler {
            path,
            stop,
            thread: Some(std::thread::spawn(work)),
        })
    }

    /// Takes no more; what it has taken stays in the file that this names.
    fn stop(mut self) -> Result<PathBuf> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join().map_err(|_| anyhow!("the filler panicked"))?;
            ended.context("filling the file system")?;
        }
        Ok(self.path.clone())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
