//! Tokens at an issuer that others run: what is done for each thing that it can or can't.

mod adoption;
mod deletion;
mod ending;
mod intent;
mod polls;
mod told;
mod upkeep;

use super::*;
use crate::{
    api::api_token::{DeletionPolicy, Parameters, Pending, Rotation, SoftwareoneParameters, Verb},
    issuers::{ListedState, ListedToken, NameCharacters},
    lifecycle::{Orphan, OrphanReason, plan::FailureKind},
};

const PLAIN: Capabilities = Capabilities {
    local: false,
    suspend: true,
    reset: None,
    readable_value: false,
    expiry: false,
    names: true,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: false,
    last_used: false,
};

fn listed(id: &str, name: &str) -> ListedToken {
    ListedToken {
        id: id.into(),
        account: None,
        name: Some(name.into()),
        value: None,
        hint: None,
        state: ListedState::Active,
        created_at: None,
        shown_at: None,
        expires_at: None,
        last_used_at: None,
        fits: true,
        details: Default::default(),
    }
}

/// A time that no test reaches.
fn far() -> Time {
    Time(at("2040-01-01T00:00:00Z"))
}

/// An ApiToken that nobody has looked at yet, at an issuer that can do that.
fn at_issuer(capabilities: Capabilities) -> Observed {
    let mut observed = situation();
    observed.issuer_mut().capabilities = Some(capabilities);
    observed.issuer_mut().reference.kind = IssuerKind::TokenIssuer;
    observed.terms.started_at = at(NOW);
    observed
}

/// The steps of a pass, taken as an issuer would take them that holds the tokens in `tokens`.
fn steps(observed: &mut Observed, tokens: &mut Vec<ListedToken>) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..32 {
        match decide(observed) {
            Plan::Rest(rest) => {
                done.extend(rest.notices.iter().map(|notice| notice.reason.to_owned()));
                apply_remote(observed, *rest);
                return done;
            }
            Plan::Step(step) => {
                done.push(step.name().to_owned());
                take_remote(observed, step, tokens);
            }
        }
    }
    panic!("no rest after {done:?}");
}

/// The pass is over: what was seen in it is not known to the next.
fn apply_remote(observed: &mut Observed, rest: Rest) {
    apply(observed, rest);
    observed.fresh = None;
    observed.view = None;
    observed.intent_in_hand = None;
    observed.updated = false;
    observed.orphaned.clear();
    observed.revoked.clear();
}

fn take_remote(observed: &mut Observed, step: Step, tokens: &mut Vec<ListedToken>) {
    match step {
        Step::AddFinalizer => observed.edit(|token| token.metadata.finalizers = Some(vec![names::FINALIZER.into()])),
        Step::RemoveFinalizer => observed.edit(|token| token.metadata.finalizers = None),
        Step::WriteStatus(status) => {
            observed.intent_in_hand = status.pending.as_ref().map(|pending| pending.attempt);
            observed.edit(|token| token.status = Some(*status));
        }
        Step::ListTokens => {
            let (secret, now) = (std::mem::replace(&mut observed.secret, ObservedSecret::Unchanged), observed.now);
            observed.sees(tokens.clone(), now);
            observed.secret = secret;
        }
        Step::CreateToken | Step::ResetToken { .. } => {
            let pending = observed.pending().unwrap().clone();
            let ends = observed.capabilities().is_some_and(|can| can.expiry);
            let shown = ListedToken {
                expires_at: pending.expires_at.filter(|_| ends).map(|Time(at)| at),
                ..listed(&format!("id-{}", pending.attempt), pending.name.as_deref().unwrap_or_default())
            };
            observed.fresh = Some(IssuedToken {
                name: shown.name.clone(),
                expires_at: shown.expires_at,
                ..made(observed, pending.attempt, shown.id.clone())
            });
            tokens.push(shown);
        }
        Step::SuspendToken { id } => switch(observed, tokens, &id, ListedState::Suspended),
        Step::ActivateToken { id } => switch(observed, tokens, &id, ListedState::Active),
        Step::RevokeToken { id } => switch(observed, tokens, &id, ListedState::Revoked),
        Step::DeleteToken { id } => {
            tokens.retain(|token| token.id != id);
            observed.view.as_mut().unwrap().retain(|token| token.id != id);
        }
        Step::UpdateToken { id, name } => {
            tokens
                .iter_mut()
                .filter(|token| token.id == id)
                .for_each(|token| token.name = Some(name.clone()));
            observed.updated = true;
        }
        Step::EnterLedger(orphans) => observed.orphaned.extend(orphans),
        step => take(observed, step),
    }
}

fn switch(observed: &mut Observed, tokens: &mut [ListedToken], id: &str, state: ListedState) {
    let seen = observed.view.iter_mut().flatten();
    tokens
        .iter_mut()
        .chain(seen)
        .filter(|token| token.id == id)
        .for_each(|token| token.state = state);
}

/// An issued token, and what the issuer holds.
fn issued_at(capabilities: Capabilities) -> (Observed, Vec<ListedToken>) {
    let (mut observed, mut tokens) = (at_issuer(capabilities), Vec::new());
    steps(&mut observed, &mut tokens);
    observed.now = at("2030-01-01T00:01:00Z");
    (observed, tokens)
}

/// A token whose intent is written, and for which nobody has called the issuer yet.
fn announced(capabilities: Capabilities) -> Observed {
    let mut observed = at_issuer(capabilities);
    while observed.intent_in_hand.is_none() {
        let Plan::Step(step) = decide(&observed) else { panic!("no intent") };
        take_remote(&mut observed, step, &mut Vec::new());
    }
    observed
}

/// The program ends, and comes back.
fn restart(observed: &mut Observed) {
    observed.fresh = None;
    observed.view = None;
    observed.intent_in_hand = None;
}

fn ask(observed: &mut Observed, request: &str) {
    observed.edit(|token| {
        let annotations = token.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE_REQUESTED_AT_ANNOTATION.into(), request.into());
    });
}

#[test]
fn the_intent_stands_before_the_call_and_the_secret_before_the_status() {
    let (mut observed, mut tokens) = (at_issuer(PLAIN), Vec::new());
    assert_eq!(
        steps(&mut observed, &mut tokens),
        [
            "add_finalizer",
            "list_tokens",
            "write_status",
            "create_token",
            "create_secret",
            "Issued"
        ]
    );
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!(token.name.as_deref(), Some("shop.ci k8s-0123abcd-0123456789-1"));
    assert_eq!((token.id.as_deref(), token.hash), (Some("id-1"), Some(value(1).hash())));
    assert_eq!(
        (observed.recorded().attempts, observed.recorded().pending.is_none()),
        (Some(1), true)
    );
}

#[test]
fn an_intent_says_what_must_be_known_after_a_crash() {
    let mut observed = at_issuer(PLAIN);
    observed.edit(|token| token.metadata.finalizers = Some(vec![names::FINALIZER.into()]));
    let mut tokens = vec![listed("theirs", "theirs")];
    take_remote(&mut observed, Step::ListTokens, &mut tokens);
    let Plan::Step(Step::WriteStatus(status)) = decide(&observed) else {
        panic!("no intent")
    };
    let pending = status.pending.unwrap();
    assert_eq!(
        (pending.attempt, pending.verb, pending.started_at),
        (1, Verb::Create, Time(at(NOW)))
    );
    assert_eq!(pending.before, [crate::token_value::hash(b"theirs")]);
    assert_eq!(pending.reason, "First");
}

#[test]
fn the_old_token_is_ended_last_and_after_its_overlap() {
    for (overlap, first, second) in [
        (
            "0s",
            vec!["list_tokens", "write_status", "create_token", "update_secret", "Rotated"],
            vec!["list_tokens", "delete_token"],
        ),
        (
            "10m",
            vec!["list_tokens", "write_status", "create_token", "update_secret", "Rotated"],
            vec![],
        ),
    ] {
        let (mut observed, mut tokens) = issued_at(PLAIN);
        observed.edit(|token| {
            token.spec.rotation = Some(Box::new(Rotation {
                overlap: hours(overlap),
                ..Default::default()
            }));
        });
        ask(&mut observed, "1");
        assert_eq!(steps(&mut observed, &mut tokens), first, "{overlap}");
        assert_eq!(tokens.len(), 2, "{overlap}: both work until the status names the new one");
        assert_eq!(steps(&mut observed, &mut tokens), second, "{overlap}");
        observed.now += SignedDuration::from_mins(11);
        steps(&mut observed, &mut tokens);
        let left: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
        assert_eq!(left, ["id-2"], "{overlap}");
        assert!(observed.recorded().previous.is_empty(), "{overlap}");
    }
}

#[test]
fn what_a_lost_attempt_made_is_found_and_taken_up_or_ended() {
    let cases: [(&str, Capabilities, bool, &[&str], usize); 3] = [
        (
            "its value is not to be had: it is ended, and another made",
            PLAIN,
            true,
            &[
                "list_tokens",
                "delete_token",
                "write_status",
                "write_status",
                "create_token",
                "create_secret",
                "Issued",
            ],
            1,
        ),
        (
            "its value can be read: it is taken up",
            Capabilities {
                readable_value: true,
                ..PLAIN
            },
            true,
            &["list_tokens", "create_secret", "Issued"],
            1,
        ),
        (
            "nothing was made",
            PLAIN,
            false,
            &[
                "list_tokens",
                "write_status",
                "write_status",
                "create_token",
                "create_secret",
                "Issued",
            ],
            1,
        ),
    ];
    for (why, capabilities, made, expected, left) in cases {
        let (mut observed, mut tokens) = (announced(capabilities), Vec::new());
        if made {
            let Plan::Step(step) = decide(&observed) else { panic!("{why}") };
            take_remote(&mut observed, step, &mut tokens);
            tokens[0].value = capabilities.readable_value.then(|| value(1));
        }
        restart(&mut observed);
        let early = steps(&mut observed, &mut tokens.clone());
        if !capabilities.readable_value {
            assert_eq!(
                early,
                ["list_tokens", "OutcomeUnknown"],
                "{why}: not before nobody else can go on with it"
            );
            assert_eq!(observed.ready(), (false, "OutcomeUnknown"), "{why}");
        }
        observed.now += SignedDuration::from_secs(60);
        if !capabilities.readable_value {
            let mut done = steps(&mut observed, &mut tokens);
            done.retain(|step| step != "OutcomeUnknown");
            assert_eq!(done, expected, "{why}");
        } else {
            assert_eq!(early, expected, "{why}");
        }
        assert_eq!((observed.ready(), tokens.len()), ((true, "Ready"), left), "{why}");
    }
}

#[test]
fn where_nobody_can_tell_which_token_was_made_none_is_ended() {
    let nameless = Capabilities { names: false, ..PLAIN };
    let mut observed = announced(nameless);
    let mut tokens = vec![listed("one", ""), listed("other", "")];
    restart(&mut observed);
    observed.now += SignedDuration::from_secs(60);
    let done = steps(&mut observed, &mut tokens);
    assert!(
        done.contains(&"enter_ledger".to_owned()) && done.contains(&"Orphaned".to_owned()),
        "{done:?}"
    );
    assert!(
        ["one", "other"].iter().all(|id| tokens.iter().any(|token| token.id == *id)),
        "{done:?}"
    );
    assert_eq!(observed.ready(), (true, "Ready"));
}

#[test]
fn a_name_that_can_only_be_given_later_is_recorded_before_the_call_too() {
    let cases = [
        ((true, false), Some("shop.ci k8s-0123abcd-0123456789-1")),
        ((false, true), Some("shop.ci k8s-0123abcd-0123456789-1")),
        ((false, false), None),
    ];
    for ((names, update), expected) in cases {
        let capabilities = Capabilities { names, update, ..PLAIN };
        let (mut observed, mut tokens) = (at_issuer(capabilities), Vec::new());
        while observed.intent_in_hand.is_none() {
            let Plan::Step(step) = decide(&observed) else { panic!("no intent") };
            take_remote(&mut observed, step, &mut tokens);
        }
        let name = observed.pending().unwrap().name.as_deref();
        assert_eq!(name, expected, "names: {names}, update: {update}");
    }
}

#[test]
fn a_token_without_native_suspension_is_withdrawn_or_stays() {
    let unable = Capabilities { suspend: false, ..PLAIN };
    let cases = [
        (PLAIN, SuspendPolicy::Disable, ObservedState::Suspended, 1),
        (PLAIN, SuspendPolicy::Withdraw, ObservedState::Suspended, 0),
        (unable, SuspendPolicy::Withdraw, ObservedState::Suspended, 0),
        (unable, SuspendPolicy::Disable, ObservedState::Active, 1),
    ];
    for (capabilities, policy, state, left) in cases {
        let (mut observed, mut tokens) = issued_at(capabilities);
        observed.respec(|spec| {
            spec.state = DesiredState::Suspended;
            spec.suspend_policy = policy;
        });
        steps(&mut observed, &mut tokens);
        assert_eq!((observed.recorded().state, tokens.len()), (Some(state), left), "{policy:?}");
        let suspended = tokens.iter().filter(|token| token.state == ListedState::Suspended).count();
        assert_eq!(suspended, usize::from(left == 1 && state == ObservedState::Suspended), "{policy:?}");
        if state == ObservedState::Active {
            assert_eq!(observed.ready(), (false, "SuspendNotSupported"));
        }
        observed.respec(|spec| spec.state = DesiredState::Active);
        observed.now += SignedDuration::from_secs(60);
        steps(&mut observed, &mut tokens);
        assert_eq!((observed.ready(), tokens.len()), ((true, "Ready"), 1), "{policy:?}");
        assert_eq!(tokens[0].state, ListedState::Active, "{policy:?}");
    }
}

#[test]
fn a_change_is_applied_in_place_where_the_issuer_can_and_by_a_rotation_else() {
    let able = Capabilities { update: true, ..PLAIN };
    let resetting = Capabilities {
        reset: Some(SignedDuration::from_hours(12)),
        ..PLAIN
    };
    let ending = Capabilities { expiry: true, ..PLAIN };
    let cases: [(&str, Capabilities, fn(&mut ApiTokenSpec), &[&str]); 6] = [
        ("a name", able, |spec| spec.display_name = Some("CI".into()), &["update_token"]),
        (
            "a name that stays",
            PLAIN,
            |spec| spec.display_name = Some("CI".into()),
            &["create_token"],
        ),
        (
            "a name, which a reset keeps",
            resetting,
            |spec| spec.display_name = Some("CI".into()),
            &["create_token"],
        ),
        (
            "a description that nobody keeps",
            PLAIN,
            |spec| spec.description = Some("x".into()),
            &[],
        ),
        ("a lifetime that we end ourselves", PLAIN, |spec| spec.lifetime = hours("5h"), &[]),
        ("a shorter lifetime", ending, |spec| spec.lifetime = hours("5h"), &[]),
    ];
    for (why, capabilities, change, expected) in cases {
        let (mut observed, mut tokens) = issued_at(capabilities);
        observed.respec(change);
        let mut done = steps(&mut observed, &mut tokens);
        done.retain(|step| ["update_token", "create_token", "reset_token"].contains(&step.as_str()));
        assert_eq!(done, expected, "{why}");
        steps(&mut observed, &mut tokens);
        assert_eq!(steps(&mut observed, &mut tokens), Vec::<String>::new(), "{why}: once");
    }
}

#[test]
fn a_name_stands_everywhere_as_the_issuer_takes_it() {
    let plain = Capabilities {
        update: true,
        name_characters: NameCharacters::Plain,
        ..PLAIN
    };
    let mut observed = at_issuer(plain);
    observed.respec(|spec| spec.display_name = Some("Köln_1".into()));
    let mut tokens = Vec::new();
    steps(&mut observed, &mut tokens);
    let cases: [(fn(&mut ApiTokenSpec), &str, usize); 4] = [
        (|_| {}, "Koln-1", 0),
        (|spec| spec.lifetime = hours("5h"), "Koln-1", 0),
        (|spec| spec.display_name = Some("Koln-1".into()), "Koln-1", 0),
        (|spec| spec.display_name = Some("Kéln".into()), "Keln", 1),
    ];
    for (change, name, updates) in cases {
        observed.respec(change);
        let done = steps(&mut observed, &mut tokens);
        assert_eq!(done.iter().filter(|step| *step == "update_token").count(), updates, "{name}");
        let name = format!("{name} k8s-{}-0123456789-1", observed.terms.cluster);
        let recorded = observed.recorded().token.as_ref().unwrap().name.as_deref();
        assert_eq!((recorded, tokens[0].name.as_deref()), (Some(name.as_str()), Some(name.as_str())));
        assert_eq!((tokens.len(), observed.ready()), (1, (true, "Ready")));
    }
}

#[test]
fn a_token_that_is_to_reach_what_the_vendor_decides_is_another_one() {
    let reaching = |modules: &[&str], icon: Option<&str>| {
        let softwareone = SoftwareoneParameters {
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
            icon: icon.map(str::to_owned),
        };
        Some(Parameters {
            softwareone: Some(softwareone),
            ..Default::default()
        })
    };
    for (why, before, after, expected) in [
        (
            "another module",
            reaching(&["MOD-1"], None),
            reaching(&["MOD-2"], None),
            "update_token",
        ),
        ("the first module", None, reaching(&["MOD-1"], None), "update_token"),
        ("no module", reaching(&["MOD-1"], None), reaching(&[], Some("x")), "create_token"),
        ("no parameters", reaching(&["MOD-1"], None), None, "create_token"),
    ] {
        let able = Capabilities { update: true, ..PLAIN };
        let (mut observed, mut tokens) = (at_issuer(able), Vec::new());
        observed.issuer_mut().spec = IssuerSpec {
            softwareone: Some(Default::default()),
            ..Default::default()
        };
        observed.respec(|spec| spec.parameters = before);
        steps(&mut observed, &mut tokens);
        observed.now += SignedDuration::from_secs(60);
        observed.respec(|spec| {
            spec.parameters = after;
            spec.display_name = Some("renamed too".into());
        });
        let mut done = steps(&mut observed, &mut tokens);
        done.retain(|step| ["update_token", "create_token"].contains(&step.as_str()));
        assert_eq!(done, [expected], "{why}");
    }
}

#[test]
fn a_reset_replaces_in_place_as_long_as_the_old_token_works_on() {
    let resetting = Capabilities {
        reset: Some(SignedDuration::from_hours(12)),
        ..PLAIN
    };
    for (overlap, verb) in [("1h", "reset_token"), ("13h", "create_token")] {
        let (mut observed, mut tokens) = issued_at(resetting);
        observed.edit(|token| {
            token.spec.rotation = Some(Box::new(Rotation {
                overlap: hours(overlap),
                ..Default::default()
            }));
        });
        ask(&mut observed, "1");
        assert!(steps(&mut observed, &mut tokens).contains(&verb.to_owned()), "{overlap}");
    }
}

#[test]
fn a_lost_secret_is_filled_again_where_the_value_can_be_read() {
    for (readable, expected) in [
        (true, vec!["list_tokens", "create_secret"]),
        (
            false,
            vec!["list_tokens", "write_status", "create_token", "create_secret", "Rotated"],
        ),
    ] {
        let (mut observed, mut tokens) = issued_at(Capabilities {
            readable_value: readable,
            ..PLAIN
        });
        tokens[0].value = readable.then(|| value(1));
        observed.secret = ObservedSecret::Absent;
        let mut done = steps(&mut observed, &mut tokens);
        done.retain(|step| step != "SecretUpdated");
        assert_eq!(done, expected);
    }
}

#[test]
fn what_an_issuer_refuses_waits_for_a_change() {
    let (mut observed, mut tokens) = (at_issuer(PLAIN), Vec::new());
    observed.edit(|token| token.metadata.finalizers = Some(vec![names::FINALIZER.into()]));
    observed.intent_in_hand = Some(1);
    observed.failure = Some(Failure {
        message: "it refuses: change it".into(),
        kind: FailureKind::Permanent {
            reason: crate::api::conditions::Reason::VendorRefused,
        },
    });
    let refused = rest(&observed);
    apply_remote(&mut observed, refused);
    assert_eq!(observed.ready(), (false, "VendorRefused"));
    observed.now += SignedDuration::from_hours(9);
    assert_eq!(rest(&observed).look_again_at, None);
    let heals: [(&str, fn(&mut Observed)); 3] = [
        ("the spec changes", |o| o.respec(|spec| spec.description = Some("x".into()))),
        ("the issuer changes", |o| o.issuer_mut().version = "2".into()),
        ("a rotation is asked for", |o| ask(o, "1")),
    ];
    for (why, heal) in heals {
        let mut healed = at_issuer(PLAIN);
        healed.token = observed.token.clone();
        healed.now = observed.now;
        heal(&mut healed);
        steps(&mut healed, &mut tokens);
        assert_eq!(healed.ready(), (true, "Ready"), "{why}");
    }
}

#[test]
fn an_adopted_token_is_taken_over_with_its_value_or_without() {
    use crate::api::api_token::Adopt;
    for (why, shown, ready, synced) in [
        ("the value can be read", true, (true, "Ready"), true),
        ("it can't", false, (false, "ValueUnknown"), false),
    ] {
        let mut observed = at_issuer(Capabilities {
            readable_value: shown,
            ..PLAIN
        });
        observed.edit(|token| {
            token.spec.account = Some("sa::ci".into());
            token.spec.adopt = Some(Adopt {
                token_id: Some("theirs".into()),
                secret_ref: None,
            })
        });
        observed.issuer_mut().spec.policy = Some(IssuerPolicy {
            allowed_accounts: Some(vec!["sa::ci".into()]),
            ..Default::default()
        });
        let mut tokens = vec![listed("theirs", "made by hand")];
        tokens[0].value = shown.then(|| value(9));
        tokens[0].created_at = Some(at("2029-01-01T00:00:00Z"));
        tokens[0].expires_at = Some(at("2031-01-01T00:00:00Z"));
        let done = steps(&mut observed, &mut tokens);
        assert_eq!(
            done.first().map(String::as_str),
            Some("add_finalizer"),
            "{why}: the object is held before the token is ours"
        );
        assert_eq!(observed.ready(), ready, "{why}");
        let token = observed.recorded().token.clone().unwrap();
        assert_eq!(
            (token.name.as_deref(), token.account.as_deref()),
            (Some("made by hand"), Some("sa::ci")),
            "{why}"
        );
        let time = |text: &str| Some(Time(at(text)));
        assert_eq!(
            (token.issued_at, token.expires_at),
            (time("2029-01-01T00:00:00Z"), time("2031-01-01T00:00:00Z")),
            "{why}"
        );
        assert_eq!(observed.condition(ConditionType::SecretSynced).0, synced, "{why}");
        assert_eq!(observed.recorded().token.clone().unwrap().id.as_deref(), Some("theirs"), "{why}");
        assert_eq!(tokens.len(), 1, "{why}: never a second token");
        observed.now += SignedDuration::from_secs(60);
        steps(&mut observed, &mut tokens);
        assert_eq!(tokens.len(), 1, "{why}: nor later");

        ask(&mut observed, "1");
        steps(&mut observed, &mut tokens);
        steps(&mut observed, &mut tokens);
        assert_eq!(
            (observed.ready(), tokens.len()),
            ((true, "Ready"), 1),
            "{why}: a rotation fills the Secret and ends the old one"
        );
        assert_ne!(tokens[0].id, "theirs", "{why}");
    }
}

#[test]
fn a_value_is_taken_over_where_the_issuer_shows_whose_it_is() {
    for (why, held, ready) in [
        ("it is the second", 9, (true, "Ready")),
        ("it is none of them", 8, (false, "AdoptionFailed")),
    ] {
        let mut observed = at_issuer(Capabilities {
            readable_value: true,
            ..PLAIN
        });
        observed.edit(|token| token.spec.adopt = Some(Default::default()));
        observed.adoptee = Adoptee::Found {
            value: value(held),
            belongs_to: None,
        };
        let mut tokens = vec![listed("first", "by hand"), listed("second", "by hand")];
        (tokens[0].value, tokens[1].value) = (Some(value(7)), Some(value(9)));
        steps(&mut observed, &mut tokens);
        assert_eq!(observed.ready(), ready, "{why}");
        let id = observed.recorded().token.clone().and_then(|token| token.id);
        assert_eq!(id.as_deref(), ready.0.then_some("second"), "{why}");
    }
}

#[test]
fn whether_a_token_works_whose_issuer_is_gone_nobody_can_tell() {
    type Change = fn(&mut Observed);
    let gone: Change = |o| o.issuer = Err(IssuerProblem::NotFound(o.issuer_mut().reference.clone()));
    let barred: Change = |o| o.issuer_mut().namespace_allowed = false;
    let suspended: Change = |o| {
        o.edit(|token| {
            let conditions = &mut token.status.as_mut().unwrap().conditions;
            let active = conditions.iter_mut().find(|condition| condition.type_ == "Active").unwrap();
            (active.status, active.reason) = ("False".into(), "Suspended".into());
        });
    };
    for (why, remote, changes, expected) in [
        ("the issuer is gone", true, &[gone][..], ("Unknown", "IssuerNotFound")),
        ("it was suspended before", true, &[suspended, gone], ("False", "Suspended")),
        ("a vendor knows nothing of the namespace", true, &[barred], ("True", "Active")),
        ("no verifier accepts it", false, &[gone], ("False", "Pending")),
        ("nor where the namespace is not allowed", false, &[barred], ("False", "Pending")),
    ] {
        let mut observed = if remote { issued_at(PLAIN).0 } else { issued() };
        let issuer = observed.issuer.as_ref().unwrap().clone();
        changes.iter().for_each(|change| change(&mut observed));
        let rest = rest(&observed);
        apply_remote(&mut observed, rest);
        let active = |observed: &Observed| {
            let condition = conditions::find(&observed.recorded().conditions, ConditionType::Active)
                .unwrap()
                .clone();
            (condition.status, condition.reason)
        };
        assert_eq!(active(&observed), (expected.0.to_owned(), expected.1.to_owned()), "{why}");
        if expected.0 == "Unknown" {
            observed.issuer = Ok(issuer);
            run(&mut observed);
            assert_eq!(active(&observed).0, "True", "{why}, and comes back");
        }
    }
}

#[test]
fn a_token_that_is_gone_at_the_issuer_is_replaced_at_the_next_poll() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    tokens.clear();
    assert_eq!(next_step(&observed), None, "nobody has asked yet");
    observed.now += SignedDuration::from_mins(10);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    steps(&mut observed, &mut tokens);
    assert_eq!(observed.recorded().last_rotation_reason.as_deref(), Some("TokenMissing"));
    assert_eq!(tokens.len(), 1);
}

#[test]
fn a_stray_of_ours_is_ended_and_what_is_not_ours_is_left_alone() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    tokens.extend([
        listed("stray", "shop.ci k8s-0123abcd-0123456789-7"),
        listed("another cluster's", "shop.ci k8s-ffffffff-0123456789-7"),
        listed("another object's", "shop.ci k8s-0123abcd-ffffffffff-7"),
        listed("somebody's", "made by hand"),
    ]);
    observed.now += SignedDuration::from_mins(10);
    steps(&mut observed, &mut tokens);
    let left: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
    assert_eq!(left, ["id-1", "another cluster's", "another object's", "somebody's"]);
}

#[test]
fn a_token_made_by_a_clock_ahead_of_ours_does_not_seem_to_end_too_early() {
    let mut observed = at_issuer(Capabilities { expiry: true, ..PLAIN });
    observed.edit(|token| token.spec.lifetime = hours("24h"));
    let mut tokens = Vec::new();
    while observed.fresh.is_none() {
        let Plan::Step(step) = decide(&observed) else {
            panic!("it rests before it is made");
        };
        take_remote(&mut observed, step, &mut tokens);
    }
    let asked = observed.pending().unwrap().expires_at.clone();
    let made = observed.fresh.as_mut().unwrap();
    made.issued_at += SignedDuration::from_secs(1);
    made.expires_at = asked.map(|Time(end)| end);
    steps(&mut observed, &mut tokens);
    observed.now += SignedDuration::from_secs(60);
    assert!(!steps(&mut observed, &mut tokens).contains(&"create_token".to_owned()));
    assert_eq!(tokens.len(), 1);
}

#[test]
fn two_seconds_lie_between_one_token_and_the_next_here_too() {
    let (mut observed, _) = issued_at(PLAIN);
    observed.secret = ObservedSecret::Absent;
    for (now, step) in [("2030-01-01T00:00:01Z", None), ("2030-01-01T00:00:02Z", Some("list_tokens"))] {
        observed.now = at(now);
        observed.polled_at = Some(observed.now);
        assert_eq!(next_step(&observed), step, "{now}");
    }
}

#[test]
fn only_who_wrote_an_intent_just_now_calls_the_issuer() {
    let mut observed = announced(PLAIN);
    assert_eq!(next_step(&observed), Some("create_token"));
    observed.intent_in_hand = None;
    assert_ne!(next_step(&observed), Some("create_token"), "nobody knows whether it was called");
    observed.intent_in_hand = Some(observed.pending().unwrap().attempt + 1);
    assert_ne!(next_step(&observed), Some("create_token"), "that was another attempt");
}

#[test]
fn a_token_is_replaced_for_its_parameters_only_where_it_is_known_to_have_others() {
    let (mut observed, _) = issued_at(PLAIN);
    let softwareone = SoftwareoneParameters {
        modules: vec!["MOD-1234".into()],
        ..Default::default()
    };
    observed.respec(|spec| {
        spec.parameters = Some(Parameters {
            softwareone: Some(softwareone),
            ..Default::default()
        });
    });
    let declared = crate::lifecycle::secret::parameters_hash(&observed.token);
    for (why, parameters_hash, replaced) in [
        ("made with these", declared, false),
        ("made with others", Some("others".into()), true),
        ("taken over: nobody knows", None, false),
    ] {
        let token = crate::api::api_token::TokenStatus {
            parameters_hash,
            ..observed.recorded().token.clone().unwrap()
        };
        assert_eq!(crate::lifecycle::remote::needs_another(&observed, &token), replaced, "{why}");
    }
}
