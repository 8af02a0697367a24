//! Who the bearer of a token is, or why it is turned away.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use super::{
    presented::TokenHash,
    question::Question,
    record::{Record, Terms, Token},
};
use crate::lifecycle::checks::is_allowed;

/// Why a token is turned away. Metrics tell them apart; from outside most of them look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// None was presented.
    Missing,
    /// What was presented can't be one.
    Malformed,
    /// No ApiToken has it, at that issuer.
    Unknown,
    /// Its ApiToken is not issued.
    NotIssued,
    /// Its ApiToken is suspended.
    Suspended,
    /// Its ApiToken is revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its ApiToken is being deleted.
    Deleted,
    /// The issuer that was asked for is none that this verifier answers for.
    IssuerNotFound,
    /// Its issuer does not allow its namespace.
    NamespaceNotAllowed,
    /// It is for another service.
    WrongAudience,
    /// It is of another namespace than was asked for.
    WrongNamespace,
    /// It works and lacks a scope.
    InsufficientScope,
    /// The API server was not heard for longer than this verifier may answer without.
    Stale,
}

impl Denial {
    /// All of them, for the metrics.
    pub const ALL: [Self; 14] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::NotIssued,
        Self::Suspended,
        Self::Revoked,
        Self::Expired,
        Self::Deleted,
        Self::IssuerNotFound,
        Self::NamespaceNotAllowed,
        Self::WrongAudience,
        Self::WrongNamespace,
        Self::InsufficientScope,
        Self::Stale,
    ];

    /// The word of metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::NotIssued => "not_issued",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::IssuerNotFound => "issuer_not_found",
            Self::NamespaceNotAllowed => "namespace_not_allowed",
            Self::WrongAudience => "wrong_audience",
            Self::WrongNamespace => "wrong_namespace",
            Self::InsufficientScope => "insufficient_scope",
            Self::Stale => "stale",
        }
    }
}

/// What an issuer allows at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerRules {
    /// Scopes that count; nothing: any.
    pub scopes: Option<Vec<String>>,
    /// Audiences that count; nothing: any.
    pub audiences: Option<Vec<String>>,
    /// Namespaces whose ApiTokens count; nothing: all.
    pub namespaces: Option<HashSet<String>>,
}

/// Who presents a token that works.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Its ApiToken.
    pub record: Arc<Record>,
    /// Which of the ApiToken's tokens.
    at: usize,
    /// Scopes of the spec, as far as the issuer allows them.
    pub scopes: Vec<String>,
    /// Audiences of the spec, as far as the issuer allows them; nothing where the spec names none.
    pub audiences: Option<Vec<String>>,
}

impl Bearer {
    /// `<namespace>/<name>` of the ApiToken.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.record.terms.namespace, self.record.name)
    }

    /// The token that was presented.
    pub fn token(&self) -> Option<&Token> {
        self.record.tokens.get(self.at)
    }
}

/// Decides on the one record that counts for a hash.
///
/// # Errors
/// Why it is turned away.
pub fn decide(record: &Arc<Record>, rules: &IssuerRules, question: &Question, hash: &TokenHash, now: Timestamp) -> Result<Bearer, Denial> {
    let mut tokens = record.tokens.iter().enumerate();
    let (at, token) = tokens.find(|(_, token)| token.hash == *hash).ok_or(Denial::Unknown)?;
    if let Some(denial) = record.denial(token, now) {
        return Err(denial);
    }
    let terms = &record.terms;
    let namespace = &*terms.namespace;
    if rules.namespaces.as_ref().is_some_and(|allowed| !allowed.contains(namespace)) {
        return Err(Denial::NamespaceNotAllowed);
    }
    if question.namespace.as_ref().is_some_and(|asked| asked != namespace) {
        return Err(Denial::WrongNamespace);
    }
    if question.audience.as_ref().is_some_and(|asked| !is_for(terms, rules, asked)) {
        return Err(Denial::WrongAudience);
    }
    let scopes = cut(&terms.scopes, rules.scopes.as_deref(), namespace);
    if question.scopes.iter().any(|asked| !scopes.contains(asked)) {
        return Err(Denial::InsufficientScope);
    }
    Ok(Bearer {
        record: record.clone(),
        at,
        scopes,
        audiences: (!terms.audiences.is_empty()).then(|| cut(&terms.audiences, rules.audiences.as_deref(), namespace)),
    })
}

/// One without audiences is for every service that its issuer allows; one whose audiences are no longer allowed is for none.
fn is_for(terms: &Terms, rules: &IssuerRules, audience: &str) -> bool {
    let declared = terms.audiences.is_empty() || terms.audiences.iter().any(|own| own == audience);
    let allowed = rules.audiences.as_deref();
    declared && allowed.is_none_or(|allowed| is_allowed(audience, allowed, &terms.namespace))
}

fn cut(declared: &[String], allowed: Option<&[String]>, namespace: &str) -> Vec<String> {
    let counts = |item: &&String| allowed.is_none_or(|allowed| is_allowed(item, allowed, namespace));
    declared.iter().filter(counts).cloned().collect()
}
