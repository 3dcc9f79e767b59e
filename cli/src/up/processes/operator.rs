//! The operator's process: a child that is started again when it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_api::human;

use super::process::{self, Backoff, Process, Recipe};
use crate::up::folder::Folder;
use crate::up::messages::Messages;

/// How long the operator may take to end by itself: it may be killed at any point.
const GRACE: Duration = Duration::from_secs(5);

/// The operator, running or about to.
pub struct Operator {
    folder: Arc<Folder>,
    recipe: Recipe,
    process: Option<Process>,
    not_before: Option<Instant>,
    kill_at: Option<Instant>,
    backoff: Backoff,
    messages: Messages,
}

impl Operator {
    pub fn new(folder: Arc<Folder>, program: PathBuf, messages: Messages) -> Operator {
        let args = vec![
            "local".into(),
            "--dir".into(),
            folder.at("").into(),
            "--exit-with-stdin".into(),
        ];
        let recipe = Recipe {
            program,
            args,
            log: folder.at("logs/operator.log"),
        };
        Operator {
            folder,
            recipe,
            process: None,
            not_before: None,
            kill_at: None,
            backoff: Backoff::default(),
            messages,
        }
    }

    /// Starts it when it does not run.
    pub fn step(&mut self, now: Instant) {
        if let Some(process) = &mut self.process {
            let Some(status) = process.ended() else {
                return;
            };
            let delay = self.backoff.next(process.is_steady(now));
            self.process = None;
            self.pause(now, delay, &format!("the operator ended ({status})"));
        }
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        let started = self.folder.with_room(|| Process::start(&self.recipe, now));
        match started {
            Ok(process) => {
                self.messages
                    .detail(&format!("started the operator (process {})", process.pid()));
                self.process = Some(process);
            }
            Err(e) => {
                let delay = self.backoff.next(false);
                self.pause(
                    now,
                    delay,
                    &format!("cannot start {}: {e}", self.recipe.program.display()),
                );
            }
        }
    }

    fn pause(&mut self, now: Instant, delay: Duration, what: &str) {
        self.not_before = Some(now + delay);
        self.messages.warning(&format!(
            "{what}: files can be used, nodes neither come nor go; it is started again in {}; see {}",
            human::span(delay),
            self.recipe.log.display()
        ));
    }

    /// Tells it to end.
    pub fn stop(&mut self, now: Instant) {
        if let Some(process) = &self.process {
            process.terminate();
            self.kill_at = Some(now + GRACE);
        }
    }

    /// Whether it has ended; by force when it takes too long.
    pub fn ended(&mut self, now: Instant) -> bool {
        let Some(process) = &mut self.process else {
            return true;
        };
        if process.ended().is_some() {
            self.process = None;
            return true;
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            process.kill();
        }
        false
    }

    /// Ends it by force.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Keeps its log bounded.
    pub fn cut_log(&self) {
        process::cut(&self.recipe.log);
    }
}
