//! The SoftwareOne Marketplace: the API tokens of an account.
//!
//! A token has a name that we choose, which need not be its own alone, and shows its value with every
//! read. Deleting is soft and final: a token that is deleted counts as gone, however it is shown.

mod wire;

use std::collections::HashSet;

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;

use self::wire::{Id, NewToken, Page, Problem, Properties, Status, Token};
use super::{
    Access, Capabilities, IssuedToken, Issuer, IssuerError, ListedState, ListedToken, NameCharacters, TokenDetails, TokenRequest, Verb,
    http::{Answer, CredentialHeader, Effect, Http, Settings},
};
use crate::api::issuer::SoftwareoneIssuer;

/// What stands before the documented paths where the spec says nothing.
const URL: &str = "https://api.platform.softwareone.com/public";
/// Where the tokens are.
const TOKENS: [&str; 3] = ["v1", "accounts", "api-tokens"];
/// Tokens on a page. The vendor caps it at 100 and advises up to 50; each brings its account and modules with it.
const PAGE: usize = 50;
/// How many tokens are read at most.
const MOST_TOKENS: usize = 20_000;
/// How often a list is read anew that changes while it is read.
const READINGS: usize = 3;
const NO_CONTENT: u16 = 204;
const NOT_FOUND: u16 = 404;

impl Capabilities {
    /// What the Marketplace can do.
    pub const SOFTWAREONE: Self = Self {
        local: false,
        suspend: true,
        reset: None,
        readable_value: true,
        expiry: false,
        names: true,
        name_characters: NameCharacters::Plain,
        update: true,
        revoke_before_delete: false,
        last_used: true,
    };
}

/// The Marketplace, for one issuer.
pub struct Softwareone {
    http: Http,
    account: String,
}

impl Softwareone {
    /// Sets it up, without a call.
    ///
    /// # Errors
    /// Where the spec or the credential can't be used.
    pub fn open(access: &Access<'_>, spec: &SoftwareoneIssuer) -> Result<Self, IssuerError> {
        let url = spec.url.as_deref().unwrap_or(URL);
        Ok(Self {
            http: Http::new(&Settings::of(access, url, CredentialHeader::Bearer))?,
            account: spec.account.clone(),
        })
    }

    /// Every token that the credential shows. A token that is missed would be taken for gone, so a list that can't be read
    /// as a whole is an error.
    async fn tokens(&self) -> Result<Vec<Token>, IssuerError> {
        for _ in 0..READINGS {
            if let Some(mut tokens) = self.read_pages().await? {
                let mut seen = HashSet::new();
                tokens.retain(|token| token.status != Status::Deleted && seen.insert(token.id.clone()));
                return Ok(tokens);
            }
        }
        Err(IssuerError::Unavailable("its list of tokens changes while it is read".to_owned()))
    }

    /// All pages in their order; nothing where the list changed meanwhile. Each page is to begin with the last token of the one
    /// before, so that none slips through when one before it goes.
    async fn read_pages(&self) -> Result<Option<Vec<Token>>, IssuerError> {
        let mut tokens: Vec<Token> = Vec::new();
        while tokens.len() <= MOST_TOKENS {
            let answer = self.page(tokens.len().saturating_sub(1)).await?;
            let page: Page = answer.json()?;
            let total = page.total();
            let Some(more) = page.behind(tokens.last().map(|last| last.id.as_str())) else {
                return Ok(None);
            };
            let is_last = more.is_empty();
            tokens.extend(more);
            match total {
                Some(total) if total <= tokens.len() => return Ok(Some(tokens)),
                Some(_) if is_last => return Err(answer.unexpected("it shows fewer tokens than it counts")),
                None if is_last => return Ok(Some(tokens)),
                _ => {}
            }
        }
        Err(IssuerError::Unavailable(format!("it lists more than {MOST_TOKENS} tokens")))
    }

    /// In the order of their ids, which never change.
    async fn page(&self, offset: usize) -> Result<Answer, IssuerError> {
        let call = self.http.get(&TOKENS).query("limit", &PAGE.to_string());
        let call = call
            .query("offset", &offset.to_string())
            .query("order", "id")
            .query("select", "+audit");
        let answer = call.send(Effect::Read).await?;
        if answer.status() == NOT_FOUND {
            let why = "there is no list of tokens: correct the url in the issuer's spec";
            return Err(IssuerError::Unavailable(why.to_owned()));
        }
        done(&answer)?;
        Ok(answer)
    }

    /// The token of that id; nothing where it is gone.
    async fn get(&self, id: &str) -> Result<Option<Token>, IssuerError> {
        let answer = self.http.get(&of_token(id)).send(Effect::Read).await?;
        present(&answer)
    }

    async fn make(&self, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let account = request.account.as_deref().unwrap_or(&self.account);
        let new = NewToken {
            account: Id { id: account },
            properties: Properties::of(request),
        };
        let answer = self.http.post(&TOKENS).json(&new).send(Effect::Make).await?;
        if answer.status() == NOT_FOUND && problem(&answer).is_some() {
            return Err(IssuerError::AccountNotFound);
        }
        let token: Token = done(&answer)?.json()?;
        let value = token.value().ok_or_else(|| answer.unexpected("it has no token"))?.clone();
        Ok(IssuedToken {
            value,
            details: details(&token),
            id: token.id,
            name: token.name.or_else(|| request.name.clone()),
            attempt: request.attempt,
            issued_at: answer.date().unwrap_or_else(Timestamp::now),
            announced_at: None,
            expires_at: None,
        })
    }

    async fn change_properties(&self, id: &str, request: &TokenRequest) -> Result<(), IssuerError> {
        let call = self.http.put(&of_token(id)).json(&Properties::of(request));
        let changed = present(&call.send(Effect::Change).await?)?;
        let gone = || IssuerError::Unavailable("the token is not there any more".to_owned());
        changed.map(drop).ok_or_else(gone)
    }

    async fn change_state(&self, id: &str, verb: Verb) -> Result<(), IssuerError> {
        let call = match verb {
            Verb::Suspend => self.http.post(&[&of_token(id)[..], &["disable"]].concat()),
            Verb::Activate => self.http.post(&[&of_token(id)[..], &["enable"]].concat()),
            Verb::Delete => self.http.delete(&of_token(id)),
            Verb::Revoke => return Err(unable("revokes no token without deleting it")),
        };
        let answer = call.send(Effect::Change).await?;
        if answer.status() == NO_CONTENT {
            return Ok(());
        }
        let (token, otherwise) = match present(&answer) {
            // What is so already is refused.
            Err(refused @ IssuerError::Refused(_)) => (self.get(id).await?, refused),
            shown => (shown?, answer.unexpected("the token is as it was")),
        };
        if is_as_left_by(verb, token.as_ref()) {
            Ok(())
        } else {
            Err(otherwise)
        }
    }

    fn listed(&self, token: Token) -> ListedToken {
        ListedToken {
            account: token.account().filter(|account| *account != self.account).map(str::to_owned),
            value: token.value().cloned(),
            hint: None,
            state: state(token.status),
            created_at: token.created_at(),
            shown_at: None,
            expires_at: None,
            last_used_at: token.last_used_at(),
            fits: true,
            details: details(&token),
            id: token.id,
            name: token.name,
        }
    }
}

impl Issuer for Softwareone {
    fn capabilities(&self) -> Capabilities {
        Capabilities::SOFTWAREONE
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        let tokens = self.tokens();
        async { Ok(tokens.await?.into_iter().map(|token| self.listed(token)).collect()) }.boxed()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        async {
            let asked = request.account.as_deref().unwrap_or(&self.account);
            let mut tokens = self.tokens().await?;
            // One that doesn't say whose it is may be anybody's, and must not seem to be gone.
            tokens.retain(|token| token.account().is_none_or(|account| account == asked));
            Ok(tokens.into_iter().map(|token| self.listed(token)).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.make(request).boxed()
    }

    fn reset<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        async { Err(unable("replaces no token in place")) }.boxed()
    }

    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.change_properties(id, request).boxed()
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.change_state(id, verb).boxed()
    }
}

fn of_token(id: &str) -> [&str; 4] {
    let [version, module, tokens] = TOKENS;
    [version, module, tokens, id]
}

/// The token of an answer; nothing where it says that there is none, in its own words and not in those of a gateway that knows of
/// no tokens.
fn present(answer: &Answer) -> Result<Option<Token>, IssuerError> {
    if answer.status() == NOT_FOUND {
        let said = problem(answer).map(|_| None);
        return said.ok_or_else(|| answer.unexpected("it does not say that the token is gone"));
    }
    let token: Token = done(answer)?.json()?;
    Ok(Some(token).filter(|token| token.status != Status::Deleted))
}

/// The answer, where it says that it was done.
fn done(answer: &Answer) -> Result<&Answer, IssuerError> {
    if answer.is_success() {
        return Ok(answer);
    }
    Err(answer.refusal(problem(answer).as_deref()))
}

/// What the Marketplace writes of a call that it refuses.
fn problem(answer: &Answer) -> Option<String> {
    answer.json::<Problem>().ok().and_then(Problem::text)
}

/// Whether the token is as the verb leaves it.
fn is_as_left_by(verb: Verb, token: Option<&Token>) -> bool {
    match (verb, token.map(|token| token.status)) {
        (_, None) | (Verb::Suspend, Some(Status::Disabled)) | (Verb::Activate, Some(Status::Active)) => true,
        (_, Some(_)) => false,
    }
}

fn unable(why: &str) -> IssuerError {
    IssuerError::Refused(format!("the Marketplace {why}"))
}

/// A state that is not known is no reason to replace a token: it counts as one that works.
fn state(status: Status) -> ListedState {
    match status {
        Status::Active | Status::Other => ListedState::Active,
        Status::Disabled => ListedState::Suspended,
        Status::Deleted => ListedState::Revoked,
    }
}

fn details(token: &Token) -> TokenDetails {
    TokenDetails {
        account_type: token.account_type(),
        created_by: token.created_by(),
        actions: None,
    }
}
