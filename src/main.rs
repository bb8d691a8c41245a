use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    crs_operator::cli::main().await
}
