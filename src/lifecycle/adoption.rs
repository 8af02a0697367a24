//! A token that exists already and is taken over instead of being made: never a second one.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    checks::{self, Refusal},
    held, live,
    marker::Marker,
    observed::{Adoptee, FoundSecret, Observed},
    plan::{Plan, Step},
    replacement::OTHERS_TIME,
    schedule, secret,
    status::Draft,
};
use crate::{
    api::{
        IssuerKind,
        api_token::{ObservedState, TokenStatus},
        conditions::Reason,
    },
    issuers::{IssuedToken, ListedState, ListedToken},
    token_value::TokenValue,
};

/// What is shorter can be guessed.
const SHORTEST_VALUE: usize = 32;
/// How often a token that can't be taken over is looked for again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Takes over what `spec.adopt` names.
pub fn decide(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>) -> Plan {
    let adopt = observed.token.spec.adopt.as_ref();
    if !checks::adoption_is_allowed(observed) {
        return refused(
            observed,
            state,
            "the issuer does not allow it: have spec.policy.adoption set to Allow there",
        );
    }
    match adopt.and_then(|adopt| adopt.token_id.as_deref()) {
        Some(id) => by_id(observed, state, found, id),
        None => by_value(observed, state, found),
    }
}

fn by_id(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, id: &str) -> Plan {
    if !observed.is_remote() {
        return refused(observed, state, "the built-in issuer keeps no tokens by id: use adopt.secretRef");
    }
    if let Some(plan) = look(observed) {
        return plan;
    }
    match observed.listed(id) {
        None => refused(observed, state, "the issuer has no token with that id: correct spec.adopt.tokenID"),
        Some(listed) => listed_token(observed, state, found, listed),
    }
}

fn by_value(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>) -> Plan {
    let (value, belongs_to) = match &observed.adoptee {
        Adoptee::Unread => return Plan::Step(Step::ReadAdoptee),
        Adoptee::Unusable(why) => return refused(observed, state, why),
        Adoptee::Found { value, belongs_to } => (value, belongs_to),
    };
    if let Some(other) = belongs_to {
        return refused(
            observed,
            state,
            &format!("{other} has or had the value: let a new token be issued instead"),
        );
    }
    if !observed.is_remote() {
        return here(observed, state, found, value);
    }
    if let Some(plan) = look(observed) {
        return plan;
    }
    let mut listed = observed.view.iter().flatten();
    match listed.find(|listed| listed.value.as_ref().is_some_and(|shown| shown.hash() == value.hash())) {
        Some(listed) => listed_token(observed, state, found, listed),
        None => refused(
            observed,
            state,
            "the issuer shows no token with that value: use adopt.tokenID, or correct the value",
        ),
    }
}

/// What must be there before the issuer's token is anybody's. Where names don't tell whose a token is, it may be the one that
/// another ApiToken is having made.
fn look(observed: &Observed) -> Option<Plan> {
    if observed.issuer.as_ref().is_ok_and(|issuer| issuer.busy) {
        return Some(Plan::unchanged(observed, Some(schedule::later(observed.now, OTHERS_TIME))));
    }
    if !observed.is_held() {
        return Some(Plan::Step(Step::AddFinalizer));
    }
    observed.view.is_none().then_some(Plan::Step(Step::ListTokens))
}

/// A value that was made elsewhere becomes one of the built-in issuer.
fn here(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, value: &TokenValue) -> Plan {
    let text = value.expose();
    if text.len() < SHORTEST_VALUE || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused(
            observed,
            state,
            "the value must have at least 32 characters, all of them visible ASCII: let a new token be issued instead",
        );
    }
    let adopted = IssuedToken {
        value: value.clone(),
        id: held::token_id(observed, 1),
        name: None,
        attempt: 1,
        issued_at: observed.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    };
    take_over(observed, state, found, &adopted)
}

fn listed_token(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, listed: &ListedToken) -> Plan {
    if let Some(why) = obstacle(observed, listed) {
        return refused(observed, state, why);
    }
    if listed.state == ListedState::Revoked {
        return refused(observed, state, "the token is revoked: let a new one be issued instead");
    }
    match &listed.value {
        Some(value) => {
            let adopted = IssuedToken {
                value: value.clone(),
                id: listed.id.clone(),
                name: listed.name.clone(),
                attempt: 1,
                issued_at: observed.made_at(listed).unwrap_or(observed.now),
                announced_at: None,
                expires_at: listed.expires_at,
                details: Default::default(),
            };
            take_over(observed, state, found, &adopted)
        }
        None => without_value(observed, state, listed),
    }
}

/// Why a token is not to be had, whoever asks for it.
///
/// Whoever had the issuer's credential could do whatever the operator can; rotating it would lock the operator out. Where the
/// issuer shows of a value only how it ends, what ends alike may be it. Where it shows nothing of a value, any token may be it:
/// on an issuer that several tenants share none is taken over then.
pub fn obstacle(observed: &Observed, listed: &ListedToken) -> Option<&'static str> {
    if observed.others_ids.contains(&listed.id) || may_be_on_its_way(observed, listed) {
        return Some("the token is another ApiToken's: let a new one be issued instead");
    }
    let issuer = observed.issuer.as_ref().ok()?;
    let is_shared = issuer.reference.kind == IssuerKind::ClusterTokenIssuer;
    let own = issuer.credential.as_ref()?;
    match (&listed.value, &listed.hint) {
        (Some(value), _) if value.hash() == own.hash => {
            Some("the token is the credential of the issuer itself: let a new one be issued instead")
        }
        (None, Some(hint)) if *hint == own.hint => {
            Some("the token ends like the credential of the issuer, and may be it: let a new one be issued instead")
        }
        (None, None) if is_shared => Some(
            "the issuer does not show whether the token is its own credential, and several tenants share it: let a new one be issued instead",
        ),
        _ => None,
    }
}

/// Whether another ApiToken that exists may have had it made, and has not recorded it yet.
fn may_be_on_its_way(observed: &Observed, listed: &ListedToken) -> bool {
    let marker = listed.name.as_deref().and_then(Marker::in_name);
    let busy = observed.issuer.as_ref().is_ok_and(|issuer| issuer.busy);
    busy || marker.is_some_and(|marker| observed.terms.is_ours(&marker) && observed.others_uids.contains(&marker.uid))
}

fn take_over(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, adopted: &IssuedToken) -> Plan {
    let record = held::record(observed, adopted);
    let hash = adopted.value.hash();
    if found.is_some_and(|found| held::is_ended(found, &hash)) {
        return refused(observed, state, "the value was ended: let a new token be issued instead");
    }
    match found.and_then(|found| held::value_with_hash(observed, found, &hash).map(|value| (found, value))) {
        Some((found, value)) => live::keep(observed, state, found, &record, &value),
        None => live::write(observed, state, &record, &adopted.value, found),
    }
}

/// The issuer does not show the value: the token is ours from now on, its Secret stays empty.
fn without_value(observed: &Observed, state: ObservedState, listed: &ListedToken) -> Plan {
    let issued_at = observed.made_at(listed).unwrap_or(observed.now);
    let declared_end = schedule::end(&observed.token.spec, Some(issued_at));
    let record = TokenStatus {
        id: Some(listed.id.clone()),
        name: listed.name.clone(),
        account: secret::account(observed),
        parameters_hash: secret::parameters_hash(&observed.token),
        issued_at: Some(Time(schedule::to_second(issued_at))),
        expires_at: declared_end
            .into_iter()
            .chain(listed.expires_at)
            .min()
            .map(schedule::to_second)
            .map(Time),
        ..Default::default()
    };
    let mut draft = Draft::new(observed);
    draft.promote(&record);
    draft.token(record);
    unknown(draft, state)
}

/// A token that was taken over without its value waits for a rotation.
pub fn value_unknown(observed: &Observed, state: ObservedState) -> Plan {
    unknown(Draft::new(observed), state)
}

fn unknown(mut draft: Draft<'_>, state: ObservedState) -> Plan {
    let message = "the token was taken over, but its issuer does not show its value: rotate it to fill the Secret";
    draft.state(state);
    draft.secret_synced(false, Reason::ValueUnknown, message);
    draft.not_ready(Reason::ValueUnknown, message);
    let look_again_at = draft.next_date(state);
    draft.rest(look_again_at)
}

fn refused(observed: &Observed, state: ObservedState, why: &str) -> Plan {
    let refusal = Refusal {
        reason: Reason::AdoptionFailed,
        message: format!("spec.adopt: {why}"),
        passing: false,
    };
    live::refused_until(observed, state, &refusal, Some(schedule::later(observed.now, LOOK_AGAIN)))
}
