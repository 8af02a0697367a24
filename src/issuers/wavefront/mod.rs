//! Wavefront (Aria Operations for Applications).
//!
//! A token's id there is its value. So nobody outside this module sees one: our id of a token is the beginning of the value's hash,
//! and every verb lists the tokens first and picks the one whose hash fits.

mod api;
mod wire;

use std::future::ready;

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;

use self::{
    api::{Account, Api},
    wire::Token,
};
use super::{
    Access, Capabilities, IssuedToken, Issuer, IssuerError, ListedToken, NameCharacters, TokenDetails, TokenRequest, Verb,
    http::{CredentialHeader, Http, Settings},
};
use crate::api::issuer::WavefrontIssuer;

/// How many tokens an account may have (vendor's documentation).
const QUOTA: usize = 20;

impl Capabilities {
    /// What Wavefront can do. A token of a service account is made with its name; one of the credential's own user is made without,
    /// and gets its name by a second call, so that its name can't be relied on.
    pub fn wavefront(spec: &WavefrontIssuer) -> Self {
        Self {
            local: false,
            suspend: false,
            reset: None,
            readable_value: true,
            expiry: false,
            names: spec.service_account.is_some(),
            name_characters: NameCharacters::Any,
            update: true,
            revoke_before_delete: false,
            last_used: true,
        }
    }
}

/// Wavefront, for one issuer.
pub struct Wavefront {
    api: Api,
    spec: WavefrontIssuer,
}

impl Wavefront {
    /// Sets it up, without a call.
    ///
    /// # Errors
    /// Where the spec or the credential can't be used.
    pub fn open(access: &Access<'_>, spec: &WavefrontIssuer) -> Result<Self, IssuerError> {
        let settings = Settings::of(access, &spec.url, CredentialHeader::Bearer);
        Ok(Self {
            api: Api::new(Http::new(&settings)?),
            spec: spec.clone(),
        })
    }

    /// The issuer's own account.
    fn own(&self) -> Account<'_> {
        self.spec.service_account.as_deref().map_or(Account::Own, Account::Service)
    }

    /// The account that is asked for, where it is not the issuer's own. The vendor makes names lower case.
    fn other<'a>(&self, request: &'a TokenRequest) -> Option<&'a str> {
        let own = self.spec.service_account.as_deref();
        let is_own = |account: &&str| own.is_some_and(|own| own.eq_ignore_ascii_case(account));
        request.account.as_deref().filter(|account| !is_own(account))
    }

    fn account<'a>(&'a self, request: &'a TokenRequest) -> Account<'a> {
        self.other(request).map_or(self.own(), Account::Service)
    }

    /// The values of others are nobody's business here.
    async fn find_all(&self) -> Result<Vec<ListedToken>, IssuerError> {
        let own = self.api.tokens(self.own()).await?;
        let all = self.api.all_tokens().await?.unwrap_or_default();
        let others = all.iter().filter(|token| !has(&own, token));
        let others = others.map(|token| ListedToken {
            value: None,
            ..listed(token, token.account.clone(), true)
        });
        Ok(own.iter().map(|token| listed(token, None, true)).chain(others).collect())
    }

    /// Where the name can't be relied on, a token has none before it gets ours; once one has it, it is that. And it is known by not
    /// having been there before: a time by the vendor's clock could only hide it.
    async fn find_in_account(&self, request: &TokenRequest) -> Result<Vec<ListedToken>, IssuerError> {
        let tokens = self.tokens_of(request).await?;
        let account = self.other(request).map(str::to_owned);
        let is_named = |token: &&Token| request.name.is_some() && token.name() == request.name.as_deref();
        let expected = tokens.iter().find(is_named).and_then(Token::name);
        let names = self.capabilities().names;
        let show = |token: &Token| ListedToken {
            created_at: token.created_at().filter(|_| names),
            ..listed(token, account.clone(), names || token.name() == expected)
        };
        Ok(tokens.iter().map(show).collect())
    }

    /// An account whose own path refuses may still stand in the customer's list: a person's, or one that is gone with its tokens.
    async fn tokens_of(&self, request: &TokenRequest) -> Result<Vec<Token>, IssuerError> {
        let (tokens, other) = (self.api.tokens(self.account(request)).await, self.other(request));
        match (tokens, other) {
            (Err(refusal @ (IssuerError::NotPermitted(_) | IssuerError::AccountNotFound)), Some(other)) => {
                let all = self.api.all_tokens().await?.ok_or(refusal)?;
                let owner = |token: &Token| token.account.as_deref().is_some_and(|owner| owner.eq_ignore_ascii_case(other));
                Ok(all.into_iter().filter(owner).collect())
            }
            (tokens, _) => tokens,
        }
    }

    async fn make(&self, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let account = self.account(request);
        let before = self.api.tokens(account).await?;
        if before.len() >= QUOTA {
            return Err(IssuerError::QuotaExceeded);
        }
        let after = match self.api.create(account, request.name.as_deref()).await {
            Err(refusal @ IssuerError::Refused(_)) => return Err(self.why_refused(account, refusal).await),
            after => after?,
        };
        let name = request.name.as_deref().filter(|_| account != Account::Own);
        let token = the_new_one(after, &before, name)?;
        let name = self.named(account, &token, request).await;
        Ok(issued(token, name, request.attempt))
    }

    /// What the vendor answers for a full account is not documented: the account itself tells.
    async fn why_refused(&self, account: Account<'_>, refusal: IssuerError) -> IssuerError {
        match self.api.tokens(account).await {
            Ok(tokens) if tokens.len() >= QUOTA => IssuerError::QuotaExceeded,
            _ => refusal,
        }
    }

    /// The name of a token just made; one that was made without gets it now. It works without too.
    async fn named(&self, account: Account<'_>, token: &Token, request: &TokenRequest) -> Option<String> {
        match request.name.as_deref() {
            Some(name) if token.name() != Some(name) && self.api.rename(account, token, name).await.is_ok() => Some(name),
            _ => token.name(),
        }
        .map(str::to_owned)
    }

    async fn rename(&self, id: &str, request: &TokenRequest) -> Result<(), IssuerError> {
        let Some(name) = request.name.as_deref() else {
            return Ok(());
        };
        let account = self.account(request);
        match with_id(&self.api.tokens(account).await?, id) {
            Some(token) if token.name() != Some(name) => self.api.rename(account, token, name).await,
            _ => Ok(()),
        }
    }

    /// Where the account's own path refuses, or shows no such token, the customer's list may still have it.
    async fn delete(&self, id: &str, request: &TokenRequest) -> Result<(), IssuerError> {
        let refusal = match self.delete_in_account(id, request).await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(refusal @ (IssuerError::NotPermitted(_) | IssuerError::AccountNotFound | IssuerError::Refused(_))) => Some(refusal),
            Err(error) => return Err(error),
        };
        match (self.api.all_tokens().await?, refusal) {
            (Some(all), _) => match with_id(&all, id) {
                Some(token) => self.api.revoke(token).await,
                None => Ok(()),
            },
            (None, Some(refusal)) => Err(refusal),
            (None, None) => Ok(()),
        }
    }

    /// Whether the token was there.
    async fn delete_in_account(&self, id: &str, request: &TokenRequest) -> Result<bool, IssuerError> {
        let account = self.account(request);
        let tokens = self.api.tokens(account).await?;
        let Some(token) = with_id(&tokens, id) else {
            return Ok(false);
        };
        self.api.delete(account, token).await.map(|()| true)
    }
}

impl Issuer for Wavefront {
    fn capabilities(&self) -> Capabilities {
        Capabilities::wavefront(&self.spec)
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        self.find_all().boxed()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        self.find_in_account(request).boxed()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.make(request).boxed()
    }

    fn reset<'a>(&'a self, _id: &'a str, _request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        ready(Err(unable("replace a token in place"))).boxed()
    }

    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.rename(id, request).boxed()
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        match verb {
            Verb::Delete => self.delete(id, request).boxed(),
            Verb::Suspend | Verb::Activate => ready(Err(unable("hold a token back"))).boxed(),
            Verb::Revoke => ready(Err(unable("end a token without removing it"))).boxed(),
        }
    }
}

fn unable(what: &str) -> IssuerError {
    IssuerError::Refused(format!("Wavefront can't {what}"))
}

fn has(tokens: &[Token], token: &Token) -> bool {
    with_id(tokens, &token.id()).is_some()
}

fn with_id<'a>(tokens: &'a [Token], id: &str) -> Option<&'a Token> {
    tokens.iter().find(|token| token.id() == id)
}

/// The one token that was not there before, and was made with that name or with none. Its place in the list proves nothing: others make
/// tokens too.
fn the_new_one(after: Vec<Token>, before: &[Token], name: Option<&str>) -> Result<Token, IssuerError> {
    let mut new: Vec<Token> = after.into_iter().filter(|token| !has(before, token)).collect();
    if name.is_some() || new.len() > 1 {
        new.retain(|token| token.name() == name);
    }
    let token = new.pop().filter(|_| new.is_empty());
    token.ok_or_else(|| IssuerError::OutcomeUnknown("it can't be told which token is the new one".to_owned()))
}

fn issued(token: Token, name: Option<String>, attempt: i64) -> IssuedToken {
    IssuedToken {
        id: token.id(),
        name,
        attempt,
        issued_at: token.created_at().unwrap_or_else(Timestamp::now),
        announced_at: None,
        expires_at: None,
        details: details(&token),
        value: token.value,
    }
}

fn listed(token: &Token, account: Option<String>, fits: bool) -> ListedToken {
    ListedToken {
        id: token.id(),
        account,
        name: token.name().map(str::to_owned),
        value: Some(token.value.clone()),
        hint: None,
        state: token.state(),
        created_at: token.created_at(),
        shown_at: None,
        expires_at: None,
        last_used_at: token.last_used_at(),
        fits,
        details: details(token),
    }
}

fn details(token: &Token) -> TokenDetails {
    TokenDetails {
        account_type: token.account_type.clone(),
        ..Default::default()
    }
}
