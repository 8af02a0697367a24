//! `__complete`: what may come next on a command line that is being typed, for kubectl and the shell behind it.
//!
//! The answer has the form that kubectl expects of a plugin: a candidate on each line, with a tab and its description,
//! and at the end what the shell is to do. Nobody reads an error while typing: what fails gives no candidates.

use std::{
    ffi::{OsStr, OsString},
    sync::Arc,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use clap_complete::engine::{self, ArgValueCandidates, CompletionCandidate};
use k8s_openapi::api::core::v1::Namespace;
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};

use super::{Arguments as CommandLine, cluster::Connection, exit::Exit, output};

/// How long somebody who types waits for the cluster.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer lists help nobody.
const NAMES: u32 = 500;
/// Tells the shell to put no blank behind the candidate.
const NO_BLANK: u8 = 2;
/// Tells the shell to add no file names of its own.
const NO_FILES: u8 = 4;

/// Arguments of `__complete`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The words behind `kubectl apitoken`; the last one is being typed.
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// Prints the candidates.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let words = arguments.words.clone();
    // The names are asked for where nothing can be awaited.
    let text = spawn_blocking(move || completed(&words, connection)).await?;
    output::print(text)?;
    Ok(Exit::Done)
}

fn completed(words: &[OsString], connection: fn(&[OsString]) -> Option<Connection>) -> String {
    let nothing = OsString::new();
    let (typed, before) = words.split_last().unwrap_or((&nothing, &[]));
    let mut command = with_names(Arc::new(connection(words)));
    let words = line(before).chain([typed.clone()]).collect();
    let here = std::env::current_dir().ok();
    let candidates = engine::complete(&mut command, words, before.len() + 1, here.as_deref());
    answer(&candidates.unwrap_or_default(), typed)
}

fn line(words: &[OsString]) -> impl Iterator<Item = OsString> {
    std::iter::once("kubectl-apitoken".into()).chain(words.iter().cloned())
}

/// The cluster that the line names so far; none where something else of it makes no sense, as it may name another.
fn connection(words: &[OsString]) -> Option<Connection> {
    let command = CommandLine::command();
    let matches = match command.clone().try_get_matches_from(line(words)) {
        Err(error) if is_unfinished(error.kind()) => command.ignore_errors(true).try_get_matches_from(line(words)),
        matches => matches,
    };
    Connection::from_arg_matches(&matches.ok()?).ok()
}

fn is_unfinished(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::MissingSubcommand | ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The command line, with what the cluster and the kubeconfig know.
fn with_names(connection: Arc<Option<Connection>>) -> clap::Command {
    let [tokens, namespaces, contexts] = [
        |connection: &Connection| ask(tokens(connection)),
        |connection: &Connection| ask(namespaces(connection)),
        |connection: &Connection| connection.contexts(),
    ]
    .map(|names: fn(&Connection) -> Vec<String>| {
        let connection = Arc::clone(&connection);
        ArgValueCandidates::new(move || {
            let names = connection.as_ref().as_ref().map(names).unwrap_or_default();
            names.into_iter().map(CompletionCandidate::new).collect()
        })
    });
    CommandLine::command()
        .mut_arg("namespace", |argument| argument.add(namespaces))
        .mut_arg("context", |argument| argument.add(contexts))
        .mut_subcommands(|command| {
            if command.get_arguments().any(|argument| argument.get_id() == "name") {
                command.mut_arg("name", |argument| argument.add(tokens.clone()))
            } else {
                command
            }
        })
}

async fn tokens(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let cluster = connection.cluster().await?;
    cluster.names(&cluster.tokens(), NAMES).await
}

async fn namespaces(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let cluster = connection.cluster().await?;
    cluster.names(&cluster.cluster_wide::<Namespace>(), NAMES).await
}

/// What the cluster says, if it does so soon.
fn ask(question: impl Future<Output = anyhow::Result<Vec<String>>>) -> Vec<String> {
    let said = Handle::current().block_on(async { timeout(PATIENCE, question).await });
    said.ok().and_then(Result::ok).unwrap_or_default()
}

fn answer(candidates: &[CompletionCandidate], typed: &OsStr) -> String {
    let typed = typed.to_string_lossy();
    let is_flag = typed.starts_with('-');
    let shown = candidates.iter().filter(|candidate| !candidate.is_hide_set());
    let shown = shown.filter_map(|candidate| Some((candidate, candidate.get_value().to_str()?)));
    let mut text = String::new();
    let mut directive = NO_FILES;
    for (candidate, value) in shown.filter(|(_, value)| is_flag || !value.starts_with('-')) {
        // Shells complete what follows the `=` by itself.
        let value = value.split_once('=').filter(|_| is_flag).map_or(value, |(_, value)| value);
        if value.chars().any(char::is_control) {
            continue;
        }
        if value.ends_with('/') {
            directive |= NO_BLANK;
        }
        text.push_str(value);
        if let Some(help) = candidate.get_help().map(ToString::to_string) {
            text.push('\t');
            text.push_str(help.lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    format!("{text}:{directive}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The candidates without their descriptions, where no cluster is known.
    fn candidates(words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let text = completed(&words, |_| None);
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn commands_flags_and_values_are_candidates() {
        for (words, expected) in [
            (&["ro"][..], &["rotate", ":4"][..]),
            (&["__"], &[":4"]),
            (&["rotate", ""], &[":4"]),
            (&["rotate", "ci", "--ov"], &["--overlap", ":4"]),
            (&["list", "--output", ""], &["wide", "json", "yaml", ":4"]),
            (&["list", "--output=y"], &["yaml", ":4"]),
            (&["-n", "shop", "comp"], &["completion", ":4"]),
            (&["completion", "k"], &["kubectl", ":4"]),
        ] {
            assert_eq!(candidates(words), expected, "{words:?}");
        }
        let all = candidates(&[""]);
        for command in ["list", "leak", "revoke"] {
            assert!(all.contains(&command.to_owned()), "{command}: {all:?}");
        }
        assert!(!all.iter().any(|word| word.starts_with('-') || word.starts_with('_')), "{all:?}");
    }

    #[test]
    fn files_are_completed_without_a_blank_behind_a_directory() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("logs")).unwrap();
        let typed = place.path().join("lo").display().to_string();
        let expected = format!("{typed}gs/");
        assert_eq!(candidates(&["leak", &typed]), [expected.as_str(), ":6"]);
    }

    #[test]
    fn the_cluster_is_the_one_that_is_named_so_far() {
        for (words, expected) in [
            (&["rotate", "-n", "shop", ""][..], Some((Some("shop"), None))),
            (&["rotate", "-n", "sh"], Some((Some("sh"), None))),
            (&["--context=far", "rotate", "c"], Some((None, Some("far")))),
            (&["--context=far", "-n", ""], Some((Some(""), Some("far")))),
            (&[""], None),
            (&["rotate", "--unknown", "--namespace=shop", ""], None),
            (&["rotate", "--overlap=soon", "--namespace=shop", ""], None),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let connection = connection(&words);
            let named = connection
                .as_ref()
                .map(|connection| (connection.namespace.as_deref(), connection.context.as_deref()));
            assert_eq!(named, expected, "{words:?}");
        }
    }
}
