//! The command line of chord: files, the cluster's state, a cluster on this
//! machine (`up`), and the same for a cluster on Kubernetes (`kubectl chord`).
//!
//! `args` is what can be typed, `commands` has a module for each command on a cluster,
//! `up` is a supervisor of processes and `sim` runs the simulators. `target` finds and
//! reaches the cluster that a command is for; `failure` says how a command ends.

pub mod args;
pub mod commands;
pub mod failure;
pub mod output;
mod signals;
pub mod sim;
pub mod target;
pub mod up;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::output::{Format, Output};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match args::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return unclear(&error, args::wants_json(&words)),
    };
    let plugin = std::env::args_os()
        .next()
        .is_some_and(|name| is_plugin(Path::new(&name)));
    let out = Output {
        format: cli.global.output,
        verbose: cli.global.verbose,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            out.complain(&Failure::failed(format!("cannot start: {e}")));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(commands::run(cli, plugin, out));
    // A read of standard input cannot be cancelled; nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(failure) => match failure.code() {
            None => ExitCode::SUCCESS,
            Some(code) => {
                out.complain(&failure);
                code.into()
            }
        },
    }
}

/// Words that are no command, or ask for help.
fn unclear(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let out = Output {
            format: Format::Json,
            verbose: false,
        };
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        out.complain(&Failure::usage(text));
    } else {
        // Who does not listen needs no help.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether kubectl started us: it runs `kubectl-chord` for `kubectl chord`.
fn is_plugin(program: &Path) -> bool {
    program
        .file_stem()
        .and_then(|s| s.to_str())
        .is_some_and(|s| s.starts_with("kubectl-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_makes_it_a_plugin() {
        assert!(is_plugin(Path::new("/usr/local/bin/kubectl-chord")));
        assert!(!is_plugin(Path::new("./chord")));
    }
}
