//! A part of this machine with a file system or a network of its own: nothing in it
//! is seen from outside, and it goes with its holder, however that ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::local::Around;

/// Namespaces of Linux, and the process that keeps them.
pub struct Namespace {
    _holder: Child,
    pid: u32,
    kinds: Vec<&'static str>,
}

/// Why there can be none here; `None`: there can.
pub async fn impossible() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it needs namespaces of Linux".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, to make a file system and a network of its own".into());
    }
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output()
        .await;
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "namespaces cannot be made here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(e) => Some(format!("unshare cannot be run: {e}")),
    }
}

impl Namespace {
    /// Makes one with a file system of its own, and a network of its own as well if
    /// `net`; prepares it with a script of `sh`, whose words are `args`.
    pub async fn new(net: bool, script: &str, args: &[&Path]) -> Result<Namespace> {
        let mut kinds = vec!["--mount"];
        if net {
            kinds.push("--net");
        }
        let mut command = Command::new("unshare");
        command
            .args(&kinds)
            .args(["--propagation", "private", "sh", "-ec"])
            // cat ends when its input does, and that when this process does.
            .arg(format!("{script}\necho ready\nexec cat"))
            .arg("sh")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut holder = command.spawn().context("making a namespace")?;
        let pid = holder.id().context("a namespace has ended at once")?;
        let said = holder.stdout.take().context("a namespace says nothing")?;
        let line = BufReader::new(said).lines().next_line().await?;
        ensure!(
            line.as_deref() == Some("ready"),
            "a namespace could not be prepared: {line:?}"
        );
        Ok(Namespace {
            _holder: holder,
            pid,
            kinds,
        })
    }

    /// To run a program within.
    pub fn around(&self) -> Around {
        let target = self.pid.to_string();
        let words = ["nsenter", "--target", &target]
            .into_iter()
            .chain(self.kinds.iter().copied())
            .chain(["--"]);
        Around {
            words: words.map(String::from).collect(),
            ..Around::default()
        }
    }

    /// How a path within is called, from inside and from outside.
    pub fn path(&self, within: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(within.strip_prefix("/").unwrap_or(within))
    }
}
