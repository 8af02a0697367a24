//! What is done at an issuer that others run: tokens are ended, held back and let work again there.
//!
//! What the issuer shows (the view) is the truth: each of these steps is decided from it, so that a
//! step that was done before a crash is seen to be done.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    intent, live,
    marker::{Marker, short_uid},
    moving,
    observed::{FoundSecret, Observed},
    plan::{Plan, Step},
    rotation,
    schedule::{self, Destination},
    secret,
};
use crate::{
    api::{
        api_token::{ObservedState, Parameters, TokenStatus},
        bounds, names,
    },
    issuers::{IssuedToken, ListedState, ListedToken},
    token_value::TokenValue,
};

/// What is to be done at the issuer before the Secret is looked at; nothing where all is as recorded.
pub fn upkeep(observed: &Observed, state: ObservedState) -> Option<Plan> {
    if observed.capabilities().is_none_or(|can| can.local) || observed.failure.is_some() || live::pause_after_failure(observed).is_some() {
        return None;
    }
    let Some(view) = observed.view.as_deref() else {
        return must_look(observed, state).then_some(Plan::Step(Step::ListTokens));
    };
    intent::resolve(observed, view)
        .or_else(|| Some(Plan::Step(clear(observed, view)?)))
        .or_else(|| Some(Plan::Step(next_switch(observed, view, state)?)))
        .or_else(|| Some(Plan::Step(update(observed)?)))
}

/// Whether the issuer must be asked before anything can be decided.
fn must_look(observed: &Observed, state: ObservedState) -> bool {
    has_cause_to_look(observed, state) || observed.current().is_some() && next_poll(observed) <= observed.now
}

/// Whether nothing but the time makes this token be looked at: a list that others asked for will do, where it
/// shows all as recorded.
pub fn is_only_a_poll(observed: &Observed) -> bool {
    match super::destination(observed) {
        Destination::Live(state) => !observed.is_going() && !has_cause_to_look(observed, state) && next_poll(observed) <= observed.now,
        _ => false,
    }
}

/// The current token in a list, where that shows all that is ours as recorded.
pub fn shown_as_recorded<'a>(observed: &Observed, view: &'a [ListedToken]) -> Option<&'a ListedToken> {
    let current = observed.current()?;
    let listed = view.iter().find(|token| is_current(observed, token))?;
    let state = match listed.state {
        ListedState::Active => ObservedState::Active,
        ListedState::Suspended => ObservedState::Suspended,
        ListedState::Revoked => return None,
    };
    let named = listed.name.is_none() || listed.name == current.name;
    let recorded = observed.status().and_then(|status| status.state) == Some(state);
    let strays = view.iter().any(|token| is_stray(observed, token));
    (named && recorded && !strays).then_some(listed)
}

/// Whether something beside the time makes it necessary to ask the issuer.
fn has_cause_to_look(observed: &Observed, state: ObservedState) -> bool {
    let recorded = observed.status().and_then(|status| status.state);
    let known = observed.current().is_some();
    let stray = observed
        .fresh
        .as_ref()
        .is_some_and(|fresh| !intent::is_attempt(observed, fresh) && !is_recorded(observed, fresh));
    intent::is_unresolved(observed)
        || stray
        || observed.previous().iter().any(|previous| rotation::is_over(observed, previous))
        || known && (recorded != Some(state) || !observed.is_of_this_generation())
}

/// Whether the status already names the token as current.
fn is_recorded(observed: &Observed, fresh: &IssuedToken) -> bool {
    observed.current().and_then(|current| current.id.as_deref()) == Some(&fresh.id)
}

/// When the issuer is asked again whether the token is still what we think. The first time after a
/// start is spread over the interval.
pub fn next_poll(observed: &Observed) -> Timestamp {
    let interval = observed.terms.poll_interval;
    match observed.polled_at {
        Some(last) => schedule::later(last, interval),
        None => {
            let spread = i64::from(crc32fast::hash(short_uid(&observed.token).as_bytes())) % interval.as_secs().max(1);
            schedule::later(observed.terms.started_at, SignedDuration::from_secs(spread))
        }
    }
}

/// The next step towards the end of each token for which `ends` holds. The one by which the issuer is asked comes last, and once
/// it works no more nothing can be asked.
pub fn next_end(observed: &Observed, view: &[ListedToken], ends: impl Fn(&ListedToken) -> bool) -> Option<Step> {
    let ending = view.iter().filter(|token| ends(token));
    let token = ending.min_by_key(|token| is_credential(observed, token))?;
    if token.state == ListedState::Revoked && is_credential(observed, token) {
        return None;
    }
    let revoke_first = observed.capabilities()?.revoke_before_delete;
    Some(if revoke_first && token.state != ListedState::Revoked {
        Step::RevokeToken { id: token.id.clone() }
    } else {
        Step::DeleteToken { id: token.id.clone() }
    })
}

/// Whether the issuer is asked by this token of ours.
fn is_credential(observed: &Observed, token: &ListedToken) -> bool {
    let credential = observed.issuer.as_ref().ok().and_then(|issuer| issuer.credential.as_ref());
    let current = observed.current().filter(|_| is_current(observed, token));
    let mut previous = observed.previous().iter();
    let previous = previous.find(|previous| previous.id.as_deref() == Some(&token.id));
    let hash = match current {
        Some(current) => current.hash.as_ref(),
        None => previous.and_then(|previous| previous.hash.as_ref()),
    };
    credential.is_some_and(|credential| Some(&credential.hash) == hash)
}

/// Ends replaced tokens whose overlap is over, and what attempts have left; a token that a Secret names
/// stays, so all of them are looked at first.
fn clear(observed: &Observed, view: &[ListedToken]) -> Option<Step> {
    let over = |token: &ListedToken| {
        let mut previous = observed.previous().iter();
        previous.any(|previous| previous.id.as_deref() == Some(&token.id) && rotation::is_over(observed, previous))
    };
    if let Some(step) = next_end(observed, view, |token| over(token) && !is_current(observed, token)) {
        return Some(step);
    }
    if !view.iter().any(|token| is_stray(observed, token)) {
        return None;
    }
    let left = |token: &ListedToken| is_stray(observed, token) && !is_in_secret(observed, token);
    moving::next_read(observed).or_else(|| next_end(observed, view, left))
}

/// Whether a token of ours has no place: an attempt that was given up has made it.
fn is_stray(observed: &Observed, token: &ListedToken) -> bool {
    !observed.was_replaced(token)
        && !is_current(observed, token)
        && is_made_by_us(observed, token)
        && !intent::may_have_made(observed, token)
}

/// Whether the token is the one that the status names.
pub fn is_current(observed: &Observed, token: &ListedToken) -> bool {
    observed.current().and_then(|current| current.id.as_deref()) == Some(&token.id)
}

/// Whether this ApiToken made it: by its marker, or by what this program remembers.
pub fn is_made_by_us(observed: &Observed, token: &ListedToken) -> bool {
    let marked = token.name.as_deref().and_then(Marker::in_name);
    let by_marker = marked.is_some_and(|marker| observed.terms.is_ours(&marker) && marker.uid == short_uid(&observed.token));
    by_marker || observed.fresh.as_ref().is_some_and(|fresh| fresh.id == token.id)
}

/// Whether a Secret names the token.
fn is_in_secret(observed: &Observed, token: &ListedToken) -> bool {
    let names_it = |found: &FoundSecret| found.annotation(names::TOKEN_ID_ANNOTATION) == Some(&token.id);
    moving::any_secret(observed, names_it)
}

/// Holds back, or lets work again, the current token and those of a running overlap.
fn next_switch(observed: &Observed, view: &[ListedToken], state: ObservedState) -> Option<Step> {
    if !observed.capabilities()?.suspend {
        return None;
    }
    let counts = |token: &&ListedToken| is_current(observed, token) || observed.was_replaced(token);
    view.iter().filter(counts).find_map(|token| match (state, token.state) {
        (ObservedState::Suspended, ListedState::Active) => Some(Step::SuspendToken { id: token.id.clone() }),
        (ObservedState::Active, ListedState::Suspended) => Some(Step::ActivateToken { id: token.id.clone() }),
        _ => None,
    })
}

/// Whether the issuer shows the current token in that state.
pub fn shows(observed: &Observed, state: ObservedState) -> bool {
    let listed = observed.current().and_then(|current| observed.listed(current.id.as_deref()?));
    matches!(
        (listed.map(|listed| listed.state), state),
        (Some(ListedState::Active), ObservedState::Active) | (Some(ListedState::Suspended), ObservedState::Suspended)
    )
}

/// Tells the issuer of a changed spec, where it can apply it to a token that exists.
fn update(observed: &Observed) -> Option<Step> {
    let current = observed.current()?;
    let id = current.id.as_ref().filter(|id| observed.listed(id).is_some())?;
    let spec = &observed.token.spec;
    let differs =
        is_renamed(observed, current) || current.parameters_hash != secret::parameters_hash(&observed.token) || spec.description.is_some();
    let wanted = observed.capabilities()?.update && !observed.updated && !observed.is_of_this_generation() && differs;
    let wanted = wanted && !needs_another(observed, current);
    wanted.then(|| Step::UpdateToken {
        id: id.clone(),
        name: declared_name(observed, current),
    })
}

/// The name that the token is to have: as declared, with the marker that it was made with.
pub fn declared_name(observed: &Observed, token: &TokenStatus) -> String {
    let display_name = display_name(observed);
    match token.name.as_deref().and_then(Marker::in_name) {
        Some(marker) => marker.name(&display_name, bounds::DISPLAY_NAME),
        None => display_name.chars().take(bounds::DISPLAY_NAME).collect(),
    }
}

/// The declared name as the issuer lets it be written.
pub fn display_name(observed: &Observed) -> String {
    let characters = observed.capabilities().unwrap_or_default().name_characters;
    characters.write(&secret::display_name(&observed.token))
}

/// Whether the spec has another name for the token. A reset appends to it.
fn is_renamed(observed: &Observed, token: &TokenStatus) -> bool {
    let declared = declared_name(observed, token);
    !token.name.as_ref().is_some_and(|name| name.starts_with(&declared))
}

/// Whether the issuer was asked and does not have the token any more.
pub fn is_gone(observed: &Observed, id: Option<&str>) -> bool {
    let Some(view) = observed.view.as_deref() else {
        return false;
    };
    let listed = view.iter().find(|token| Some(token.id.as_str()) == id);
    listed.is_none_or(|token| token.state == ListedState::Revoked)
}

/// Whether the spec asks for what the issuer can't apply to the token that exists.
pub fn needs_another(observed: &Observed, token: &TokenStatus) -> bool {
    let Some(capabilities) = observed.capabilities().filter(|capabilities| !capabilities.local) else {
        return false;
    };
    let is_adopted = token.name.as_deref().and_then(Marker::in_name).is_none();
    let renamed = capabilities.names && !is_adopted && is_renamed(observed, token);
    let reparametrized = token.parameters_hash.is_some() && token.parameters_hash != secret::parameters_hash(&observed.token);
    let moved = observed.token.spec.account != token.account;
    let outlives = capabilities.expiry && ends_too_early(observed, token);
    let unbound = reparametrized && observed.token.spec.parameters.as_ref().is_none_or(Parameters::leave_reach_open);
    moved || outlives || unbound || (!capabilities.update && (renamed || reparametrized))
}

/// When the issuer ends the current token: as it shows it, else as recorded, which may be what was declared then.
pub fn issuer_end(observed: &Observed, token: &TokenStatus) -> Option<Timestamp> {
    let listed = token.id.as_deref().and_then(|id| observed.listed(id)).or(observed.shown.as_ref());
    match listed {
        Some(listed) => listed.expires_at.map(schedule::to_second),
        None => token.expires_at.as_ref().map(|Time(at)| *at),
    }
}

/// Whether the issuer ends the token before the spec does, though another would live longer: the end that it
/// gave on what is declared now is the best that it gives.
fn ends_too_early(observed: &Observed, token: &TokenStatus) -> bool {
    let Some(issuer_ends) = issuer_end(observed, token) else {
        return false;
    };
    let issued_at = token.issued_at.as_ref().map(|Time(at)| *at);
    let declared = schedule::end(&observed.token.spec, issued_at);
    let nonce = declared.map_or(SignedDuration::ZERO, |declared| {
        intent::longest_nonce(observed, declared, issued_at.unwrap_or(observed.now))
    });
    let asked_for = match (declared, &token.requested_end) {
        (None, None) => true,
        (Some(declared), Some(Time(requested))) => *requested <= declared && declared <= schedule::later(*requested, nonce),
        _ => false,
    };
    !asked_for && declared.is_none_or(|declared| declared > schedule::later(issuer_ends, nonce))
}

/// Whether a lost value can be had without another token.
pub enum Readable {
    /// The issuer shows it.
    Value(TokenValue),
    /// The issuer must be asked first.
    Ask,
    /// It can't.
    No,
}

/// Where the value of a recorded token can be read again.
pub fn readable(observed: &Observed, token: &TokenStatus) -> Readable {
    if !observed.capabilities().is_some_and(|can| can.readable_value) {
        return Readable::No;
    }
    if observed.view.is_none() {
        return Readable::Ask;
    }
    let listed = token.id.as_deref().and_then(|id| observed.listed(id));
    let value = listed.and_then(|listed| listed.value.clone());
    match value {
        Some(value) if token.hash.as_ref() == Some(&value.hash()) => Readable::Value(value),
        _ => Readable::No,
    }
}
