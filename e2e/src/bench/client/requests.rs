//! What clients of a bench ask for: PUT, GET, listings, checks of every copy.

use anyhow::{Result, ensure};

use super::connection::Connection;
use super::files::{FileSet, Paths, Source};
use super::work::Work;

/// Stores the files of a set, each once.
pub struct Puts {
    /// What contents are cut out of.
    pub source: Source,
    /// The files.
    pub set: FileSet,
    /// Where the server has them.
    pub paths: Paths,
}

impl Work for Puts {
    fn host(&self) -> Option<&str> {
        self.paths.host()
    }

    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let body = self.source.file(&self.set, index);
        connection
            .put(&self.paths.of(&self.set, index)?, body)
            .await
    }
}

/// Reads the first `count` files of a set, again and again.
pub struct Gets {
    /// What contents are cut out of.
    pub source: Source,
    /// The files.
    pub set: FileSet,
    /// How many of them there are.
    pub count: usize,
    /// Where the server has them.
    pub paths: Paths,
}

impl Work for Gets {
    fn host(&self) -> Option<&str> {
        self.paths.host()
    }

    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let index = index % self.count;
        let wanted = self.source.file(&self.set, index);
        connection
            .get(&self.paths.of(&self.set, index)?, &wanted)
            .await
    }
}

/// Lists a set of files: one page, whose names are compared.
pub struct Lists {
    /// The files.
    pub set: FileSet,
    /// How many of them there are.
    pub count: usize,
}

impl Work for Lists {
    async fn run(&self, connection: &mut Connection, _: usize) -> Result<()> {
        let path = format!("/files?prefix={}&limit={}", self.set.prefix, self.count);
        let page: chord_api::http::FileList =
            serde_json::from_slice(&connection.ask(&path).await?)?;
        let as_written = page.files.len() == self.count
            && page.files.iter().enumerate().all(|(index, file)| {
                file.name == self.set.name(index) && file.size == self.set.size as u64
            });
        ensure!(
            as_written,
            "{path} lists {} files, and not the {} that were written",
            page.files.len(),
            self.count
        );
        Ok(())
    }
}

/// Has every copy of every file of a set checked.
pub struct Verifies {
    /// The files.
    pub set: FileSet,
}

impl Work for Verifies {
    async fn run(&self, connection: &mut Connection, index: usize) -> Result<()> {
        let name = self.set.name(index);
        let answer = connection.ask(&format!("/verify?name={name}")).await?;
        let check: chord_api::http::Verification = serde_json::from_slice(&answer)?;
        ensure!(
            check.ok && check.size == self.set.size as u64,
            "not every copy of {name} is whole: {:?}",
            check.copies
        );
        Ok(())
    }
}
