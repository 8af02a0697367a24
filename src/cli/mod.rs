//! The kubectl plugin `kubectl apitoken`: what people do with tokens by hand, and on the day that one leaks.
//!
//! It does what its user may do, with the user's own kubeconfig: it reads ApiTokens and patches the fields that a
//! command is about, and the operator does all the rest. Values come from standard input and files only, never from
//! arguments, and are shown by `get-value` alone. What it decides is in pure modules: [`attention`], [`story`],
//! [`git`], [`owners`], [`scanner`], [`forecast`]. Standard output is for data, standard error for people.

mod ask;
mod attention;
mod change;
mod clipboard;
mod cluster;
mod complete;
mod completion;
mod describe;
mod exit;
mod forecast;
mod git;
mod issuers;
mod leak;
mod list;
mod orphans;
mod output;
mod owners;
mod plan;
mod proxy;
mod rotate;
mod scanner;
mod spans;
mod states;
mod story;
mod value;
mod verify;
mod wait;

#[cfg(test)]
mod samples;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Parser, Subcommand};
use jiff::Timestamp;

use self::{cluster::Connection, exit::Exit};
use crate::{api::api_token::DesiredState, lifecycle::schedule};

/// Tokens of apitoken-operator: see them, rotate them, end them, and find out whose one is.
#[derive(Parser)]
#[command(name = "kubectl-apitoken", bin_name = "kubectl apitoken", after_help = exit::STATUSES)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show ApiTokens, what needs attention first.
    List(list::Arguments),
    /// Tell the story of an ApiToken: where it stands, what happened, what comes next, what to do.
    Describe(describe::Arguments),
    /// Show who makes tokens here.
    Issuers(issuers::Arguments),
    /// Ask for a new value now.
    Rotate(rotate::Arguments),
    /// Stop a token for a while.
    Suspend(states::Arguments),
    /// Let a suspended token work again.
    Activate(states::Arguments),
    /// End a token for good. Asks first.
    Revoke(states::RevokeArguments),
    /// Print the value of a token, or copy it; needs the right to read its Secret.
    GetValue(value::Arguments),
    /// Tell whose the value on standard input is, and whether it works. Looks in all namespaces unless --namespace is given.
    Verify,
    /// Find values of ours in a file or in standard input, such as a log, and replace those that still work, without an overlap.
    /// Looks for their owners in all namespaces unless --namespace is given.
    Leak(leak::Arguments),
    /// Tell what kubectl apply would do to ApiTokens: issue, rotate, revoke, and when the next rotation is. Changes nothing.
    Plan(plan::Arguments),
    /// Show the tokens at vendors that no ApiToken accounts for any more.
    Orphans(orphans::Arguments),
    /// Print a script by which kubectl completes kubectl apitoken, or a shell kubectl-apitoken.
    Completion(completion::Arguments),
    /// Print what may come next on a command line that is being typed.
    #[command(name = "__complete", hide = true)]
    Complete(complete::Arguments),
    /// Show the version of this plugin.
    Version,
}

/// Runs the plugin.
pub fn main() -> ExitCode {
    // Before anything can repeat it in an error.
    if std::env::args_os().any(|argument| scanner::holds_value(argument.as_encoded_bytes())) {
        output::tell("error: an argument holds a token: values are never arguments, as others can read those. Rotate that token.");
        return Exit::Usage.into();
    }
    match Arguments::try_parse() {
        Ok(arguments) => run(&arguments).into(),
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Where nobody reads it, the exit status still speaks.
            let _ = error.print();
            exit.into()
        }
    }
}

fn run(arguments: &Arguments) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|error| anyhow!("could not start: {error}")).and_then(|runtime| {
        let result = runtime.block_on(execute(arguments));
        // What still runs, such as a program that fetches a credential, is not waited for.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        output::tell(format!("error: {error:#}"));
        exit::of(&error)
    })
}

async fn execute(Arguments { connection, command }: &Arguments) -> anyhow::Result<Exit> {
    let now = schedule::to_second(Timestamp::now());
    match command {
        Command::List(arguments) => list::run(&connection.cluster().await?, arguments, now).await,
        Command::Describe(arguments) => describe::run(&connection.cluster().await?, arguments, now).await,
        Command::Issuers(arguments) => issuers::run(&connection.cluster().await?, arguments).await,
        Command::Rotate(arguments) => rotate::run(&connection.cluster().await?, arguments).await,
        Command::Suspend(arguments) => states::set(&connection.cluster().await?, arguments, DesiredState::Suspended).await,
        Command::Activate(arguments) => states::set(&connection.cluster().await?, arguments, DesiredState::Active).await,
        Command::Revoke(arguments) => states::revoke(&connection.cluster().await?, arguments).await,
        Command::GetValue(arguments) => value::run(&connection.cluster().await?, arguments).await,
        Command::Verify => verify::run(&connection.cluster().await?, &connection.widest(), now).await,
        Command::Leak(arguments) => leak::run(&connection.cluster().await?, &connection.widest(), arguments, now).await,
        Command::Plan(arguments) => plan::run(&connection.cluster().await?, connection, arguments, now).await,
        Command::Orphans(arguments) => orphans::run(&connection.cluster().await?, arguments, now).await,
        Command::Completion(arguments) => completion::run(arguments),
        Command::Complete(arguments) => complete::run(arguments).await,
        Command::Version => {
            output::print(concat!(env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(Exit::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_docs_tell_of_every_command_and_every_flag_of_its() {
        let docs = include_str!("../../docs/kubectl-plugin.md");
        let headings: Vec<&str> = docs
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .flat_map(|line| line.split(", "))
            .collect();
        for command in Arguments::command()
            .get_subcommands()
            .filter(|command| command.get_name() != "version" && !command.is_hide_set())
        {
            assert!(headings.contains(&command.get_name()), "{} has no chapter", command.get_name());
            for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(docs.contains(&format!("--{flag}")), "--{flag} is not told of");
            }
        }
    }
}
