//! The operations of Wavefront's API, and what its answers mean.
//!
//! Values stand in paths and bodies here, and may stand in what the vendor writes of an error. So each call carries those that it
//! has, and the vendor's own words are never shown.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::wire::{Envelope, NewToken, Rename, Revocation, Status, Token};
use crate::{
    issuers::{
        IssuerError,
        http::{Answer, Call, Effect, Http},
    },
    token_value::TokenValue,
};

/// What all paths begin with.
const ROOT: [&str; 3] = ["api", "v2", "apitoken"];
/// How long no call is sent after an answer that asks for fewer in its body, where no time can be said.
const SHORT_PEACE: Duration = Duration::from_secs(5);
/// Which rights are asked for (vendor's documentation).
const RIGHTS: &str = "give its account the permission Accounts, for tokens of service accounts, or API Tokens, for those of its own";
/// Why an error says no more.
const NOT_SHOWN: &str = "what it writes is not shown, since it may hold a value";

/// Whose tokens a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account<'a> {
    /// Those of the credential's own user.
    Own,
    /// Those of that service account.
    Service(&'a str),
}

impl<'a> Account<'a> {
    fn path(self) -> Vec<&'a str> {
        match self {
            Self::Own => ROOT.to_vec(),
            Self::Service(account) => [&ROOT[..], &["serviceaccount", account]].concat(),
        }
    }

    fn path_of<'b>(self, token: &'b Token) -> Vec<&'b str>
    where
        'a: 'b,
    {
        let mut path: Vec<&'b str> = self.path();
        path.push(token.value.expose());
        path
    }
}

/// A call that failed.
struct Failed {
    /// The status, where there was an answer.
    status: Option<u16>,
    /// Whether the vendor itself says so, and not a gateway that knows of no tokens.
    is_told: bool,
    error: IssuerError,
}

impl Failed {
    fn is_not_found(&self) -> bool {
        self.is_told && self.status == Some(404)
    }
}

impl From<IssuerError> for Failed {
    fn from(error: IssuerError) -> Self {
        Self {
            status: None,
            is_told: false,
            error,
        }
    }
}

impl From<Failed> for IssuerError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Wavefront's API, for one credential.
pub struct Api {
    http: Http,
}

impl Api {
    /// The API behind that way.
    pub fn new(http: Http) -> Self {
        Self { http }
    }

    /// All tokens of the account, in the vendor's order.
    pub async fn tokens(&self, account: Account<'_>) -> Result<Vec<Token>, IssuerError> {
        let call = self.http.get(&account.path());
        let tokens = self.list(call, Effect::Read).await;
        tokens.map_err(|failed| of_account(account, failed))
    }

    /// Makes a token: all tokens of the account, with the new one. The name counts for a service account only.
    pub async fn create(&self, account: Account<'_>, name: Option<&str>) -> Result<Vec<Token>, IssuerError> {
        let call = self.http.post(&account.path());
        let call = match account {
            Account::Own => call,
            Account::Service(_) => call.json(&NewToken { token_name: name }),
        };
        let tokens = self.list(call, Effect::Make).await;
        tokens.map_err(|failed| of_account(account, failed))
    }

    /// Gives the token a name; one that is gone needs none.
    pub async fn rename(&self, account: Account<'_>, token: &Token, name: &str) -> Result<(), IssuerError> {
        let call = self.http.put(&account.path_of(token));
        let call = call.json(&Rename {
            value: token.value.expose(),
            name,
        });
        self.done(call, &token.value).await
    }

    /// Ends the token.
    pub async fn delete(&self, account: Account<'_>, token: &Token) -> Result<(), IssuerError> {
        let call = self.http.delete(&account.path_of(token));
        self.done(call, &token.value).await
    }

    /// All tokens of the customer, whosever they are; nothing where the credential may not see them. It must be known that the
    /// credential is accepted.
    pub async fn all_tokens(&self) -> Result<Option<Vec<Token>>, IssuerError> {
        let path = [&ROOT[..], &["customertokens"]].concat();
        match self.list(self.http.get(&path), Effect::Read).await {
            Ok(tokens) => Ok(Some(tokens)),
            Err(Failed {
                status: Some(401 | 403 | 404),
                ..
            }) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Ends the token, whosever it is.
    pub async fn revoke(&self, token: &Token) -> Result<(), IssuerError> {
        let path = [&ROOT[..], &["customertokens", "revoke"]].concat();
        let call = self.http.put(&path).json(&Revocation {
            value: token.value.expose(),
        });
        self.done(call, &token.value).await
    }

    /// Sends a call that is answered with a list of tokens. A list that is absent is not an empty one.
    async fn list(&self, call: Call<'_>, effect: Effect) -> Result<Vec<Token>, Failed> {
        let answer = call.send(effect).await?;
        self.check(&answer)?;
        let envelope: Envelope<Vec<Token>> = answer.json()?;
        let tokens = envelope.response.ok_or_else(|| answer.unexpected("it has no list"))?;
        if tokens.iter().any(|token| token.value.expose().is_empty()) {
            return Err(answer.unexpected("a token has no id").into());
        }
        Ok(tokens)
    }

    /// Sends a call whose answer says no more than that it was done. A token that is not there any more is no error.
    async fn done(&self, call: Call<'_>, value: &TokenValue) -> Result<(), IssuerError> {
        let answer = call.carrying(value).send(Effect::Change).await?;
        match self.check(&answer) {
            Err(failed) if failed.is_not_found() => Ok(()),
            Err(Failed { status: Some(404), .. }) => Err(answer.unexpected("it does not say that the token is gone")),
            outcome => Ok(outcome?),
        }
    }

    /// Whether it was done, by HTTP and by the envelope.
    fn check(&self, answer: &Answer) -> Result<(), Failed> {
        let said = answer.json::<Envelope<IgnoredAny>>().map(|envelope| envelope.status);
        match said {
            Ok(status) if answer.is_success() && status.is_ok() => Ok(()),
            Err(error) if answer.is_success() => Err(error.into()),
            said => Err(self.failed(answer, said.ok())),
        }
    }

    /// The status of HTTP counts where it is one of an error, else the code in the envelope.
    fn failed(&self, answer: &Answer, said: Option<Status>) -> Failed {
        let is_told = said.is_some();
        let code = said.and_then(|said| said.code());
        let status = if answer.is_success() { code } else { Some(answer.status()) };
        let error = match status {
            None => answer.unexpected("it is an error without a code"),
            Some(429) if answer.is_success() => self.http.hold_back(SHORT_PEACE),
            Some(403) => IssuerError::NotPermitted(RIGHTS.to_owned()),
            Some(status) => answer.refusal_as(status, Some(&format!("status {status}; {NOT_SHOWN}"))),
        };
        Failed { status, is_told, error }
    }
}

/// An account that is not there is told from what else can be wrong.
fn of_account(account: Account<'_>, failed: Failed) -> IssuerError {
    match account {
        Account::Service(_) if failed.is_not_found() => IssuerError::AccountNotFound,
        _ => failed.error,
    }
}
