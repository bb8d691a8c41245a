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

/// Why a subcommand ended.
enum Error {
    /// Exit code 2: the arguments are wrong.
    Usage(String),
    /// Exit code 1.
    Failed(String),
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// Parses the arguments and runs one subcommand. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub async fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Run(args) => run::run(args).await,
        Command::Crd => crd::print().map_err(Error::from),
        Command::Simulate(args) => simulate::run(args).await.map_err(Error::from),
    };
    let (message, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Error::Failed(message)) => (message, 1),
        Err(Error::Usage(message)) => (message, 2),
    };
    eprintln!("error: {message}");
    ExitCode::from(code)
}
