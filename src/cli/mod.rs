//! The command line: one file for each subcommand.

mod crd;
mod run;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps Tencent Cloud CRS (Redis) instances at the memory size that their owners declare, and never pays twice
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunArgs),
    /// Print both CustomResourceDefinitions as YAML
    #[command(after_help = "Example:\n  crs-operator crd | kubectl apply --server-side -f -")]
    Crd,
    Simulate(simulate::SimulateArgs),
}

/// Parses the arguments and runs one subcommand. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub async fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Run(args) => run::run(args).await,
        Command::Crd => crd::print(),
        Command::Simulate(args) => simulate::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
