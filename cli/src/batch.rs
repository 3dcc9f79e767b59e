//! A command that does several things of one kind: stores many files, deletes many.

use crate::failure::{Code, Failure};
use crate::output::Output;

/// How many transfers or checks run side by side when there are many to do.
pub const AT_ONCE: usize = 4;

/// Several things of one kind: all are tried, each failure is told at once, and the
/// first one's code is the exit code.
#[derive(Debug)]
pub struct Batch {
    out: Output,
    first: Option<Code>,
    failures: usize,
    done: usize,
}

impl Batch {
    /// Nothing is done yet.
    pub fn new(out: Output) -> Batch {
        Batch {
            out,
            first: None,
            failures: 0,
            done: 0,
        }
    }

    /// Counts one that was done.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// Tells of a failure and goes on; a closed output ends everything.
    pub fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        let Some(code) = failure.code() else {
            return Err(failure);
        };
        self.out.print_failure(&failure);
        self.first.get_or_insert(code);
        self.failures += 1;
        Ok(())
    }

    /// What became of all of them.
    pub fn finish(self) -> Result<(), Failure> {
        match self.first {
            None => Ok(()),
            Some(code) => Err(Failure::new(
                code,
                format!("{} of {} failed", self.failures, self.failures + self.done),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn several_things_end_with_the_code_of_the_first_failure() {
        let out = Output {
            format: Format::Json,
            verbose: false,
        };
        let mut batch = Batch::new(out);
        batch.done();
        batch.failed(Failure::new(Code::NotFound, "a")).unwrap();
        batch.failed(Failure::new(Code::Unavailable, "b")).unwrap();
        assert_eq!(batch.finish().unwrap_err().code(), Some(Code::NotFound));
        assert!(Batch::new(out).finish().is_ok());
        assert!(
            Batch::new(out).failed(Failure::OutputClosed).is_err(),
            "a closed output ends the command"
        );
    }
}
