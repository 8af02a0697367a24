//! `verify`: whose a value from standard input is, and whether it works.

use std::io::{IsTerminal, Read};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{
    cluster::{Cluster, Place},
    exit::{Exit, Failure},
    output,
    owners::{self, Owners},
};
use crate::{token_value::TokenValue, verifier::lookup::presented::LONGEST};

/// Reads the value and tells.
pub async fn run(cluster: &Cluster, place: &Place, now: Timestamp) -> anyhow::Result<Exit> {
    let value = read_value()?;
    let hash = owners::hash(&value)
        .ok_or_else(|| Failure::usage("this can't be a token: one line, without blanks, is expected on standard input"))?;
    drop(value);
    let owners = Owners::of(cluster.owners(place).await?);
    let found = owners.find(&hash, now);
    let Some(first) = found.first() else {
        return Err(Failure::not_found(format!("no ApiToken {} has this value now", within(place))));
    };
    let rows: Vec<_> = found
        .iter()
        .map(|owner| vec![owner.subject(), owner.which().to_owned(), owner.id.clone(), owner.standing()])
        .collect();
    output::print(output::table(&["APITOKEN", "TOKEN", "ID", "STANDING"], &rows))?;
    Ok(if first.denial.is_none() { Exit::Done } else { Exit::LeftToDo })
}

/// Where it was looked for, in words.
pub fn within(place: &Place) -> String {
    match place {
        Place::Everywhere => "of this cluster".to_owned(),
        Place::In(namespace) => format!("of the namespace {namespace}"),
    }
}

fn read_value() -> anyhow::Result<TokenValue> {
    if std::io::stdin().is_terminal() {
        output::tell("Paste the value, then press Enter and Ctrl-D.");
    }
    let mut text = Zeroizing::new(String::with_capacity(LONGEST + 2));
    let mut stdin = std::io::stdin().lock().take(LONGEST as u64 + 2);
    stdin
        .read_to_string(&mut text)
        .map_err(|_| Failure::usage("this can't be a token: it is no text"))?;
    Ok(TokenValue::new(text.trim_end_matches(['\r', '\n'])))
}
