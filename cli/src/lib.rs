//! The command line of chord: files, the cluster's state, a cluster on this
//! machine (`up`), and the same for a cluster on Kubernetes (`kubectl chord`).
//!
//! `args` is what can be typed, `commands` has a module for each command, `exit`
//! says how a command ends, `up` is a supervisor of processes, `kubectl` finds a
//! cluster on Kubernetes and `forward` reaches into it.

pub mod args;
pub mod commands;
pub mod exit;
pub mod forward;
pub mod kubectl;
pub mod output;
pub mod target;
pub mod up;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output::Output;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
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
            eprintln!("chord: cannot start: {e}");
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
                complain(out, &failure);
                code.into()
            }
        },
    }
}

fn complain(out: Output, failure: &Failure) {
    if out.is_json() {
        let code = failure.code().map(|c| c as u8);
        eprintln!(
            "{}",
            serde_json::json!({"error": failure.to_string(), "exit": code})
        );
    } else {
        eprintln!("chord: {failure}");
    }
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
