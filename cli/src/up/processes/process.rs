//! One process of the cluster: started with its own log, told to end, ended by
//! force when it does not, and started again with a growing delay.
//!
//! Its standard input is a pipe that only we hold: when we die, however we die, it
//! reads the end of it and ends too.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

/// A log is cut when it is longer than this; the part before is kept beside it.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// How long a process has to run for its next failure to count as the first.
const STEADY: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub log: PathBuf,
}

/// A process that was started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Closed when this is dropped, which ends the process.
    _stdin: Option<ChildStdin>,
    pid: u32,
    since: Instant,
}

impl Process {
    /// Starts a process. To be called from one task only: a pipe that is just being
    /// made must not be inherited by another process that is just being started.
    pub fn start(recipe: &Recipe, now: Instant) -> std::io::Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&recipe.log)?;
        let mut child = Command::new(&recipe.program)
            .args(&recipe.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: we end the others in order.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        let pid = child.id().unwrap_or(0);
        Ok(Process {
            child,
            _stdin: stdin,
            pid,
            since: now,
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether it has run long enough to be taken for healthy.
    pub fn is_steady(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= STEADY
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        // Not yet waited for, so that the number is still its own.
        if self.child.id().is_some()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

/// The delay before the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more end; `steady` when it had run well before.
    pub fn next(&mut self, steady: bool) -> Duration {
        self.failures = if steady { 0 } else { self.failures };
        let delay = FIRST_DELAY
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST_DELAY);
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

/// Puts the log of the last run aside.
pub fn rotate(log: &Path) {
    if std::fs::metadata(log).is_ok_and(|m| m.len() > 0) {
        let _ = std::fs::rename(log, aside(log));
    }
}

/// Cuts a log that has become too long. Its process goes on writing to the same
/// file, at its end, which is then its beginning.
pub fn cut(log: &Path) {
    if !std::fs::metadata(log).is_ok_and(|m| m.len() > LOG_BYTES) {
        return;
    }
    if std::fs::copy(log, aside(log)).is_err() {
        // A part of it takes room on what may be a full disk.
        let _ = std::fs::remove_file(aside(log));
        return;
    }
    if let Ok(file) = File::options().write(true).open(log) {
        let _ = file.set_len(0);
    }
}

fn aside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_os_string();
    name.push(".1");
    PathBuf::from(name)
}

/// Finds a program of ours: where an environment variable says, beside this
/// program, or on the PATH.
pub fn find(name: &str, variable: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable).filter(|p| !p.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!(
                "{variable} names {}, which is no program",
                path.display()
            ))
        };
    }
    let beside = std::env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .ok();
    let beside = beside
        .as_deref()
        .and_then(Path::parent)
        .map(|folder| folder.join(name));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join(name));
    beside
        .into_iter()
        .chain(on_path)
        .find(|path| path.is_file())
        .ok_or_else(|| format!("cannot find the program {name}: put it beside chord, on the PATH, or name it in {variable}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_start_again_after_a_good_run() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..7).map(|_| backoff.next(false).as_millis()).collect();
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.next(true).as_millis(), 200);
    }

    #[tokio::test]
    async fn a_process_ends_when_its_standard_input_does() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            program: "/bin/cat".into(),
            args: vec![],
            log: dir.path().join("log"),
        };
        let process = Process::start(&recipe, Instant::now()).unwrap();
        let Process {
            mut child, _stdin, ..
        } = process;
        drop(_stdin);
        assert!(child.wait().await.unwrap().success());
    }
}
