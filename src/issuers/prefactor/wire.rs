//! What goes over the wire to Prefactor and back, as far as it is used (vendor's documentation).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{api::api_token::PrefactorTokenScope, token_value::TokenValue};

/// What is asked for a new token.
#[derive(Serialize)]
pub struct Create<'a> {
    /// The token.
    pub details: NewToken<'a>,
}

/// A token that is to be made. What is not asked for is left out.
#[derive(Serialize)]
pub struct NewToken<'a> {
    /// How far it reaches.
    pub token_scope: PrefactorTokenScope,
    /// Owning account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<&'a str>,
    /// The environment that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<&'a str>,
    /// The agent that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<&'a str>,
    /// When it ends (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The answer to a token's creation: the only one with a value in it.
#[derive(Deserialize)]
pub struct Created {
    /// The token.
    pub details: Details,
    /// Its value, a JWT.
    pub token: TokenValue,
}

/// The answer where one token is asked for.
#[derive(Deserialize)]
pub struct Shown {
    /// The token.
    pub details: Details,
}

/// One page of the list.
#[derive(Deserialize)]
pub struct Page {
    /// The tokens on it.
    pub summaries: Vec<Details>,
    /// Where it stands in the list.
    pub pagination: Pagination,
}

/// Where a page stands in the list.
#[derive(Deserialize)]
pub struct Pagination {
    /// How many tokens stand before the next page; null or absent on the last one.
    pub next_page_offset: Option<usize>,
}

/// A token. What it is and whether it works must be there: one that can't be understood must not seem absent.
#[derive(Deserialize)]
pub struct Details {
    /// Its id.
    pub id: String,
    /// Whether it works, but for its end.
    pub status: Status,
    /// Owning account.
    pub account_id: Option<String>,
    /// How far it reaches; newer versions know more words.
    pub token_scope: Scope,
    /// The environment that it is for.
    pub environment_id: Option<String>,
    /// The agent that it is for. Not documented in answers.
    pub agent_id: Option<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub inserted_at: Timestamp,
    /// The person who made it.
    pub created_by_admin_user_id: Option<String>,
    /// What can be done with it now.
    pub available_actions: Option<Actions>,
}

/// Whether a token works. There is no word for one whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Active,
    /// It is held back.
    Suspended,
    /// It is ended.
    Revoked,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

/// How far a token reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole account.
    Account,
    /// One environment.
    Environment,
    /// One agent's deployment.
    AgentDeployment,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

impl From<PrefactorTokenScope> for Scope {
    fn from(scope: PrefactorTokenScope) -> Self {
        match scope {
            PrefactorTokenScope::Account => Self::Account,
            PrefactorTokenScope::Environment => Self::Environment,
            PrefactorTokenScope::AgentDeployment => Self::AgentDeployment,
        }
    }
}

/// What can be done with a token now. What is not told can't be.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Actions {
    /// It can be let work again.
    pub activate: bool,
    /// It can be held back.
    pub suspend: bool,
    /// It can be revoked.
    pub revoke: bool,
    /// It can be removed.
    pub delete: bool,
}

/// What an answer says of an error. What is not documented, or may be of another type, is taken as it comes.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// `error`, where it is one.
    pub status: Value,
    /// What went wrong, for programs.
    pub code: Option<Code>,
    /// The same for people.
    pub message: Value,
    /// What is wrong with each field.
    pub errors: Value,
    /// How long to wait until the next call, in milliseconds. Not documented.
    pub retry_after_ms: Value,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the vendor's words")]
pub enum Code {
    BadRequest,
    BadAuthtoken,
    NotAuthenticated,
    NotPermitted,
    NotImplemented,
    NotFound,
    UnexpectedRefType,
    InvalidAction,
    InvalidValue,
    RequiredValue,
    ValidationErrors,
    IdempotencyKeyAlreadyUsed,
    Unknown,
    Unexpected,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}
