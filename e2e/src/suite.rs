//! What a suite is, and what it is given.

use anyhow::Result;
use clap::ValueEnum;
use futures::future::LocalBoxFuture;

use crate::stage::Stage;
use crate::tally::Cases;
use crate::traffic::content::Content;

/// Where suites run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    Local,
    Kube,
}

impl Place {
    /// As it is shown and typed.
    pub fn name(self) -> &'static str {
        match self {
            Place::Local => "local",
            Place::Kube => "kube",
        }
    }
}

/// What a suite is given.
#[derive(Clone)]
pub struct Ctx {
    pub stage: Stage,
    pub cases: Cases,
    pub seed: u64,
}

impl Ctx {
    /// The content of a file of this suite.
    pub fn content(&self, name: &str, size: u64) -> Content {
        Content::of(self.seed, name, size)
    }

    /// Several files of one size.
    pub fn files(&self, prefix: &str, count: usize, size: u64) -> Vec<(String, Content)> {
        (0..count)
            .map(|n| {
                let name = format!("{prefix}{n:03}");
                let content = self.content(&name, size);
                (name, content)
            })
            .collect()
    }
}

/// The names of files.
pub fn names(files: &[(String, Content)]) -> Vec<String> {
    files.iter().map(|(name, _)| name.clone()).collect()
}

/// A suite.
pub struct Suite {
    pub name: &'static str,
    pub about: &'static str,
    pub on: &'static [Place],
    /// Seconds, on a machine that does nothing else.
    pub limit: u64,
    pub run: fn(Ctx) -> LocalBoxFuture<'static, Result<()>>,
}
