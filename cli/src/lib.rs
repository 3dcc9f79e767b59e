//! The command line of chord: files, the cluster's state, a cluster on this
//! machine (`up`), and the same for a cluster on Kubernetes (`kubectl chord`).
//!
//! `args` is what can be typed, `commands` has a module for each command on a cluster,
//! `up` is a supervisor of processes and `sim` runs the simulators. `access` finds and
//! reaches the cluster that a command is for; `failure` says how a command ends.

#![warn(missing_docs)]

mod access;
mod args;
mod batch;
mod commands;
mod failure;
mod output;
mod scaling;
mod signals;
mod sim;
mod up;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use chord_api::host::Descriptors;

use crate::failure::Failure;
use crate::output::{Format, Output};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    Descriptors::raise();
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match args::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return print_usage(&error, args::wants_json(&words)),
    };
    let plugin = std::env::args_os()
        .next()
        .is_some_and(|name| args::is_plugin(Path::new(&name)));
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
            out.print_failure(&Failure::failed(format!("cannot start: {e}")));
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
                out.print_failure(&failure);
                code.into()
            }
        },
    }
}

/// Answers words that are no command, or that ask for help.
fn print_usage(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let out = Output {
            format: Format::Json,
            verbose: false,
        };
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        out.print_failure(&Failure::usage(text));
    } else {
        // Who does not listen needs no help.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
