//! `completion`: what a shell, or kubectl, needs to complete the command line.

use clap::{CommandFactory, ValueEnum, builder::PossibleValue};
use clap_complete::Shell;

use super::{Arguments as CommandLine, exit::Exit, output};

/// What kubectl runs to complete `kubectl apitoken`, where the `PATH` has it as `kubectl_complete-apitoken`.
const FOR_KUBECTL: &str = "#!/bin/sh
# kubectl runs this to complete `kubectl apitoken`: save it as kubectl_complete-apitoken in a directory of your PATH.
exec kubectl-apitoken __complete -- \"$@\"
";

/// Arguments of `completion`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Who completes: kubectl what follows kubectl apitoken; a shell what follows kubectl-apitoken.
    #[arg(value_name = "KUBECTL OR SHELL")]
    by: By,
}

/// Who completes.
#[derive(Clone, Copy)]
enum By {
    Kubectl,
    Shell(Shell),
}

impl ValueEnum for By {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Kubectl,
            Self::Shell(Shell::Bash),
            Self::Shell(Shell::Elvish),
            Self::Shell(Shell::Fish),
            Self::Shell(Shell::PowerShell),
            Self::Shell(Shell::Zsh),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Kubectl => Some(PossibleValue::new("kubectl")),
            Self::Shell(shell) => shell.to_possible_value(),
        }
    }
}

/// Prints the script.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match arguments.by {
        By::Kubectl => output::print(FOR_KUBECTL)?,
        By::Shell(shell) => output::print(script(shell))?,
    }
    Ok(Exit::Done)
}

/// kubectl has no part in it: it completes `kubectl-apitoken`.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = CommandLine::command().bin_name("kubectl-apitoken");
    clap_complete::generate(shell, &mut command, "kubectl-apitoken", &mut script);
    script
}
