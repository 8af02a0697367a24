//! What is kept of an ApiToken: which values work for it, until when, and what they stand for. Never a value.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{decision::Denial, presented::TokenHash, uses::Uses};
use crate::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus, IssuerId,
        api_token::{DesiredState, ObservedState, Pending, PreviousToken, TokenStatus},
    },
    lifecycle::{marker::short_uid, schedule},
};

/// One ApiToken.
#[derive(Debug)]
pub struct Record {
    /// Its uid: another object of the same name is another one.
    pub uid: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it has in common with others.
    pub terms: Arc<Terms>,
    /// Why none of its tokens works, as its spec or its status says.
    pub refusal: Option<Denial>,
    /// Its tokens.
    pub tokens: Box<[Token]>,
    /// The list that told of it last, by a number that whoever lists gives.
    pub listing: u32,
}

/// What many ApiTokens have in common: kept once for all of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The namespace.
    pub namespace: Box<str>,
    /// Who issued the tokens.
    pub issuer: IssuerId,
    /// Scopes of the spec.
    pub scopes: Box<[String]>,
    /// Audiences of the spec; empty: any.
    pub audiences: Box<[String]>,
}

/// Which of an ApiToken's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that its Secret holds.
    Current,
    /// One that was replaced and still works, by its place in the status.
    Previous(usize),
    /// One that its Secret is about to hold.
    Coming,
}

/// One token.
pub struct Token {
    /// Hash of its value.
    pub hash: TokenHash,
    /// Which one it is.
    pub role: Role,
    /// Its id.
    pub id: Box<str>,
    /// The account that it belongs to.
    pub account: Box<str>,
    /// When it was issued, where that is known.
    pub issued_at: Option<Timestamp>,
    /// When it ends; nothing: never.
    pub ends_at: Option<Timestamp>,
    /// When it was last used, as the status says.
    pub last_used_at: Option<Timestamp>,
    /// When it was last used, as this replica saw it.
    pub uses: Uses,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// What there is to keep of it; nothing before it was first issued.
    pub fn of(token: &ApiToken) -> Option<Self> {
        let metadata = &token.metadata;
        let status = token.status.as_ref()?;
        let namespace = metadata.namespace.clone()?;
        let tokens = tokens(token, status);
        if tokens.is_empty() {
            return None;
        }
        let terms = Terms {
            issuer: IssuerId::new(status.issuer_ref.as_ref()?, &namespace),
            namespace: namespace.into(),
            scopes: token.spec.scopes.clone().into(),
            audiences: token.spec.audiences.clone().into(),
        };
        Some(Self {
            uid: metadata.uid.clone()?.into(),
            name: metadata.name.clone()?.into(),
            created_at: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |Time(at)| *at),
            terms: Arc::new(terms),
            refusal: refusal(token, status),
            tokens: tokens.into(),
            listing: 0,
        })
    }

    /// Its token with that hash.
    pub fn token(&self, hash: &TokenHash) -> Option<&Token> {
        self.tokens.iter().find(|token| token.hash == *hash)
    }

    /// Takes over what this replica saw of the same tokens before.
    pub fn remember(&self, former: &Self) {
        for token in &self.tokens {
            if let Some(former) = former.token(&token.hash) {
                token.uses.take_over(&former.uses);
            }
        }
    }

    /// Why a token of its does not work by itself, whatever its issuer says.
    pub fn denial(&self, token: &Token, now: Timestamp) -> Option<Denial> {
        let over = token.ends_at.is_some_and(|end| end <= now);
        self.refusal.or(over.then_some(Denial::Expired))
    }
}

/// Spec and status must both want it to work.
fn refusal(token: &ApiToken, status: &ApiTokenStatus) -> Option<Denial> {
    if token.metadata.deletion_timestamp.is_some() {
        return Some(Denial::Deleted);
    }
    match (token.spec.state, status.state) {
        (DesiredState::Revoked, _) | (_, Some(ObservedState::Revoked)) => Some(Denial::Revoked),
        (_, Some(ObservedState::Expired)) => Some(Denial::Expired),
        (DesiredState::Suspended, _) | (_, Some(ObservedState::Suspended)) => Some(Denial::Suspended),
        (DesiredState::Active, Some(ObservedState::Active)) => None,
        (DesiredState::Active, Some(ObservedState::Pending) | None) => Some(Denial::NotIssued),
    }
}

fn tokens(token: &ApiToken, status: &ApiTokenStatus) -> Vec<Token> {
    let current = status.token.as_ref();
    let account = current.and_then(|current| current.account.as_deref()).unwrap_or_default();
    let current = current.and_then(|current| self::current(&token.spec, current));
    let coming = status.pending.as_ref().and_then(|pending| coming(token, pending, account));
    let previous = status.previous.iter().enumerate();
    let previous = previous.filter_map(|(at, previous)| self::previous(&token.spec, at, previous, account));
    current.into_iter().chain(coming).chain(previous).collect()
}

fn current(spec: &ApiTokenSpec, current: &TokenStatus) -> Option<Token> {
    let issued_at = time(current.issued_at.as_ref());
    Some(Token {
        hash: TokenHash::from_hex(current.hash.as_deref()?)?,
        role: Role::Current,
        id: current.id.as_deref().unwrap_or_default().into(),
        account: current.account.as_deref().unwrap_or_default().into(),
        issued_at,
        ends_at: first(time(current.expires_at.as_ref()), schedule::end(spec, issued_at)),
        last_used_at: time(current.last_used_at.as_ref()),
        uses: Uses::default(),
    })
}

/// Verifiers know a value before consumers see it.
fn coming(token: &ApiToken, pending: &Pending, account: &str) -> Option<Token> {
    Some(Token {
        hash: TokenHash::from_hex(pending.hash.as_deref()?)?,
        role: Role::Coming,
        id: format!("{}-{}", short_uid(token), pending.attempt).into(),
        account: pending.account.as_deref().unwrap_or(account).into(),
        issued_at: Some(pending.started_at.0),
        ends_at: first(time(pending.expires_at.as_ref()), time(token.spec.expires_at.as_ref())),
        last_used_at: None,
        uses: Uses::default(),
    })
}

fn previous(spec: &ApiTokenSpec, at: usize, previous: &PreviousToken, account: &str) -> Option<Token> {
    Some(Token {
        hash: TokenHash::from_hex(previous.hash.as_deref()?)?,
        role: Role::Previous(at),
        id: previous.id.as_deref().unwrap_or_default().into(),
        account: previous.account.as_deref().unwrap_or(account).into(),
        issued_at: None,
        ends_at: first(Some(previous.revoke_at.0), time(spec.expires_at.as_ref())),
        last_used_at: time(previous.last_used_at.as_ref()),
        uses: Uses::default(),
    })
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|Time(at)| *at)
}

/// The earlier of two ends.
fn first(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
