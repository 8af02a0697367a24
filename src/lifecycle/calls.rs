//! What an issuer that others run is told, and what is known once it has done it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::Observed;
use crate::{
    api::api_token::Parameters,
    issuers::{ListedState, ListedToken, TokenRequest, Verb},
};

/// What a token is asked for with: as the attempt in the status says, else as declared.
pub fn request(observed: &Observed) -> TokenRequest {
    let (spec, pending) = (&observed.token.spec, observed.pending());
    TokenRequest {
        name: pending.and_then(|pending| pending.name.clone()),
        description: spec.description.clone(),
        account: pending.map_or_else(|| spec.account.clone(), |pending| pending.account.clone()),
        expires_at: pending.and_then(|pending| pending.expires_at.as_ref()).map(|Time(at)| *at),
        parameters: parameters(observed),
        attempt: pending.map_or(0, |pending| pending.attempt),
    }
}

/// Where tokens have no names, what an attempt made is known by what it was asked for with, whatever is declared by now.
fn parameters(observed: &Observed) -> Option<Parameters> {
    let has_names = observed.capabilities().is_none_or(|can| can.names);
    let pending = observed.pending().filter(|_| !has_names);
    let declared = &observed.token.spec.parameters;
    pending.map_or(declared, |pending| &pending.parameters).clone()
}

/// The accounts in which this ApiToken may have tokens: the declared one, and those before it.
pub fn accounts(observed: &Observed) -> BTreeSet<Option<String>> {
    let current = observed.current().map(|current| current.account.clone());
    let previous = observed.previous().iter().map(|previous| previous.account.clone());
    let attempted = observed.pending().map(|pending| pending.account.clone());
    let declared = observed.token.spec.account.clone();
    current.into_iter().chain(previous).chain(attempted).chain([declared]).collect()
}

impl Observed {
    /// Takes in that the issuer has done to the token `id` what `verb` says.
    pub fn changed(&mut self, id: &str, verb: Verb) {
        if verb == Verb::Revoke {
            self.revoked.insert(id.to_owned());
        }
        let view = self.view.get_or_insert_default();
        match verb {
            Verb::Delete => view.retain(|token| token.id != id),
            Verb::Suspend => show(view, id, ListedState::Suspended),
            Verb::Activate => show(view, id, ListedState::Active),
            Verb::Revoke => show(view, id, ListedState::Revoked),
        }
    }
}

fn show(view: &mut [ListedToken], id: &str, state: ListedState) {
    for token in view.iter_mut().filter(|token| token.id == id) {
        token.state = state;
        // What can be done with it was told of the state before.
        token.details.actions = None;
    }
}
