//! The command line: one file for each subcommand.

mod crd;
mod run;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

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

impl Command {
    async fn carry_out(self) -> Result<(), Error> {
        match self {
            Self::Run(args) => run::run(args).await,
            Self::Crd => crd::print().map_err(Error::from),
            Self::Simulate(args) => simulate::run(args).await.map_err(Error::from),
        }
    }
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
pub fn main() -> ExitCode {
    let command = Program::parse().command;
    let runtime = match command {
        // One thread: what the operator does is short, and to hand it to another one costs more than it does (docs/design/0003-scale.md).
        Command::Run(_) => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().enable_all().build(),
    };
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command.carry_out()),
        Err(error) => Err(Error::Failed(format!("nothing can be run: {error}"))),
    };
    let (message, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Error::Failed(message)) => (message, 1),
        Err(Error::Usage(message)) => (message, 2),
    };
    eprintln!("error: {message}");
    ExitCode::from(code)
}
