//! Tokens of Mailtrap.
//!
//! Its tokens have names, and an end where one is asked for. A reset makes a new token of an old one,
//! which works on for about 12 hours: the new one has another id, and the name of the old one with its
//! own id behind it. Nothing of a token can be changed.

mod wire;

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};

use self::wire::{NewToken, Reset, Resource, Token, Words, message};
use super::{
    Access, Capabilities, IssuedToken, Issuer, IssuerError, ListedState, ListedToken, NameCharacters, TokenDetails, TokenRequest, Verb,
    http::{Answer, CredentialHeader, Effect, Http, Settings},
};
use crate::api::issuer::MailtrapIssuer;

/// What stands before the documented paths where the spec says nothing.
const URL: &str = "https://mailtrap.io";
/// The one answer to a delete that says that it was done.
const DELETED: u16 = 204;
const NOT_FOUND: u16 = 404;

impl Capabilities {
    /// What Mailtrap can do.
    pub const MAILTRAP: Self = Self {
        local: false,
        suspend: false,
        reset: Some(SignedDuration::from_hours(12)),
        readable_value: false,
        expiry: true,
        names: true,
        name_characters: NameCharacters::Any,
        update: false,
        revoke_before_delete: false,
        last_used: false,
    };
}

/// Mailtrap, for one issuer.
pub struct Mailtrap {
    http: Http,
    account: Option<String>,
}

impl Mailtrap {
    /// Sets it up, without a call.
    ///
    /// # Errors
    /// Where the spec or the credential can't be used.
    pub fn open(access: &Access<'_>, spec: &MailtrapIssuer) -> Result<Self, IssuerError> {
        let url = spec.url.as_deref().unwrap_or(URL);
        Ok(Self {
            http: Http::new(&Settings::of(access, url, CredentialHeader::Named("api-token")))?,
            account: spec.account_id.clone(),
        })
    }

    /// The path of the tokens of that account, or of the credential's own.
    fn path<'a>(&'a self, asked: Option<&'a str>, below: &[&'a str]) -> Vec<&'a str> {
        let account = asked.or(self.account.as_deref());
        let long = account.map(|account| ["accounts", account]);
        let mut path = vec!["api"];
        path.extend(long.iter().flatten());
        path.push("api_tokens");
        path.extend(below);
        path
    }

    fn words(&self, asked: Option<&str>) -> Words {
        match asked.or(self.account.as_deref()) {
            Some(_) => Words::Long,
            None => Words::Short,
        }
    }

    async fn all(&self, account: Option<&str>) -> Result<Vec<ListedToken>, IssuerError> {
        let answer = self.http.get(&self.path(account, &[])).send(Effect::Read).await?;
        let tokens: Vec<Token> = in_account(&answer)?.json()?;
        // The vendor's own time, since it is the vendor that ends them.
        let now = answer.date();
        Ok(tokens.into_iter().map(|token| listed(token, account, now)).collect())
    }

    async fn make(&self, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let account = request.account.as_deref();
        let declared = request.parameters.as_ref().and_then(|parameters| parameters.mailtrap.as_ref());
        let resources = declared.map(|declared| declared.resources.iter()).unwrap_or_default();
        let words = self.words(account);
        let body = NewToken {
            name: request.name.as_deref().unwrap_or_default(),
            resources: resources.map(|resource| Resource::new(resource, words)).collect::<Result<_, _>>()?,
            expires_at: request.expires_at,
        };
        let answer = self.http.post(&self.path(account, &[])).json(&body).send(Effect::Make).await?;
        issued(in_account(&answer)?, request)
    }

    async fn replace(&self, id: &str, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let path = self.path(request.account.as_deref(), &[id, "reset"]);
        let body = Reset {
            expires_at: request.expires_at,
        };
        let answer = self.http.post(&path).json(&body).send(Effect::Make).await?;
        issued(done(&answer)?, request)
    }

    async fn delete(&self, id: &str, request: &TokenRequest) -> Result<(), IssuerError> {
        let path = self.path(request.account.as_deref(), &[id]);
        let answer = self.http.delete(&path).send(Effect::Change).await?;
        match answer.status() {
            DELETED => Ok(()),
            // In its own words, and not in those of a gateway that knows of no tokens.
            NOT_FOUND if message(&answer).is_some() => Ok(()),
            NOT_FOUND | 200..300 => Err(answer.unexpected("it does not say that the token is gone")),
            _ => done(&answer).map(drop).map_err(or_the_last_one),
        }
    }
}

impl Issuer for Mailtrap {
    fn capabilities(&self) -> Capabilities {
        Capabilities::MAILTRAP
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        self.all(None).boxed()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        self.all(request.account.as_deref()).boxed()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.make(request).boxed()
    }

    fn reset<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.replace(id, request).boxed()
    }

    fn update<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        async { Err(IssuerError::Refused("nothing of a Mailtrap token can be changed".to_owned())) }.boxed()
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        match verb {
            Verb::Delete => self.delete(id, request).boxed(),
            Verb::Suspend | Verb::Activate | Verb::Revoke => {
                async { Err(IssuerError::Refused("a Mailtrap token can only be deleted".to_owned())) }.boxed()
            }
        }
    }
}

/// The answer, where it says that it was done.
fn done(answer: &Answer) -> Result<&Answer, IssuerError> {
    match answer.is_success() {
        true => Ok(answer),
        false => Err(answer.refusal(message(answer).as_deref())),
    }
}

/// The same for a path that ends in an account's tokens: where it is not found, it is the account.
fn in_account(answer: &Answer) -> Result<&Answer, IssuerError> {
    match answer.status() {
        NOT_FOUND => Err(IssuerError::AccountNotFound),
        _ => done(answer),
    }
}

/// Nobody can tell a missing right from the refusal to delete the last token of a domain.
fn or_the_last_one(error: IssuerError) -> IssuerError {
    let hint = |why| format!("{why} (Mailtrap keeps the last token of a domain: if it is that one, make another there first)");
    match error {
        IssuerError::NotPermitted(why) => IssuerError::NotPermitted(hint(why)),
        IssuerError::Refused(why) => IssuerError::Refused(hint(why)),
        other => other,
    }
}

fn issued(answer: &Answer, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
    let made: Token = answer.json()?;
    Ok(IssuedToken {
        id: made.id.to_string(),
        expires_at: made.expires_at(),
        value: made
            .token
            .filter(|value| !value.expose().is_empty())
            .ok_or_else(|| answer.unexpected("it has no token"))?,
        name: made.name,
        attempt: request.attempt,
        issued_at: answer.date().unwrap_or_else(Timestamp::now),
        announced_at: None,
        details: details(made.created_by),
    })
}

/// An expired token stays listed for a time: it is ended, and can be deleted.
fn listed(token: Token, account: Option<&str>, now: Option<Timestamp>) -> ListedToken {
    let expires_at = token.expires_at();
    let is_over = expires_at.zip(now).is_some_and(|(end, now)| end <= now);
    ListedToken {
        id: token.id.to_string(),
        account: account.map(str::to_owned),
        name: token.name,
        value: None,
        hint: token.last_4_digits,
        state: if is_over { ListedState::Revoked } else { ListedState::Active },
        created_at: None,
        shown_at: now,
        expires_at,
        last_used_at: None,
        // It is known by its name alone.
        fits: true,
        details: details(token.created_by),
    }
}

fn details(created_by: Option<String>) -> TokenDetails {
    TokenDetails {
        created_by,
        ..TokenDetails::default()
    }
}
