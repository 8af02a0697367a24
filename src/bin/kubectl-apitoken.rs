//! The kubectl plugin `kubectl apitoken`.

use std::process::ExitCode;

fn main() -> ExitCode {
    apitoken_operator::cli::main()
}
