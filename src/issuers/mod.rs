//! Who makes tokens, in the words of this project.
//!
//! This module owns what an issuer can do and how a token is made there. It knows nothing of
//! Kubernetes: specs come in as plain data, values go out as [`crate::token_value::TokenValue`].

pub mod builtin;
pub mod http;
pub mod mailtrap;
mod names;
pub mod observing;
pub mod prefactor;
pub mod softwareone;
pub mod wavefront;

use std::sync::{Arc, atomic::AtomicU64};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;

use self::{mailtrap::Mailtrap, prefactor::Prefactor, softwareone::Softwareone, wavefront::Wavefront};
use crate::{
    api::{
        IssuerSpec,
        api_token::{AvailableActions, Parameters},
        issuer::IssuerType,
    },
    token_value::TokenValue,
};

pub use self::names::NameCharacters;

/// How long one call to a vendor may take where the issuer's spec says nothing.
pub const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

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
    /// Which characters such a name may have.
    pub name_characters: NameCharacters,
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
        name_characters: NameCharacters::Any,
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
    /// What else the issuer tells of it.
    pub details: TokenDetails,
}

/// What an issuer tells of a token, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenDetails {
    /// Kind of the owning account, in the issuer's words.
    pub account_type: Option<String>,
    /// Who made the token, in the issuer's words.
    pub created_by: Option<String>,
    /// What the issuer lets be done with the token now, where it tells.
    pub actions: Option<AvailableActions>,
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
    /// The last characters of the value, where the issuer shows those alone.
    pub hint: Option<String>,
    /// Whether it works.
    pub state: ListedState,
    /// When it was made, by the issuer's clock, where it tells.
    pub created_at: Option<Timestamp>,
    /// The time at the issuer when it showed this, where it tells.
    pub shown_at: Option<Timestamp>,
    /// When the issuer ends it by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, where the issuer tells.
    pub last_used_at: Option<Timestamp>,
    /// Whether it can be what was asked for, by all that the issuer shows of it beside its name and time.
    pub fits: bool,
    /// What else the issuer tells of it.
    pub details: TokenDetails,
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
    /// There is no credential to ask it with: nothing was done.
    #[error("the issuer's credential is not there: {0}")]
    CredentialMissing(String),
    /// There is no connection to it: nothing was done.
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    /// Its certificate is not trusted: nothing was done.
    #[error("the issuer's certificate is not trusted: {0}; put the certificate of its authority into the issuer's caBundle")]
    CertificateRefused(String),
    /// Its address is not one that this issuer may have: nothing was done.
    #[error(
        "the issuer's address is inside the cluster's network: use a ClusterTokenIssuer, or run the operator with --allow-private-issuers"
    )]
    AddressRefused,
    /// It can't now, or its answer got lost: nothing was made, and the same can be asked again.
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
    /// The credential has not the right.
    #[error("the issuer's credential lacks a right: {0}")]
    NotPermitted(String),
    /// The account does not exist there, or not for this credential.
    #[error("the issuer knows no such account: correct the account in the issuer's spec")]
    AccountNotFound,
    /// The answer got lost: nobody knows whether a token was made.
    #[error("the issuer's answer got lost: {0}")]
    OutcomeUnknown(String),
}

/// Who makes tokens. Every call is safe to repeat but the two that make one; none repeats itself.
pub trait Issuer: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// All tokens that the credential shows, of whatever account. Nothing changes by it, so that an issuer is checked by it too.
    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>>;
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

/// Counts seconds.
pub type Seconds = Counter<f64, AtomicU64>;

/// With what an issuer is reached.
pub struct Access<'a> {
    /// Its spec.
    pub spec: &'a IssuerSpec,
    /// What the operator proves itself with.
    pub credential: TokenValue,
    /// Which addresses it may have.
    pub reach: Reach,
    /// Where it is counted how long its calls are held back for its rate limit.
    pub waited: Seconds,
}

/// Which addresses an issuer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any, as whoever set the operator up decides.
    Anywhere,
    /// Those of the public internet: a tenant's issuer must not lead into the cluster.
    Public,
}

/// How issuers are reached.
pub trait Issuers: Send + Sync + 'static {
    /// What the issuer of that spec can do.
    fn capabilities(&self, spec: &IssuerSpec) -> Option<Capabilities>;
    /// The issuer of that spec; nothing for the built-in one, which is not reached: its tokens are made here.
    ///
    /// # Errors
    /// Where the spec can't be used, such as a certificate that can't be read.
    fn open(&self, access: Access<'_>) -> Result<Option<Arc<dyn Issuer>>, IssuerError>;
}

/// The issuers that this version knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownIssuers;

impl Issuers for KnownIssuers {
    fn capabilities(&self, spec: &IssuerSpec) -> Option<Capabilities> {
        match spec.issuer_type()? {
            IssuerType::Builtin(_) => Some(Capabilities::BUILTIN),
            IssuerType::Mailtrap(_) => Some(Capabilities::MAILTRAP),
            IssuerType::Prefactor(_) => Some(Capabilities::PREFACTOR),
            IssuerType::Softwareone(_) => Some(Capabilities::SOFTWAREONE),
            IssuerType::Wavefront(spec) => Some(Capabilities::wavefront(spec)),
        }
    }

    fn open(&self, access: Access<'_>) -> Result<Option<Arc<dyn Issuer>>, IssuerError> {
        match access.spec.issuer_type() {
            None | Some(IssuerType::Builtin(_)) => Ok(None),
            Some(IssuerType::Mailtrap(spec)) => Ok(Some(Arc::new(Mailtrap::open(&access, spec)?))),
            Some(IssuerType::Prefactor(spec)) => Ok(Some(Arc::new(Prefactor::open(&access, spec)?))),
            Some(IssuerType::Softwareone(spec)) => Ok(Some(Arc::new(Softwareone::open(&access, spec)?))),
            Some(IssuerType::Wavefront(spec)) => Ok(Some(Arc::new(Wavefront::open(&access, spec)?))),
        }
    }
}
