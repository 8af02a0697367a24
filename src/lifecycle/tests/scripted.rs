//! Histories at issuers in memory: the built-in one, and those that others run, with each combination of what they can.

use std::{
    collections::BTreeSet,
    future::ready,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    histories::{Kept, Site, cases, history, run, spec},
    situation::{at, situation, value},
};
use crate::{
    api::{IssuerSpec, api_token::Parameters},
    issuers::{Capabilities, IssuedToken, Issuer, IssuerError, ListedState, ListedToken, TokenRequest, Verb},
    lifecycle::Step,
    token_value::TokenValue,
};

/// An issuer in memory.
struct Scripted(Capabilities, Mutex<State>);

struct State {
    now: Timestamp,
    tokens: Vec<(ListedToken, TokenValue)>,
    /// Tokens that were replaced in place: an issuer does that once.
    reset: BTreeSet<String>,
    counter: u64,
    /// The next call goes wrong, done or not.
    fault: Option<bool>,
}

impl Scripted {
    fn new(can: Capabilities) -> Arc<Self> {
        let state = State {
            now: at("2030-01-01T00:00:00Z"),
            tokens: Vec::new(),
            reset: BTreeSet::new(),
            counter: 0,
            fault: None,
        };
        Arc::new(Self(can, Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.1.lock().unwrap()
    }

    /// Does it, or not, and answers, or not.
    fn does<T: Send + 'static>(
        &self,
        lost: fn(String) -> IssuerError,
        work: impl FnOnce(&mut State) -> Result<T, IssuerError>,
    ) -> BoxFuture<'_, Result<T, IssuerError>> {
        let mut state = self.state();
        let answer = match state.fault.take() {
            None => work(&mut state),
            Some(true) => work(&mut state).and(Err(lost("it failed".to_owned()))),
            Some(false) => Err(IssuerError::Unavailable("it failed".to_owned())),
        };
        ready(answer).boxed()
    }

    fn make(&self, state: &mut State, name: Option<String>, request: &TokenRequest) -> IssuedToken {
        state.counter += 1;
        let (id, value) = (format!("vendor-{}", state.counter), value(state.counter));
        let made = IssuedToken {
            value: value.clone(),
            name: name.map(|name| {
                if request.name.as_ref() == Some(&name) {
                    name
                } else {
                    format!("{name} {id}")
                }
            }),
            id,
            attempt: request.attempt,
            issued_at: state.now,
            announced_at: None,
            expires_at: request.expires_at.filter(|_| self.0.expiry),
            details: Default::default(),
        };
        let listed = ListedToken {
            id: made.id.clone(),
            account: None,
            name: made.name.clone().filter(|_| self.0.names),
            value: self.0.readable_value.then(|| value.clone()),
            state: ListedState::Active,
            created_at: Some(state.now),
            hint: None,
            shown_at: None,
            expires_at: made.expires_at,
            last_used_at: None,
            fits: true,
            details: Default::default(),
        };
        state.tokens.push((listed, value));
        made
    }
}

impl State {
    fn find(&mut self, id: &str) -> Option<&mut ListedToken> {
        self.tokens.iter_mut().map(|(listed, _)| listed).find(|listed| listed.id == id)
    }
}

impl Issuer for Scripted {
    fn capabilities(&self) -> Capabilities {
        self.0
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        let all = |state: &mut State| Ok(state.tokens.iter().map(|(listed, _)| listed.clone()).collect());
        self.does(IssuerError::Unavailable, all)
    }

    fn list<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        self.inventory()
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.does(IssuerError::OutcomeUnknown, |state| {
            Ok(self.make(state, request.name.clone(), request))
        })
    }

    fn reset<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.does(IssuerError::OutcomeUnknown, |state| {
            if !state.reset.insert(id.to_owned()) {
                return Err(IssuerError::Refused("it was replaced before".to_owned()));
            }
            let name = state.find(id).and_then(|old| old.name.clone());
            Ok(self.make(state, name, request))
        })
    }

    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.does(IssuerError::Unavailable, |state| {
            if let Some(token) = state.find(id) {
                token.name.clone_from(&request.name);
            }
            Ok(())
        })
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.does(IssuerError::Unavailable, |state| {
            let Some(token) = state.find(id) else {
                return Ok(());
            };
            match verb {
                Verb::Suspend => token.state = ListedState::Suspended,
                Verb::Activate => token.state = ListedState::Active,
                Verb::Revoke => token.state = ListedState::Revoked,
                Verb::Delete => {
                    let too_early = self.0.revoke_before_delete && token.state != ListedState::Revoked;
                    assert!(!too_early, "deleted before it was revoked");
                    state.tokens.retain(|(listed, _)| listed.id != id);
                }
            }
            Ok(())
        })
    }
}

/// Somebody beside it.
struct Bystander(Arc<Scripted>);

impl Site for Bystander {
    fn issuer(&self) -> Arc<dyn Issuer> {
        self.0.clone()
    }

    fn spec(&self) -> IssuerSpec {
        situation().issuer.unwrap().spec
    }

    fn other_parameters(&self) -> Option<Parameters> {
        None
    }

    fn tell_time(&self, now: Timestamp) {
        self.0.state().now = now;
    }

    fn go_wrong(&self, _: &Step, done: bool) {
        self.0.state().fault = Some(done);
    }

    fn lag(&self) {}

    fn heal(&self) {
        self.0.state().fault = None;
    }

    fn tokens(&self) -> Vec<Kept> {
        let kept = |(listed, value): &(ListedToken, TokenValue)| Kept {
            id: listed.id.clone(),
            hash: value.hash(),
            state: listed.state,
            details: format!("{:?} {:?}", listed.name, listed.state),
        };
        self.0.state().tokens.iter().map(kept).collect()
    }

    fn remove(&self, id: &str) {
        self.0.state().tokens.retain(|(listed, _)| listed.id != id);
    }

    fn plant(&self) -> Option<String> {
        let mut state = self.0.state();
        let request = TokenRequest {
            name: Some("shop.ci".to_owned()),
            description: None,
            account: None,
            expires_at: None,
            parameters: None,
            attempt: 0,
        };
        let made = self.0.make(&mut state, request.name.clone(), &request);
        if let Some(listed) = state.find(&made.id) {
            listed.fits = false;
        }
        Some(made.id)
    }
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (any::<[bool; 7]>()).prop_map(
        |[suspend, reset, readable_value, expiry, names, update, revoke_before_delete]| Capabilities {
            local: false,
            suspend,
            reset: reset.then(|| SignedDuration::from_mins(10)),
            readable_value,
            expiry,
            names,
            name_characters: Default::default(),
            update,
            revoke_before_delete,
            last_used: false,
        },
    )
}

fn site(can: Capabilities) -> Box<dyn Site> {
    Box::new(Bystander(Scripted::new(can)))
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_built_in_issuer_loses_breaks_and_leaks_nothing(history in history()) {
        run(site(Capabilities::BUILTIN), spec(Capabilities::BUILTIN), history);
    }

    #[test]
    fn an_issuer_that_others_run_loses_breaks_and_leaks_nothing(can in capabilities(), history in history()) {
        run(site(can), spec(can), history);
    }
}
