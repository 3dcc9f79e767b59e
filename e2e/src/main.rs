//! `chord-e2e`: runs the end-to-end suites.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = chord_e2e::runner::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("chord-e2e: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let suites = tokio::task::LocalSet::new();
    match runtime.block_on(suites.run_until(chord_e2e::runner::main(cli))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("chord-e2e: {e:#}");
            ExitCode::from(2)
        }
    }
}
