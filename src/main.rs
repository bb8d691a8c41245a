use std::process::ExitCode;

fn main() -> ExitCode {
    crs_operator::cli::main()
}
