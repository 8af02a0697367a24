//! Prefactor's API tokens: without names, with values that are shown once, and an end that the vendor keeps.

mod failure;
mod token;
mod wire;

use std::collections::HashSet;

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use serde_json::json;

use self::{
    failure::{Failure, says_done},
    token::to_second,
    wire::{Create, Created, Details, NewToken, Page, Shown, Status},
};
use super::{
    Access, Capabilities, IssuedToken, Issuer, IssuerError, ListedState, ListedToken, NameCharacters, TokenRequest, Verb,
    http::{Answer, CredentialHeader, Effect, Http, Settings},
};
use crate::api::issuer::PrefactorIssuer;

/// Where the vendor's API is, if the spec does not say.
const DEFAULT_URL: &str = "https://app.prefactorai.com";
const TOKENS: [&str; 3] = ["api", "v1", "api_token"];
/// How many tokens a page has.
const PAGE_SIZE: &str = "100";
/// How many pages are read: without what they have in common they hold 20,000 tokens.
const MOST_PAGES: usize = 225;

impl Capabilities {
    /// What Prefactor can do.
    pub const PREFACTOR: Self = Self {
        local: false,
        suspend: true,
        reset: None,
        readable_value: false,
        expiry: true,
        names: false,
        name_characters: NameCharacters::Any,
        update: false,
        revoke_before_delete: true,
        last_used: true,
    };
}

/// Prefactor, for one issuer.
pub struct Prefactor {
    http: Http,
    account: Option<String>,
}

/// What became of a call that changes a token.
enum Changed {
    /// It is done, or the token is gone.
    Done,
    /// The token is in no state for it, or the answer does not say: this error, unless the token is as it is to be.
    Unclear(IssuerError),
}

impl Prefactor {
    /// Sets the way to it up, without a call.
    ///
    /// # Errors
    /// Where url, caBundle or credential can't be used.
    pub fn open(access: &Access<'_>, spec: &PrefactorIssuer) -> Result<Self, IssuerError> {
        let url = spec.url.as_deref().unwrap_or(DEFAULT_URL);
        Ok(Self {
            http: Http::new(&Settings::of(access, url, CredentialHeader::Bearer))?,
            account: spec.account_id.clone(),
        })
    }

    /// The request in the vendor's words.
    fn asked<'a>(&'a self, request: &'a TokenRequest) -> NewToken<'a> {
        let parameters = request.parameters.as_ref().and_then(|parameters| parameters.prefactor.as_ref());
        NewToken {
            token_scope: parameters.map(|parameters| parameters.token_scope).unwrap_or_default(),
            account_id: request.account.as_deref().or(self.account.as_deref()),
            environment_id: parameters.and_then(|parameters| parameters.environment_id.as_deref()),
            agent_id: parameters.and_then(|parameters| parameters.agent_id.as_deref()),
            expires_at: request.expires_at.map(to_second),
        }
    }

    /// All tokens of the account, the newest first.
    ///
    /// Tokens that are removed meanwhile move the others up, and one would fall between two pages and seem gone. So each page begins
    /// within the one before it; where it doesn't begin with a token that is known, nobody knows what was missed.
    async fn pages(
        &self,
        account: Option<&str>,
        show: impl Fn(Details, Option<Timestamp>) -> ListedToken,
    ) -> Result<Vec<ListedToken>, IssuerError> {
        let (mut tokens, mut known) = (Vec::new(), HashSet::new());
        let (mut begin, mut end) = (0, 0);
        for _ in 0..MOST_PAGES {
            let answer = self.page(account, begin).await?;
            let Page { summaries, pagination } = answer.json()?;
            if begin > 0 && !summaries.first().is_some_and(|first| known.contains(&first.id)) {
                return Err(IssuerError::Unavailable("tokens went while its list was read".to_owned()));
            }
            let in_common = (summaries.len() / 10).max(1);
            for details in summaries {
                if known.insert(details.id.clone()) {
                    tokens.push(show(details, answer.date()));
                }
            }
            match pagination.next_page_offset {
                None => return Ok(tokens),
                Some(next) if next <= end => return Err(answer.unexpected("its pages do not advance")),
                Some(next) => (begin, end) = (next.saturating_sub(in_common), next),
            }
        }
        Err(IssuerError::Unavailable("its list has more pages than are read".to_owned()))
    }

    async fn page(&self, account: Option<&str>, offset: usize) -> Result<Answer, IssuerError> {
        let mut call = self.http.get(&TOKENS).query("pagination[offset]", &offset.to_string());
        call = call.query("pagination[page_size]", PAGE_SIZE).query("sorting", "-inserted_at");
        if let Some(account) = account {
            call = call.query("account_id", account);
        }
        let answer = call.send(Effect::Read).await?;
        match Failure::of(&answer) {
            None => Ok(answer),
            Some(failure) if failure.is_not_found() && account.is_some() => Err(IssuerError::AccountNotFound),
            Some(failure) => Err(failure.error(&self.http)),
        }
    }

    async fn make(&self, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let asked = self.asked(request);
        let only_account = asked.account_id.is_some() && asked.environment_id.is_none() && asked.agent_id.is_none();
        let call = self.http.post(&TOKENS).json(&Create { details: asked });
        let answer = call.send(Effect::Make).await?;
        match Failure::of(&answer) {
            None => {}
            Some(failure) if failure.is_not_found() && only_account => return Err(IssuerError::AccountNotFound),
            Some(failure) => return Err(failure.error(&self.http)),
        }
        let Created { details, token } = answer.json()?;
        if details.id.is_empty() || token.expose().is_empty() {
            return Err(answer.unexpected("it has no token"));
        }
        Ok(IssuedToken {
            value: token,
            name: None,
            attempt: request.attempt,
            issued_at: to_second(details.inserted_at),
            announced_at: None,
            expires_at: details.expires_at,
            details: details.told(),
            id: details.id,
        })
    }

    /// The token and the vendor's time; nothing where it is gone.
    async fn get(&self, id: &str) -> Result<Option<(Details, Option<Timestamp>)>, IssuerError> {
        let answer = self.http.get(&path(id)).send(Effect::Read).await?;
        match Failure::of(&answer) {
            None => Ok(Some((answer.json::<Shown>()?.details, answer.date()))),
            Some(failure) if failure.is_not_found() => Ok(None),
            Some(failure) => Err(failure.error(&self.http)),
        }
    }

    /// One call of that verb, with a key of its own, so that one that is delivered twice counts once: the second answer is then that
    /// the key was used, and the token's state tells what became of it.
    async fn call(&self, id: &str, verb: Verb) -> Result<Changed, IssuerError> {
        let key = format!("{:032x}", rand::random::<u128>());
        let act = |action| {
            self.http
                .post(&[&path(id)[..], &[action]].concat())
                .json(&json!({ "idempotency_key": key }))
        };
        let call = match verb {
            Verb::Suspend => act("suspend"),
            Verb::Activate => act("activate"),
            Verb::Revoke => act("revoke"),
            Verb::Delete => self.http.delete(&path(id)),
        };
        let answer = call.send(Effect::Change).await?;
        match Failure::of(&answer) {
            None if says_done(&answer) => Ok(Changed::Done),
            None => Ok(Changed::Unclear(answer.unexpected("it does not say that it was done"))),
            Some(failure) if failure.is_not_found() => Ok(Changed::Done),
            Some(failure) if failure.is_wrong_state() => Ok(Changed::Unclear(failure.error(&self.http))),
            Some(failure) => Err(failure.error(&self.http)),
        }
    }

    /// The same, with a look at the token where that is unclear: it may be as it is to be already.
    async fn bring(&self, id: &str, verb: Verb) -> Result<(), IssuerError> {
        let Changed::Unclear(error) = self.call(id, verb).await? else {
            return Ok(());
        };
        let Some((token, now)) = self.get(id).await? else {
            return Ok(());
        };
        match (verb, token.status) {
            (Verb::Suspend, Status::Suspended) | (Verb::Activate, Status::Active) | (Verb::Revoke, Status::Revoked) => Ok(()),
            // The next look at the list shows it, and what follows.
            (Verb::Suspend | Verb::Activate, Status::Revoked) => {
                Err(IssuerError::Unavailable("the token was revoked meanwhile".to_owned()))
            }
            // It is shown as revoked, since its time is over; the vendor wants it revoked all the same.
            (Verb::Delete, status) if status != Status::Revoked && token.state(now) == ListedState::Revoked => {
                self.revoke_and_delete(id).await
            }
            _ => Err(error),
        }
    }

    async fn revoke_and_delete(&self, id: &str) -> Result<(), IssuerError> {
        for verb in [Verb::Revoke, Verb::Delete] {
            if let Changed::Unclear(error) = self.call(id, verb).await? {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn path(id: &str) -> [&str; 4] {
    let [api, version, tokens] = TOKENS;
    [api, version, tokens, id]
}

fn unsupported<'a, T: Send + 'a>(why: &'static str) -> BoxFuture<'a, Result<T, IssuerError>> {
    async move { Err(IssuerError::Refused(why.to_owned())) }.boxed()
}

impl Issuer for Prefactor {
    fn capabilities(&self) -> Capabilities {
        Capabilities::PREFACTOR
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        self.pages(self.account.as_deref(), |details, now| details.listed(None, None, now))
            .boxed()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        let asked = self.asked(request);
        let show = move |details: Details, now| details.listed(request.account.as_deref(), Some(&asked), now);
        self.pages(request.account.as_deref().or(self.account.as_deref()), show).boxed()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.make(request).boxed()
    }

    fn reset<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        unsupported("Prefactor can't replace a token in place")
    }

    fn update<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        unsupported("Prefactor can't change a token")
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.bring(id, verb).boxed()
    }
}
