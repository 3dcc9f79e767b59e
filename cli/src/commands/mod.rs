//! The commands, a module each (or a few that belong together).

mod cluster;
mod files;

use std::process::ExitCode;

use self::cluster::{by_hand, find, nodes, ring, status};
use self::files::{get, list, put, remove, stat, verify};
use crate::access::Target;
use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::EndSignals;
use crate::sim;

/// Runs one command.
pub async fn run(cli: Cli, plugin: bool, out: Output) -> Result<ExitCode, Failure> {
    if let (Command::Up(_) | Command::Sim(_), Some(option)) =
        (&cli.command, cli.global.names_a_place())
    {
        return Err(Failure::usage(format!(
            "{option} says where a cluster is, and this command needs none: leave it out"
        )));
    }
    match &cli.command {
        // These two need no cluster, and `up` has a way of its own to end.
        Command::Up(args) => {
            crate::up::run(args, out).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sim(args) => {
            sim::run(args, out)?;
            Ok(ExitCode::SUCCESS)
        }
        command => {
            let target = Target::new(&cli.global, plugin)?;
            let mut end = EndSignals::listen();
            // Dropping the command, rather than dying, takes half-written files away.
            tokio::select! {
                result = dispatch(command, &target, out) => result.map(|()| ExitCode::SUCCESS),
                code = end.next() => Ok(ExitCode::from(code)),
            }
        }
    }
}

async fn dispatch(command: &Command, target: &Target, out: Output) -> Result<(), Failure> {
    match command {
        Command::Put(args) => put::run(args, target, out).await,
        Command::Get(args) => get::run(args, target, out).await,
        Command::Cat(args) => get::cat(args, target).await,
        Command::Ls(args) => list::run(args, target, out).await,
        Command::Stat(args) => stat::run(args, target, out).await,
        Command::Rm(args) => remove::run(args, target, out).await,
        Command::Find(args) => find::run(args, target, out).await,
        Command::Status => status::run(target, out).await,
        Command::Nodes => nodes::run(target, out).await,
        Command::Ring(args) => ring::run(args, target, out).await,
        Command::Verify(args) => verify::run(args, target, out).await,
        Command::Scale(args) => by_hand::scale(args, target, out).await,
        Command::Drain(args) => by_hand::drain(args, target, out).await,
        Command::Replace(args) => by_hand::replace(args, target, out).await,
        Command::Up(_) | Command::Sim(_) => Err(Failure::failed("this command needs no cluster")),
    }
}
