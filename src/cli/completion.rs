//! `completion`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments as CommandLine, exit::Exit, output};

/// Arguments of `completion`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Prints the script. kubectl has no part in it: it completes `kubectl-apitoken`.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    let mut command = CommandLine::command().bin_name("kubectl-apitoken");
    clap_complete::generate(arguments.shell, &mut command, "kubectl-apitoken", &mut script);
    output::print(script)?;
    Ok(Exit::Done)
}
