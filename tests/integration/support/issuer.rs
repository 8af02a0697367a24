//! An issuer that somebody else runs, in memory. It does what it is asked, or fails as scripted.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use apitoken_operator::{
    api::IssuerSpec,
    controller::clock::Clock,
    issuers::{
        Access, Capabilities, IssuedToken, Issuer, IssuerError, Issuers, ListedState, ListedToken, NameCharacters, TokenRequest, Verb,
    },
    token_value::TokenValue,
};
use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};

use super::{clock::TestClock, wire::Wire};

/// What an issuer can do that can least: its tokens have names.
pub const PLAIN: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: None,
    readable_value: false,
    expiry: false,
    names: true,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: false,
    last_used: false,
};
/// One that suspends.
pub const SUSPENDING: Capabilities = Capabilities { suspend: true, ..PLAIN };
/// One that shows values again, suspends, and changes what exists.
pub const READABLE: Capabilities = Capabilities {
    suspend: true,
    readable_value: true,
    update: true,
    ..PLAIN
};
/// One that replaces a token in place; the old one works on for 12 hours.
pub const RESETTING: Capabilities = Capabilities {
    reset: Some(SignedDuration::from_hours(12)),
    expiry: true,
    ..PLAIN
};
/// One without names, where a token is revoked before it is deleted.
pub const NAMELESS: Capabilities = Capabilities {
    names: false,
    suspend: true,
    expiry: true,
    revoke_before_delete: true,
    ..PLAIN
};

/// What an issuer can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are the calls of the trait")]
pub enum Call {
    Inventory,
    List,
    Create,
    Reset,
    Update,
    Suspend,
    Activate,
    Revoke,
    Delete,
}

impl fmt::Display for Call {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// How a call goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered with this error; nothing was done.
    Fails(IssuerError),
    /// It is done, and the answer gets lost.
    AnswerLost,
    /// It is never answered; nothing was done.
    Hangs,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the next call of that kind.
    Next,
    /// At each call, until the issuer is healed.
    Always,
}

/// A token as the issuer keeps it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "they are the fields of a token")]
pub struct Held {
    pub id: String,
    pub name: Option<String>,
    pub value: String,
    pub description: Option<String>,
    pub account: Option<String>,
    pub state: ListedState,
    pub created_at: Timestamp,
    pub was_reset: bool,
    pub ends_at: Option<Timestamp>,
}

type Look = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The issuer, as one operator reaches it.
#[derive(Clone)]
pub struct ScriptedIssuer {
    can: Capabilities,
    clock: TestClock,
    state: Arc<Mutex<State>>,
    wire: Wire,
}

#[derive(Default)]
struct State {
    tokens: Vec<Held>,
    made: usize,
    prefix: Option<String>,
    calls: Vec<String>,
    faults: Vec<(Call, When, Fault)>,
    looks: HashMap<Call, Look>,
}

impl ScriptedIssuer {
    /// One without tokens.
    pub fn new(can: Capabilities, clock: &TestClock) -> Self {
        Self {
            can,
            clock: clock.clone(),
            state: Arc::default(),
            wire: Wire::default(),
        }
    }

    /// The same issuer, reached by another way.
    pub fn by(&self, wire: &Wire) -> Self {
        Self {
            wire: wire.clone(),
            ..self.clone()
        }
    }

    /// Has a call go wrong.
    pub fn fault(&self, call: Call, when: When, fault: Fault) {
        self.lock().faults.push((call, when, fault));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Has the test look around when that call comes in, before it is done.
    pub fn look_at<F: Future<Output = ()> + Send + 'static>(&self, call: Call, look: impl Fn() -> F + Send + Sync + 'static) {
        self.lock().looks.insert(call, Arc::new(move || look().boxed()));
    }

    /// The calls so far but those that list, such as `create`, `delete tok-1`.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.lock().calls.clone();
        calls.into_iter().filter(|call| call != "list" && call != "inventory").collect()
    }

    /// How often it was asked for its tokens.
    pub fn lists(&self) -> usize {
        let calls = self.lock().calls.clone();
        calls.into_iter().filter(|call| call == "list").count()
    }

    /// How often it was called, for whatever.
    pub fn called(&self) -> usize {
        self.lock().calls.len()
    }

    /// From now on ids begin with this instead of `tok`, so that no other test has the same.
    pub fn number_by(&self, prefix: &str) {
        self.lock().prefix = Some(prefix.to_owned());
    }

    /// Somebody makes a token here, beside the operator.
    pub fn plant(&self, name: Option<&str>) -> Held {
        let request = TokenRequest {
            name: name.map(str::to_owned),
            description: None,
            account: None,
            expires_at: None,
            parameters: None,
            attempt: 0,
        };
        self.add(&mut self.lock(), &request).clone()
    }

    /// Somebody removes a token here, beside the operator.
    pub fn remove(&self, id: &str) {
        self.lock().tokens.retain(|token| token.id != id);
    }

    /// The token with that id.
    pub fn token(&self, id: &str) -> Option<Held> {
        self.lock().tokens.iter().find(|token| token.id == id).cloned()
    }

    /// The tokens that work or are held back.
    pub fn live(&self) -> Vec<Held> {
        let now = self.now();
        let tokens = self.lock().tokens.clone();
        let lives = |token: &Held| token.state != ListedState::Revoked && token.ends_at.is_none_or(|end| end > now);
        tokens.into_iter().filter(lives).collect()
    }

    /// Their ids.
    pub fn live_ids(&self) -> Vec<String> {
        self.live().into_iter().map(|token| token.id).collect()
    }

    /// To the second, as issuers show times.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer<T>(
        &self,
        call: Call,
        id: Option<&str>,
        act: impl FnOnce(&mut State) -> Result<T, IssuerError>,
    ) -> Result<T, IssuerError> {
        let called = id.map_or_else(|| call.to_string(), |id| format!("{call} {id}"));
        let answer = async {
            let look = self.lock().looks.get(&call).cloned();
            if let Some(look) = look {
                look().await;
            }
            self.lock().calls.push(called.clone());
            match self.next_fault(call) {
                None => act(&mut self.lock()),
                Some(Fault::Fails(error)) => Err(error),
                Some(Fault::Hangs) => std::future::pending().await,
                Some(Fault::AnswerLost) => {
                    act(&mut self.lock())?;
                    Err(IssuerError::OutcomeUnknown("the connection broke".to_owned()))
                }
            }
        };
        self.wire.pass(called.clone(), answer).await
    }

    fn next_fault(&self, call: Call) -> Option<Fault> {
        let mut state = self.lock();
        let at = state.faults.iter().position(|(faulty, ..)| *faulty == call)?;
        let (_, when, fault) = state.faults[at].clone();
        if when == When::Next {
            state.faults.remove(at);
        }
        Some(fault)
    }

    fn add<'a>(&self, state: &'a mut State, request: &TokenRequest) -> &'a Held {
        state.made += 1;
        state.tokens.push(Held {
            id: format!("{}-{}", state.prefix.as_deref().unwrap_or("tok"), state.made),
            name: request.name.clone().filter(|_| self.can.names),
            value: format!("value-{}-of-an-issuer-that-others-run", state.made),
            description: request.description.clone(),
            account: request.account.clone(),
            state: ListedState::Active,
            created_at: self.now(),
            was_reset: false,
            ends_at: request.expires_at.filter(|_| self.can.expiry),
        });
        state.tokens.last().unwrap()
    }

    /// The new token has the name of the old one, with its own id behind it. The old one can't be
    /// replaced once more.
    fn replace(&self, state: &mut State, id: &str, request: &TokenRequest) -> Result<IssuedToken, IssuerError> {
        let grace = self.can.reset.ok_or_else(|| refused("it can't reset"))?;
        let old = find(state, id).filter(|token| token.state == ListedState::Active && !token.was_reset);
        let old = old.ok_or_else(|| refused("it was reset before"))?;
        (old.was_reset, old.ends_at) = (true, Some(self.now() + grace));
        let (name, account) = (old.name.clone().unwrap_or_default(), old.account.clone());
        let new = self.add(state, request).id.clone();
        let new = find(state, &new).ok_or_else(|| refused("no such token"))?;
        (new.name, new.account) = (Some(format!("{name} {}", new.id)), account);
        Ok(issued(new, request))
    }

    fn shown(&self, token: &Held) -> ListedToken {
        ListedToken {
            id: token.id.clone(),
            account: token.account.clone(),
            name: token.name.clone(),
            value: self.can.readable_value.then(|| TokenValue::new(token.value.clone())),
            hint: None,
            state: token.state,
            created_at: Some(token.created_at),
            shown_at: None,
            expires_at: token.ends_at,
            last_used_at: None,
            fits: true,
            details: Default::default(),
        }
    }
}

fn find<'a>(state: &'a mut State, id: &str) -> Option<&'a mut Held> {
    state.tokens.iter_mut().find(|token| token.id == id)
}

fn issued(token: &Held, request: &TokenRequest) -> IssuedToken {
    IssuedToken {
        value: TokenValue::new(token.value.clone()),
        id: token.id.clone(),
        name: token.name.clone(),
        attempt: request.attempt,
        issued_at: token.created_at,
        announced_at: None,
        expires_at: token.ends_at,
        details: Default::default(),
    }
}

fn refused(why: &str) -> IssuerError {
    IssuerError::Refused(why.to_owned())
}

impl Issuers for ScriptedIssuer {
    fn capabilities(&self, spec: &IssuerSpec) -> Option<Capabilities> {
        Some(spec.builtin.as_ref().map_or(self.can, |_| Capabilities::BUILTIN))
    }

    fn open(&self, access: Access<'_>) -> Result<Option<Arc<dyn Issuer>>, IssuerError> {
        Ok(access.spec.builtin.is_none().then(|| Arc::new(self.clone()) as Arc<dyn Issuer>))
    }
}

impl Issuer for ScriptedIssuer {
    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        let list = |state: &mut State| Ok(state.tokens.iter().map(|token| self.shown(token)).collect());
        self.answer(Call::Inventory, None, list).boxed()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        let list = |state: &mut State| {
            let now = self.now();
            state.tokens.retain(|token| token.ends_at.is_none_or(|end| end > now));
            let of_the_account = state.tokens.iter().filter(|token| token.account == request.account);
            Ok(of_the_account.map(|token| self.shown(token)).collect())
        };
        self.answer(Call::List, None, list).boxed()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        let create = |state: &mut State| Ok(issued(self.add(state, request), request));
        self.answer(Call::Create, None, create).boxed()
    }

    fn reset<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        let reset = |state: &mut State| self.replace(state, id, request);
        self.answer(Call::Reset, Some(id), reset).boxed()
    }

    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        let update = |state: &mut State| {
            let token = find(state, id)
                .filter(|_| self.can.update)
                .ok_or_else(|| refused("no such token"))?;
            token.name.clone_from(&request.name);
            token.description.clone_from(&request.description);
            Ok(())
        };
        self.answer(Call::Update, Some(id), update).boxed()
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        let (call, becomes) = match verb {
            Verb::Suspend => (Call::Suspend, Some(ListedState::Suspended)),
            Verb::Activate => (Call::Activate, Some(ListedState::Active)),
            Verb::Revoke => (Call::Revoke, Some(ListedState::Revoked)),
            Verb::Delete => (Call::Delete, None),
        };
        let change = move |state: &mut State| {
            let Some(token) = find(state, id).filter(|token| token.account == request.account) else {
                return Ok(());
            };
            match becomes {
                Some(becomes) => token.state = becomes,
                None if self.can.revoke_before_delete && token.state != ListedState::Revoked => return Err(refused("revoke it first")),
                None => state.tokens.retain(|token| token.id != id),
            }
            Ok(())
        };
        self.answer(call, Some(id), change).boxed()
    }
}
