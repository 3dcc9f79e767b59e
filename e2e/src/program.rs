//! The programs under test and the tools, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chord_api::human;
use tokio::process::Command;

/// The top of the checkout.
pub fn repo() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where what was built lies: `CHORD_BIN_DIR`, else the release build, else the
/// debug build.
pub fn binary(name: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("CHORD_BIN_DIR").filter(|d| !d.is_empty()) {
        let path = PathBuf::from(dir).join(name);
        ensure!(
            path.is_file(),
            "CHORD_BIN_DIR has no {name}: {}",
            path.display()
        );
        return Ok(path);
    }
    let built = ["release", "debug"].map(|profile| repo().join("target").join(profile).join(name));
    match built.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} has not been built: run `cargo build --release -p chord -p chord-node -p chord-operator`"
        ),
    }
}

/// A tool below `target/tools/bin`, else on the PATH.
pub fn tool(name: &str) -> Result<PathBuf> {
    let ours = repo().join("target/tools/bin").join(name);
    if ours.is_file() {
        return Ok(ours);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name}: `make tools` gets it"))
}

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn expect(self, code: i32) -> Result<Ran> {
        ensure!(
            self.code == Some(code),
            "`{}` ended with {:?} and not with {code}: {}{}",
            self.command,
            self.code,
            self.stderr.trim(),
            String::from_utf8_lossy(&self.stdout)
                .chars()
                .take(500)
                .collect::<String>()
                .trim_end()
        );
        Ok(self)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout).with_context(|| {
            format!(
                "`{}` printed what is no JSON: {}",
                self.command,
                self.text()
            )
        })
    }
}

/// Runs a program to its end, within a limit.
pub async fn run(program: &Path, args: &[&str], limit: Duration) -> Result<Ran> {
    run_with(program, args, limit, |c| c).await
}

/// The same, with more to the command.
pub async fn run_with(
    program: &Path,
    args: &[&str],
    limit: Duration,
    with: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<Ran> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let told = format!("{name} {}", args.join(" "));
    let mut command = Command::new(program);
    command
        .args(args)
        .env_remove("CHORD_ENDPOINT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    with(&mut command);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .with_context(|| format!("`{told}` has not ended after {}", human::span(limit)))?
        .with_context(|| format!("running `{told}`"))?;
    Ok(Ran {
        command: told,
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `chord`, against an endpoint.
pub async fn chord(endpoint: &str, args: &[&str]) -> Result<Ran> {
    let all: Vec<&str> = args
        .iter()
        .copied()
        .chain(["--endpoint", endpoint])
        .collect();
    run(&binary("chord")?, &all, Duration::from_secs(120)).await
}
