//! Who makes tokens, in the words of this project.
//!
//! This module owns what an issuer can do and how a token is made there. It knows nothing of
//! Kubernetes: specs come in as plain data, values go out as [`crate::token_value::TokenValue`].

pub mod builtin;

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{IssuerSpec, api_token::Parameters},
    token_value::TokenValue,
};

/// What an issuer can do. Decisions depend on this and on nothing else about an issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Values are made here and the ApiToken is the record: nobody is called, nothing is left behind.
    pub local: bool,
    /// A token can be held back and let work again.
    pub suspend: bool,
    /// A token can be replaced in place: the issuer makes a new one of it, and the old one works on
    /// for this long.
    pub reset: Option<SignedDuration>,
    /// A value can be read again after its issue.
    pub readable_value: bool,
    /// The issuer ends a token at a time given at its creation.
    pub expiry: bool,
    /// A token has a name that we choose, and so carries our marker.
    pub names: bool,
    /// Name, description and parameters of a token can be changed.
    pub update: bool,
    /// A token must be revoked before it can be deleted.
    pub revoke_before_delete: bool,
    /// The issuer tells when a token was last used.
    pub last_used: bool,
}

impl Capabilities {
    /// What the built-in issuer can do.
    pub const BUILTIN: Self = Self {
        local: true,
        suspend: true,
        reset: None,
        readable_value: false,
        expiry: true,
        names: true,
        update: true,
        revoke_before_delete: false,
        last_used: false,
    };
}

/// A token just made, not yet in any Secret.
#[derive(Clone)]
pub struct IssuedToken {
    /// The value; nothing else in the program holds it.
    pub value: TokenValue,
    /// Id at the issuer.
    pub id: String,
    /// Name at the issuer, where it has names.
    pub name: Option<String>,
    /// Number of the try that made it.
    pub attempt: i64,
    /// When it was made, to the second.
    pub issued_at: Timestamp,
    /// When the API server had taken its announcement, where it needs one.
    pub announced_at: Option<Timestamp>,
    /// When the issuer ends it by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token as its issuer shows it.
#[derive(Clone)]
pub struct ListedToken {
    /// Id at the issuer; hashed where the id is the value.
    pub id: String,
    /// Owning account, as it was asked for; nothing for the issuer's own.
    pub account: Option<String>,
    /// Name at the issuer.
    pub name: Option<String>,
    /// The value, where the issuer shows it.
    pub value: Option<TokenValue>,
    /// Whether it works.
    pub state: ListedState,
    /// When it was made, where the issuer tells.
    pub created_at: Option<Timestamp>,
    /// When the issuer ends it by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, where the issuer tells.
    pub last_used_at: Option<Timestamp>,
}

/// Whether a token works, as its issuer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// It works.
    Active,
    /// It is held back.
    Suspended,
    /// It is ended and still listed.
    Revoked,
}

/// What is asked of an issuer when a token is made or changed.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Name that the token gets.
    pub name: Option<String>,
    /// What the token is for, for people.
    pub description: Option<String>,
    /// Owning account; the issuer's own where none is given.
    pub account: Option<String>,
    /// When the issuer is to end the token by itself, where it can.
    pub expires_at: Option<Timestamp>,
    /// What only the vendor knows.
    pub parameters: Option<Parameters>,
    /// Number of the try.
    pub attempt: i64,
}

/// Why an issuer did not do what it was asked. The texts hold no value, credential or address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// It can't be reached, or says that it can't now: nothing was done.
    #[error("the issuer is not available: {0}")]
    Unavailable(String),
    /// It asks for fewer calls: nothing was done.
    #[error("the issuer asks for fewer calls")]
    RateLimited {
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// Its quota of tokens is used up: nothing was done.
    #[error("the issuer's quota of tokens is used up: remove a token there, or shorten the overlap")]
    QuotaExceeded,
    /// It refuses what is asked: nothing was done, and asking again changes nothing.
    #[error("the issuer refuses it: {0}")]
    Refused(String),
    /// It does not accept the operator's credential.
    #[error("the issuer does not accept the credential: renew it in the Secret that the issuer's credentialsRef names")]
    CredentialRefused,
    /// The answer got lost: nobody knows whether it was done.
    #[error("the issuer's answer got lost: {0}")]
    OutcomeUnknown(String),
}

/// Who makes tokens. Every call is safe to repeat but the two that make one; none repeats itself.
pub trait Issuer: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// All tokens of the account that `request` names.
    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>>;
    /// Makes a token.
    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>>;
    /// Replaces the token `id` in place.
    fn reset<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>>;
    /// Changes name, description and parameters of the token `id`.
    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>>;
    /// Does to the token `id` what `verb` says; a token that is in that state already, or gone, is no error.
    fn change<'a>(&'a self, id: &'a str, verb: Verb, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>>;
}

/// What can be done to a token that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is held back.
    Suspend,
    /// It works again.
    Activate,
    /// It ends, and stays listed.
    Revoke,
    /// It is removed.
    Delete,
}

/// How an issuer is reached by its spec.
pub trait Issuers: Send + Sync + 'static {
    /// The issuer of that spec; nothing where this version knows no such type. The built-in one is
    /// not reached: its tokens are made here.
    fn open(&self, spec: &IssuerSpec) -> Option<Arc<dyn Issuer>>;
}

/// The issuers that this version knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownIssuers;

impl Issuers for KnownIssuers {
    fn open(&self, _: &IssuerSpec) -> Option<Arc<dyn Issuer>> {
        None
    }
}

/// What the issuer of that spec can do; nothing where this version knows no such type.
pub fn capabilities(issuers: &dyn Issuers, spec: &IssuerSpec) -> Option<Capabilities> {
    match &spec.builtin {
        Some(_) => Some(Capabilities::BUILTIN),
        None => issuers.open(spec).map(|issuer| issuer.capabilities()),
    }
}
