//! The index: from the hash of a token to the ApiToken that it belongs to. One lookup for each question, whatever the
//! number of tokens. It knows nothing of Kubernetes, HTTP or clocks.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use jiff::Timestamp;
use smallvec::SmallVec;

use super::{
    decision::{self, Bearer, Denial, IssuerRules},
    pool::Pool,
    presented::TokenHash,
    question::Question,
    record::{Record, Terms, Token},
};
use crate::api::IssuerId;

/// What is known of all tokens and issuers.
#[derive(Default)]
pub struct Index {
    /// Nearly always one each: more would need memory of their own.
    by_hash: HashMap<TokenHash, SmallVec<[Arc<Record>; 1]>>,
    by_uid: HashSet<ByUid>,
    terms: Pool<Terms>,
    issuers: HashMap<IssuerId, IssuerRules>,
    default_issuer: Option<IssuerId>,
}

/// A record, known by its uid.
struct ByUid(Arc<Record>);

impl Borrow<str> for ByUid {
    fn borrow(&self) -> &str {
        &self.0.uid
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.uid == other.0.uid
    }
}

impl Eq for ByUid {}

impl Hash for ByUid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uid.hash(state);
    }
}

impl Index {
    /// Takes an ApiToken in, or what became of it. Tells whether a token of its works no longer that did.
    pub fn put(&mut self, mut record: Record, now: Timestamp) -> bool {
        record.terms = self.terms.share(record.terms);
        let record = Arc::new(record);
        let former = self.remove(&record.uid);
        for token in &record.tokens {
            let holders = self.by_hash.entry(token.hash).or_default();
            holders.push(record.clone());
            holders.sort_by(|one, other| (one.created_at, &one.uid).cmp(&(other.created_at, &other.uid)));
        }
        if let Some(former) = &former {
            record.remember(former);
        }
        let took_away = former.is_some_and(|former| takes_away(&former, &record, now));
        self.by_uid.insert(ByUid(record));
        took_away
    }

    /// Forgets an ApiToken.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Record>> {
        let ByUid(record) = self.by_uid.take(uid)?;
        for token in &record.tokens {
            if let Some(holders) = self.by_hash.get_mut(&token.hash) {
                holders.retain(|holder| holder.uid != record.uid);
                if holders.is_empty() {
                    self.by_hash.remove(&token.hash);
                }
            }
        }
        Some(record)
    }

    /// Forgets all ApiTokens but these: what was deleted while nobody watched.
    pub fn keep(&mut self, keep: impl Fn(&Record) -> bool) {
        let gone = self.records().filter(|record| !keep(record));
        let gone: Vec<Box<str>> = gone.map(|record| record.uid.clone()).collect();
        for uid in gone {
            self.remove(&uid);
        }
    }

    /// Takes all issuers in at once, with the one that is the default.
    pub fn set_issuers(&mut self, issuers: HashMap<IssuerId, IssuerRules>, default_issuer: Option<IssuerId>) {
        self.issuers = issuers;
        self.default_issuer = default_issuer;
    }

    /// All ApiTokens.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.by_uid.iter().map(|ByUid(record)| record)
    }

    /// How many ApiTokens there are.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }

    /// Who presents the token with that hash.
    ///
    /// # Errors
    /// Why it is turned away.
    pub fn decide(&self, question: &Question, hash: &TokenHash, now: Timestamp) -> Result<Bearer, Denial> {
        let asked = question.issuer.as_ref().or(self.default_issuer.as_ref());
        let (issuer, rules) = asked
            .and_then(|issuer| self.issuers.get_key_value(issuer))
            .ok_or(Denial::IssuerNotFound)?;
        let holders = self.by_hash.get(hash).map(SmallVec::as_slice).unwrap_or_default();
        // Of two objects with one hash the oldest decides, also where it denies.
        let record = holders
            .iter()
            .find(|record| record.terms.issuer == *issuer)
            .ok_or(Denial::Unknown)?;
        decision::decide(record, rules, question, hash, now)
    }
}

fn takes_away(former: &Record, record: &Record, now: Timestamp) -> bool {
    let worked = former.tokens.iter().filter(|token| former.denial(token, now).is_none());
    let works = |token: &Token| record.token(&token.hash).is_some_and(|token| record.denial(token, now).is_none());
    worked.into_iter().any(|token| !works(token))
}
