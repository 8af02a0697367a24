//! `leak`: finds values of the built-in issuer in a file or in standard input, such as a log, and replaces those that
//! still work, with no overlap.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{
    ask,
    change::{self, DryRun},
    cluster::{Cluster, Place},
    exit::{Exit, Failure},
    output,
    owners::{self, Owner, Owners, subject},
    rotate,
    scanner::{Find, Scanner},
    spans,
    verify::within,
    wait,
};
use crate::{
    api::{ApiToken, names},
    verifier::lookup::presented::TokenHash,
};

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// Arguments of `leak`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to look in; - for standard input.
    file: PathBuf,
    /// Only tell what was found.
    #[arg(long, conflicts_with_all = ["yes", "dry_run"])]
    report_only: bool,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
    /// How long to wait until the values that leaked are dead, such as 5m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = spans::parse)]
    timeout: SignedDuration,
    #[command(flatten)]
    dry_run: DryRun,
}

/// What was found in the text.
#[derive(Default)]
struct Found {
    /// How often each value of an ApiToken is there.
    known: HashMap<TokenHash, u64>,
    /// How many others have the format.
    strange: u64,
}

/// A value that leaked and still works, at one ApiToken that has it.
struct Leaked {
    token: ApiToken,
    hash: TokenHash,
}

/// Looks, tells, and replaces.
pub async fn run(cluster: &Cluster, place: &Place, arguments: &Arguments, now: Timestamp) -> anyhow::Result<Exit> {
    let from_stdin = arguments.file == Path::new("-");
    if from_stdin && !arguments.report_only && !arguments.yes && !arguments.dry_run.is_set() {
        return Err(Failure::usage(
            "nobody can be asked where standard input is the text: say --yes or --report-only",
        ));
    }
    let owners = Owners::of(cluster.owners(place).await?);
    let found = look(&arguments.file, &owners)?;
    if found.strange > 0 {
        output::tell(format!(
            "{} times a value of our format that no ApiToken {} has now: it ended, or is another cluster's.",
            found.strange,
            within(place)
        ));
    }
    let held = held(&owners, &found, now);
    if held.is_empty() {
        output::tell(format!("No value of an ApiToken {} was found.", within(place)));
        return Ok(Exit::Done);
    }
    output::print(output::table(&["APITOKEN", "TOKEN", "ID", "TIMES", "STANDING"], &rows(&held)))?;
    let working: Vec<Leaked> = held
        .iter()
        .filter(|(_, _, owner)| matters(owner))
        .map(|(hash, _, owner)| leaked(hash, owner))
        .collect();
    if working.is_empty() {
        return Ok(Exit::Done);
    }
    if arguments.report_only {
        output::tell("Values that leaked still work, or can come to work again: run this without --report-only.");
        return Ok(Exit::LeftToDo);
    }
    replace(cluster, working, arguments).await
}

/// One that is revoked, expired or deleted has no way back; a suspended one has.
fn matters(owner: &Owner<'_>) -> bool {
    use crate::verifier::lookup::decision::Denial::{Deleted, Expired, Revoked};
    !matches!(owner.denial, Some(Revoked | Expired | Deleted))
}

fn leaked(hash: &TokenHash, owner: &Owner<'_>) -> Leaked {
    Leaked {
        token: owner.token.clone(),
        hash: *hash,
    }
}

fn look(file: &Path, owners: &Owners) -> anyhow::Result<Found> {
    if file == Path::new("-") {
        return scan(std::io::stdin().lock(), owners).context("standard input can't be read");
    }
    let unreadable = || format!("{} can't be read", file.display());
    scan(File::open(file).with_context(unreadable)?, owners).with_context(unreadable)
}

fn scan(mut text: impl Read, owners: &Owners) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut scanner = Scanner::default();
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let length = match text.read(&mut piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            return Ok(found);
        }
        scanner.read(piece.get(..length).unwrap_or_default(), |find| note(&mut found, find, owners));
    }
}

fn note(found: &mut Found, find: &Find, owners: &Owners) {
    let mut hashes = find.candidates().filter_map(|value| owners::hash(&value));
    match hashes.find(|hash| owners.knows(hash)) {
        Some(hash) => *found.known.entry(hash).or_default() += 1,
        None => found.strange += 1,
    }
}

/// All ApiTokens that have one of the values: where two have one, both are to let it go.
fn held<'a>(owners: &'a Owners, found: &Found, now: Timestamp) -> Vec<(TokenHash, u64, Owner<'a>)> {
    let of = |(hash, times): (&TokenHash, &u64)| {
        let (hash, times) = (*hash, *times);
        owners.find(&hash, now).into_iter().map(move |owner| (hash, times, owner))
    };
    let mut held: Vec<_> = found.known.iter().flat_map(of).collect();
    held.sort_by_key(|(_, _, owner)| (owner.subject(), owner.id.clone()));
    held
}

fn rows(held: &[(TokenHash, u64, Owner<'_>)]) -> Vec<Vec<String>> {
    let row = |(_, times, owner): &(TokenHash, u64, Owner<'_>)| {
        vec![
            owner.subject(),
            owner.which().to_owned(),
            owner.id.clone(),
            times.to_string(),
            owner.standing(),
        ]
    };
    held.iter().map(row).collect()
}

/// Replaces each, and goes on where one can't be.
async fn replace(cluster: &Cluster, leaked: Vec<Leaked>, arguments: &Arguments) -> anyhow::Result<Exit> {
    let (replaceable, stuck): (Vec<_>, Vec<_>) = leaked.into_iter().partition(|leaked| change::obstacle(&leaked.token).is_none());
    let obstacles: BTreeSet<String> = stuck.iter().filter_map(|leaked| change::obstacle(&leaked.token)).collect();
    obstacles.iter().for_each(output::tell);
    let mut exit = if stuck.is_empty() { Exit::Done } else { Exit::LeftToDo };
    if replaceable.is_empty() {
        return Ok(exit);
    }
    if !arguments.yes && !arguments.dry_run.is_set() && !ask::agrees(&question(&replaceable))? {
        output::tell("Nothing was changed: what leaked still works.");
        return Ok(Exit::LeftToDo);
    }
    let mut asked: HashMap<String, String> = HashMap::new();
    for leaked in &replaceable {
        let subject = subject(&leaked.token);
        if asked.contains_key(&subject) {
            continue;
        }
        match change::request_rotation(cluster, &leaked.token, Some("0s"), &arguments.dry_run).await {
            Ok((token, request)) => {
                arguments.dry_run.done(&token, "rotation requested, without overlap")?;
                asked.insert(subject, request);
            }
            Err(error) => exit = failed(&subject, &error, exit),
        }
    }
    if arguments.dry_run.is_set() {
        return Ok(exit);
    }
    for leaked in replaceable {
        let subject = subject(&leaked.token);
        let Some(request) = asked.get(&subject) else { continue };
        match finish(cluster, &leaked, request, arguments).await {
            Ok(()) => output::tell(format!("{subject}: what leaked is dead, the Secret has a new value.")),
            Err(error) => exit = failed(&subject, &error, exit),
        }
    }
    Ok(exit)
}

fn question(leaked: &[Leaked]) -> String {
    let mut subjects: Vec<String> = leaked.iter().map(|leaked| subject(&leaked.token)).collect();
    subjects.dedup();
    format!(
        "Replace the values of {}, and end the old ones at once? Consumers are refused until they read the new ones.",
        subjects.join(", ")
    )
}

/// Tells, and keeps the exit status that says most.
fn failed(subject: &str, error: &anyhow::Error, before: Exit) -> Exit {
    output::tell(format!("{subject}: {error:#}"));
    output::tell(format!(
        "{subject}: what leaked may still work: kubectl apitoken suspend stops it meanwhile."
    ));
    match (before, super::exit::of(error)) {
        (Exit::Done | Exit::LeftToDo, now) => now,
        (before, _) => before,
    }
}

/// Waits until the value is dead, then takes the annotation away that would cut short the next overlap.
async fn finish(cluster: &Cluster, leaked: &Leaked, request: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let is_dead = |token: &ApiToken| rotate::is_answered(token, request) && owners::is_gone(token, &leaked.hash);
    let done = wait::until(cluster, &leaked.token, arguments.timeout, is_dead).await?;
    if change::is_leak(&done) && change::drop_overlap(cluster, &done, request).await.is_err() {
        output::tell(format!(
            "{}: the annotation {} still stands, and the next request has no overlap either: kubectl apitoken rotate takes it away.",
            subject(&done),
            names::ROTATE_OVERLAP_ANNOTATION
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::json;

    use super::*;
    use crate::{
        cli::samples::{now, token},
        issuers::builtin::generate,
        token_value::TokenValue,
    };

    /// Gives a few bytes at once, as a pipe may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
            let length = self.0.len().min(7).min(piece.len());
            let (now, later) = self.0.split_at(length);
            piece[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    /// An ApiToken that has that value.
    fn owner(value: &TokenValue) -> Owners {
        let status = json!({
            "state": "Active", "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
            "token": { "id": "x-1", "hash": value.hash() },
        });
        Owners::of(vec![token("ci", json!({}), status)])
    }

    #[test]
    fn values_are_counted_by_their_owner_and_strange_ones_too() {
        let value = generate(&mut StdRng::seed_from_u64(1), "apt").unwrap();
        let strange = generate(&mut StdRng::seed_from_u64(2), "apt").unwrap();
        let owners = owner(&value);
        let text = format!(r"GET / \n{} and {}\n{}", value.expose(), strange.expose(), value.expose());
        let found = scan(Slow(text.as_bytes()), &owners).unwrap();
        let held = held(&owners, &found, now());
        assert_eq!(found.strange, 1);
        assert_eq!(rows(&held), [["shop/ci", "current", "x-1", "2", "works"]]);
    }

    #[test]
    fn no_text_is_too_odd_to_look_in() {
        let value = generate(&mut StdRng::seed_from_u64(1), "apt").unwrap();
        let owners = owner(&value);
        let endless = "a".repeat(3 * PIECE);
        let edge = " ".repeat(PIECE - 20);
        for (text, times) in [
            (String::new(), 0),
            ("GET /\r\nAuthorization: Bearer {}\r\n\r\n".to_owned(), 1),
            (r#"{"items":[{"token":"{}","next":null},"{}"]}"#.to_owned(), 2),
            ("https://api.example.com/orders?key={}&key={}#{}".to_owned(), 3),
            ("{}{}".to_owned(), 2),
            ("{}\n{}\n{}".to_owned(), 3),
            (format!("{edge}{{}}"), 1),
            (format!("{endless}{{}}{endless}"), 1),
            (format!("{endless}_{endless}{{}}"), 1),
            ("\0\0\u{1}{}\0\u{7f}\u{fffd}".to_owned(), 1),
        ] {
            let text = text.replace("{}", value.expose());
            let found = scan(text.as_bytes(), &owners).unwrap();
            let begin: String = text.chars().take(12).collect();
            assert_eq!(
                (found.known.values().sum::<u64>(), found.strange),
                (times, 0),
                "{} bytes, {begin:?}",
                text.len()
            );
        }
        let bytes = [&[0xff, 0xfe, 0x80][..], value.expose().as_bytes(), &[0xc3]].concat();
        assert_eq!(scan(&bytes[..], &owners).unwrap().known.len(), 1, "no UTF-8");
    }
}
