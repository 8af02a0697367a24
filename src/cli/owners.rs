//! Whose a value is, and whether it works, as the verifier's lookup tells: by its hash, among the statuses. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::ApiToken,
    token_value::TokenValue,
    verifier::lookup::{
        decision::Denial,
        presented::TokenHash,
        record::{Record, Role},
    },
};

/// All hashes that the statuses name.
pub struct Owners {
    tokens: Vec<(ApiToken, Record)>,
    by_hash: HashMap<TokenHash, Vec<usize>>,
}

/// One ApiToken that has a value.
pub struct Owner<'a> {
    /// The ApiToken.
    pub token: &'a ApiToken,
    /// Which of its tokens it is.
    pub role: Role,
    /// Id of that token.
    pub id: String,
    /// Why it does not work, where it doesn't.
    pub denial: Option<Denial>,
}

impl Owners {
    /// Those of all these ApiTokens.
    pub fn of(tokens: Vec<ApiToken>) -> Self {
        let records = tokens.into_iter().filter_map(|token| {
            let record = Record::of(&token)?;
            Some((token, record))
        });
        let mut tokens: Vec<_> = records.collect();
        // Of two with one hash the oldest decides.
        tokens.sort_by(|(_, one), (_, other)| (one.created_at, &one.uid).cmp(&(other.created_at, &other.uid)));
        let mut by_hash: HashMap<TokenHash, Vec<usize>> = HashMap::new();
        for (at, (_, record)) in tokens.iter().enumerate() {
            for token in &record.tokens {
                by_hash.entry(token.hash).or_default().push(at);
            }
        }
        Self { tokens, by_hash }
    }

    /// Who has that value, the one that decides first.
    pub fn find(&self, hash: &TokenHash, now: Timestamp) -> Vec<Owner<'_>> {
        let found = self.by_hash.get(hash).into_iter().flatten();
        found.filter_map(|at| owner(self.tokens.get(*at)?, hash, now)).collect()
    }

    /// Whether somebody has it.
    pub fn knows(&self, hash: &TokenHash) -> bool {
        self.by_hash.contains_key(hash)
    }
}

fn owner<'a>((token, record): &'a (ApiToken, Record), hash: &TokenHash, now: Timestamp) -> Option<Owner<'a>> {
    let found = record.token(hash)?;
    Some(Owner {
        token,
        role: found.role,
        id: found.id.to_string(),
        denial: record.denial(found, now),
    })
}

/// The hash of a value; nothing where it can't be one.
pub fn hash(value: &TokenValue) -> Option<TokenHash> {
    TokenHash::of_presented(value.expose().as_bytes())
}

/// Whether the ApiToken has that value no more: neither as current, nor replaced, nor coming.
pub fn is_gone(token: &ApiToken, hash: &TokenHash) -> bool {
    Record::of(token).is_none_or(|record| record.token(hash).is_none())
}

/// `<namespace>/<name>`.
pub fn subject(token: &ApiToken) -> String {
    format!("{}/{}", token.namespace().unwrap_or_default(), token.name_any())
}

impl Owner<'_> {
    /// `<namespace>/<name>`.
    pub fn subject(&self) -> String {
        subject(self.token)
    }

    /// Which of its tokens it is, in words.
    pub fn which(&self) -> &'static str {
        match self.role {
            Role::Current => "current",
            Role::Previous(_) => "replaced",
            Role::Coming => "coming",
        }
    }

    /// Whether it works, in words.
    pub fn standing(&self) -> String {
        match self.denial {
            None => "works".to_owned(),
            Some(denial) => format!("does not work ({})", denial.as_str().replace('_', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        cli::samples::{now, token},
        token_value,
    };

    fn status(state: &str, current: &str, previous: &str) -> Value {
        json!({
            "state": state, "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
            "token": { "id": "x-2", "hash": token_value::hash(current.as_bytes()) },
            "previous": [{ "id": "x-1", "hash": token_value::hash(previous.as_bytes()), "revokeAt": "2030-01-01T01:00:00Z" }],
        })
    }

    #[test]
    fn a_value_is_known_by_its_hash() {
        let owners = Owners::of(vec![
            token("ci", json!({}), status("Active", "new", "old")),
            token("off", json!({ "state": "Suspended" }), status("Active", "held", "before")),
            token("fresh", json!({}), json!({})),
        ]);
        let find = |value: &str| {
            let hash = hash(&TokenValue::new(value)).unwrap();
            let found = owners.find(&hash, now()).pop();
            found.map(|owner| format!("{} {} {} {}", owner.subject(), owner.which(), owner.id, owner.standing()))
        };
        for (value, expected) in [
            ("new", Some("shop/ci current x-2 works")),
            ("old", Some("shop/ci replaced x-1 works")),
            ("held", Some("shop/off current x-2 does not work (suspended)")),
            ("other", None),
        ] {
            assert_eq!(find(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn of_two_with_one_value_the_oldest_decides_and_both_are_named() {
        let mut younger = token("b", json!({}), status("Active", "same", "b"));
        younger.metadata.creation_timestamp = serde_json::from_value(json!("2029-12-02T00:00:00Z")).unwrap();
        let owners = Owners::of(vec![younger, token("a", json!({}), status("Active", "same", "a"))]);
        let found = owners.find(&hash(&TokenValue::new("same")).unwrap(), now());
        assert_eq!(found.iter().map(Owner::subject).collect::<Vec<_>>(), ["shop/a", "shop/b"]);
    }
}
