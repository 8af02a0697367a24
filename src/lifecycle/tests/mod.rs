//! The decisions as a specification: situation, plan, why.

mod adoption;
mod histories;
mod moving;
mod remote;
mod rotation;
mod states;
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};

use super::{
    Adoptee, FoundSecret, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Ownership, Plan, Rest, Step, Terms,
    decide, plan::Failure, same_but_for_foreign_changes,
};
use crate::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus, Duration, IssuerKind, IssuerRef, IssuerSpec,
        api_token::{DesiredState, ObservedState, SecretDeletionPolicy, SuspendPolicy},
        conditions::{self, ConditionType},
        issuer::{BuiltinIssuer, IssuerPolicy},
        names,
    },
    issuers::{Capabilities, IssuedToken, builtin},
    token_value::TokenValue,
};

const UID: &str = "0123456789ab-cdef";
const NOW: &str = "2030-01-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(text: &str) -> Option<Duration> {
    Some(Duration::try_from(text.to_owned()).unwrap())
}

/// A value of our format, the same for the same seed.
fn value(seed: u64) -> TokenValue {
    use rand::{SeedableRng, rngs::StdRng};
    builtin::generate(&mut StdRng::seed_from_u64(seed), "apt").unwrap()
}

/// An ApiToken `shop/ci` that nobody has looked at yet, at a usable issuer.
fn situation() -> Observed {
    let mut token = ApiToken::new("ci", ApiTokenSpec::default());
    token.metadata.namespace = Some("shop".into());
    token.metadata.uid = Some(UID.into());
    token.metadata.generation = Some(1);
    token.metadata.creation_timestamp = Some(Time(at("2029-12-31T23:00:00Z")));
    Observed {
        token: Arc::new(token),
        issuer: Ok(ObservedIssuer {
            reference: IssuerRef {
                kind: IssuerKind::ClusterTokenIssuer,
                name: "builtin".into(),
            },
            spec: IssuerSpec {
                builtin: Some(BuiltinIssuer::default()),
                ..Default::default()
            },
            capabilities: Some(Capabilities::BUILTIN),
            generation: Some(1),
            version: "1".into(),
            timeout: SignedDuration::from_secs(30),
            readiness: IssuerReadiness::Ready,
            held: true,
            namespace_allowed: true,
            busy: false,
        }),
        namespace_ends: false,
        secret: ObservedSecret::Absent,
        former_secret: ObservedSecret::Unchanged,
        secret_promised_to: None,
        adoptee: Adoptee::Unread,
        view: None,
        polled_at: None,
        others_ids: Default::default(),
        intent_in_hand: None,
        fresh: None,
        revoked: Default::default(),
        updated: false,
        orphaned: Vec::new(),
        repaired: Vec::new(),
        failure: None,
        terms: Terms {
            cluster: "0123abcd".into(),
            former_clusters: Vec::new(),
            propagation_delay: SignedDuration::from_secs(2),
            poll_interval: SignedDuration::from_mins(10),
            revoke_deadline: SignedDuration::from_mins(15),
            started_at: at("2029-12-31T00:00:00Z"),
        },
        now: at(NOW),
    }
}

/// The same, with its token issued and its Secret as declared.
fn issued() -> Observed {
    let mut observed = situation();
    run(&mut observed);
    observed.secret = ObservedSecret::Unchanged;
    observed
}

impl Observed {
    fn edit(&mut self, change: impl FnOnce(&mut ApiToken)) {
        let token = Arc::make_mut(&mut self.token);
        change(token);
    }

    /// A change of the spec by a user.
    fn respec(&mut self, change: impl FnOnce(&mut ApiTokenSpec)) {
        self.edit(|token| {
            change(&mut token.spec);
            token.metadata.generation = token.metadata.generation.map(|generation| generation + 1);
        });
    }

    fn respecced(mut self, change: impl FnOnce(&mut ApiTokenSpec)) -> Self {
        self.respec(change);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn recorded(&self) -> &ApiTokenStatus {
        self.token.status.as_ref().unwrap()
    }

    fn condition(&self, type_: ConditionType) -> (bool, &str) {
        let condition = conditions::find(&self.recorded().conditions, type_).unwrap();
        (condition.status == "True", &condition.reason)
    }

    fn ready(&self) -> (bool, &str) {
        self.condition(ConditionType::Ready)
    }

    fn issuer_mut(&mut self) -> &mut ObservedIssuer {
        self.issuer.as_mut().unwrap()
    }
}

/// The Secret that a step wrote, as the API server would keep it.
fn stored(secret: &FoundSecret) -> ObservedSecret {
    static VERSION: AtomicU32 = AtomicU32::new(100);
    let mut object = secret.object().clone();
    object.metadata.uid = Some("secret-uid".into());
    object.metadata.resource_version = Some(VERSION.fetch_add(1, Ordering::Relaxed).to_string());
    ObservedSecret::Found(FoundSecret::new(object))
}

/// Takes steps in memory until a pass rests, writes its status, and tells what was done:
/// step names, then the reasons of the notices.
fn run(observed: &mut Observed) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..8 {
        match decide(observed) {
            Plan::Rest(rest) => {
                done.extend(rest.notices.iter().map(|notice| notice.reason.to_owned()));
                apply(observed, *rest);
                return done;
            }
            Plan::Step(step) => {
                done.push(step.name().to_owned());
                take(observed, step);
            }
        }
    }
    panic!("no rest after {done:?}");
}

fn take(observed: &mut Observed, step: Step) {
    match step {
        Step::IssueToken { attempt } => {
            observed.fresh = Some(IssuedToken {
                value: value(u64::try_from(attempt).unwrap()),
                id: super::token_id(observed, attempt),
                name: None,
                attempt,
                issued_at: observed.now,
                announced_at: None,
                expires_at: None,
                details: Default::default(),
            });
        }
        Step::CreateSecret(secret) => observed.secret = stored(&secret),
        Step::UpdateSecret { secret, changes, .. } => {
            observed.secret = stored(&secret);
            observed.repaired = changes;
        }
        Step::DeleteSecret(version) if version.name != super::secret::name(&observed.token) => {
            observed.former_secret = ObservedSecret::Absent;
        }
        Step::DeleteSecret(_) => observed.secret = ObservedSecret::Absent,
        step => panic!("the test must say what {} leads to", step.name()),
    }
}

fn apply(observed: &mut Observed, rest: Rest) {
    observed.repaired.clear();
    observed.failure = None;
    let announced = rest.status.pending.as_ref().and_then(|pending| pending.hash.clone());
    observed.fresh = observed.fresh.take().filter(|fresh| Some(fresh.value.hash()) == announced);
    observed.edit(|token| token.status = Some(rest.status));
}

/// The Secret of an issued token as it stands in the cluster.
fn secret_of(observed: &Observed, seed: u64) -> FoundSecret {
    let record = observed.recorded().token.clone().unwrap();
    let desired = super::secret::desired(observed, &record, &value(seed), None).unwrap();
    let ObservedSecret::Found(found) = stored(&desired.secret) else {
        unreachable!()
    };
    found
}

/// The same Secret after a change by somebody else.
fn changed(observed: &Observed, change: impl FnOnce(&mut k8s_openapi::api::core::v1::Secret)) -> ObservedSecret {
    let mut object = secret_of(observed, 1).object().clone();
    change(&mut object);
    ObservedSecret::Found(FoundSecret::new(object))
}

fn rest(observed: &Observed) -> Rest {
    match decide(observed) {
        Plan::Rest(rest) => *rest,
        Plan::Step(step) => panic!("a step instead of rest: {}", step.name()),
    }
}

fn next_step(observed: &Observed) -> Option<&'static str> {
    match decide(observed) {
        Plan::Rest(_) => None,
        Plan::Step(step) => Some(step.name()),
    }
}

#[test]
fn a_first_token_is_made_written_and_then_recorded() {
    let mut observed = situation();
    assert_eq!(run(&mut observed), ["issue", "create_secret", "Issued"]);
    assert_eq!(observed.ready(), (true, "Ready"));
    for type_ in [ConditionType::Issued, ConditionType::SecretSynced, ConditionType::Active] {
        assert!(observed.condition(type_).0, "{type_:?}");
    }
    for type_ in [ConditionType::Reconciling, ConditionType::Stalled] {
        assert!(!observed.condition(type_).0, "{type_:?}");
    }
    let status = observed.recorded();
    let token = status.token.as_ref().unwrap();
    assert_eq!(token.hash, Some(value(1).hash()));
    assert_eq!(token.hint, Some(value(1).hint()));
    assert_eq!(token.id.as_deref(), Some("0123456789-1"));
    assert_eq!(token.account.as_deref(), Some("shop.ci"));
    assert_eq!((status.attempts, status.rotations, status.pending.is_none()), (Some(1), None, true));
    let recorded = status.secret_ref.clone().unwrap().resource_version;
    assert_eq!(recorded.as_deref(), found_mut(&mut observed).resource_version());
}

#[test]
fn a_token_as_declared_plans_nothing() {
    for spec in [
        ApiTokenSpec::default(),
        ApiTokenSpec {
            lifetime: hours("1h"),
            ..Default::default()
        },
    ] {
        let mut observed = situation();
        observed.edit(|token| token.spec = spec);
        run(&mut observed);
        let before = observed.recorded().clone();
        // What a restart sees, and what a second look at a Secret that is as declared sees.
        let found = secret_of(&observed, 1);
        for secret in [ObservedSecret::Unchanged, ObservedSecret::Found(found)] {
            observed.secret = secret;
            observed.now = at("2030-01-01T00:30:00Z");
            let rest = rest(&observed);
            assert!(same_but_for_foreign_changes(&before, &rest.status));
            assert!(rest.notices.is_empty());
        }
    }
}

#[test]
fn a_crash_after_the_secret_loses_and_doubles_nothing() {
    let first = issued();
    let mut observed = situation();
    observed.secret = ObservedSecret::Found(secret_of(&first, 1));
    observed.now = at("2030-01-01T00:05:00Z");
    assert_eq!(run(&mut observed), ["Issued"], "no second token, no second write");
    assert_eq!(
        observed.recorded().token,
        first.recorded().token,
        "the same value, with the time of its first issue"
    );
}

#[test]
fn what_a_left_secret_holds_is_taken_up_only_where_nothing_speaks_against_it() {
    let first = issued();
    let cases: [(&str, Box<dyn Fn(&mut Observed)>, bool); 10] = [
        ("it is as we left it", Box::new(|_| {}), true),
        (
            "another ApiToken has the value",
            Box::new(|observed| found_mut(observed).value_belongs_to = Some("shop/x".into())),
            false,
        ),
        (
            "the value was ended",
            Box::new(|observed| annotate(observed, names::ENDED_ANNOTATION, &value(1).hash())),
            false,
        ),
        (
            "another value was ended",
            Box::new(|observed| annotate(observed, names::ENDED_ANNOTATION, &value(9).hash())),
            true,
        ),
        (
            "the hash does not fit",
            Box::new(|observed| annotate(observed, names::HASH_ANNOTATION, &value(9).hash())),
            false,
        ),
        (
            "another node's clock is a little ahead",
            Box::new(|observed| annotate(observed, names::ISSUED_AT_ANNOTATION, "2030-01-01T00:04:00Z")),
            true,
        ),
        (
            "it is issued in the future",
            Box::new(|observed| annotate(observed, names::ISSUED_AT_ANNOTATION, "2031-01-01T00:00:00Z")),
            false,
        ),
        (
            "its time is over",
            Box::new(|observed| {
                observed.edit(|token| token.spec.lifetime = hours("1h"));
                annotate(observed, names::ISSUED_AT_ANNOTATION, "2029-12-31T22:59:59Z");
            }),
            false,
        ),
        (
            "the issuer has a longest lifetime, and annotations prove nothing",
            Box::new(|observed| {
                observed.edit(|token| token.spec.lifetime = hours("1h"));
                observed.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("2h"),
                    ..Default::default()
                });
            }),
            false,
        ),
        (
            "it is not of our format",
            Box::new(|observed| {
                annotate(observed, names::HASH_ANNOTATION, &TokenValue::new("hunter2").hash());
                put(observed, "token", "hunter2");
            }),
            false,
        ),
    ];
    for (why, change, taken_up) in cases {
        let mut observed = situation();
        observed.secret = ObservedSecret::Found(secret_of(&first, 1));
        change(&mut observed);
        let done = run(&mut observed);
        assert_eq!(!done.contains(&"issue".to_owned()), taken_up, "{why}: {done:?}");
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}

fn found_mut(observed: &mut Observed) -> &mut FoundSecret {
    match &mut observed.secret {
        ObservedSecret::Found(found) => found,
        _ => panic!("no Secret in this situation"),
    }
}

fn replace_found(observed: &mut Observed, change: impl FnOnce(&mut k8s_openapi::api::core::v1::Secret)) {
    let mut object = found_mut(observed).object().clone();
    change(&mut object);
    observed.secret = ObservedSecret::Found(FoundSecret::new(object));
}

fn annotate(observed: &mut Observed, name: &str, value: &str) {
    replace_found(observed, |secret| {
        secret
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(name.to_owned(), value.to_owned());
    });
}

fn put(observed: &mut Observed, key: &str, value: &str) {
    replace_found(observed, |secret| {
        secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.into()));
    });
}

#[test]
fn drift_in_the_secret_is_put_right_and_foreign_keys_survive() {
    let cases: [(&str, fn(&mut k8s_openapi::api::core::v1::Secret), &[&str]); 6] = [
        (
            "a foreign key is none of our business",
            |secret| {
                secret
                    .data
                    .get_or_insert_default()
                    .insert("theirs".into(), ByteString(b"x".to_vec()));
            },
            &[],
        ),
        (
            "a foreign label neither",
            |secret| {
                secret.metadata.labels.get_or_insert_default().insert("theirs".into(), "x".into());
            },
            &[],
        ),
        (
            "our label is gone",
            |secret| {
                secret.metadata.labels = None;
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "an annotation of ours is wrong",
            |secret| {
                secret
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(names::UID_ANNOTATION.into(), "x".into());
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "a rendered key is wrong",
            |secret| {
                secret.data.get_or_insert_default().insert("URL".into(), ByteString(b"x".to_vec()));
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "a rendered key is gone",
            |secret| {
                secret.data.get_or_insert_default().remove("URL");
            },
            &["update_secret", "SecretUpdated"],
        ),
    ];
    for (why, change, expected) in cases {
        let mut observed = situation();
        observed.edit(|token| token.spec.secret.template = [("URL".to_owned(), "https://x:{{ token }}@example.com".to_owned())].into());
        run(&mut observed);
        let hash = observed.recorded().token.clone().unwrap().hash;
        observed.secret = changed(&observed, change);
        let theirs = found_mut(&mut observed).bytes("theirs").map(<[u8]>::to_vec);
        assert_eq!(run(&mut observed), expected, "{why}");
        assert_eq!(found_mut(&mut observed).bytes("theirs").map(<[u8]>::to_vec), theirs, "{why}");
        assert_eq!(observed.recorded().token.clone().unwrap().hash, hash, "{why}: the value stays");
    }
}

#[test]
fn a_foreign_change_alone_causes_no_write() {
    let mut observed = issued();
    let before = observed.recorded().clone();
    observed.secret = changed(&observed, |secret| secret.metadata.resource_version = Some("999".into()));
    assert!(same_but_for_foreign_changes(&before, &rest(&observed).status));
}

#[test]
fn a_key_that_is_declared_no_more_goes_with_its_value() {
    let mut observed = issued();
    observed.secret = changed(&observed, |secret| {
        secret.metadata.managed_fields = Some(vec![
            serde_json::from_value(serde_json::json!({
                "manager": "apitoken-operator", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {".": {}, "f:token": {}}},
            }))
            .unwrap(),
        ]);
    });
    observed.respec(|spec| spec.secret.key = "password".into());
    assert_eq!(run(&mut observed), ["update_secret", "SecretUpdated"]);
    let secret = found_mut(&mut observed);
    assert_eq!(
        secret.bytes("password"),
        Some(value(1).expose().as_bytes()),
        "the value moves, it is not issued anew"
    );
    assert_eq!(secret.bytes("token"), None);
}

#[test]
fn a_lost_value_is_announced_before_consumers_see_the_new_one() {
    for (why, reason, secret) in [
        ("the Secret is gone", "SecretMissing", None),
        ("the value is another", "ValueChanged", Some("tampered")),
        ("the value is empty", "ValueChanged", Some("")),
    ] {
        let mut observed = issued();
        observed.now = at("2030-01-01T01:00:00Z");
        observed.secret = match secret {
            None => ObservedSecret::Absent,
            Some(text) => changed(&observed, |secret| {
                secret.data.get_or_insert_default().insert("token".into(), ByteString(text.into()));
            }),
        };
        assert_eq!(run(&mut observed), ["issue"], "{why}: announced, not written");
        let status = observed.recorded();
        let pending = status.pending.clone().unwrap();
        assert_eq!(
            (pending.hash, pending.attempt, pending.reason.as_str()),
            (Some(value(2).hash()), 2, reason),
            "{why}"
        );
        assert_eq!(
            status.token.clone().unwrap().hash,
            Some(value(1).hash()),
            "{why}: both are accepted meanwhile"
        );
        assert_eq!(
            (observed.ready(), status.state),
            ((false, "Progressing"), Some(ObservedState::Active)),
            "{why}"
        );

        observed.now = at("2030-01-01T01:00:01Z");
        assert_eq!(
            rest(&observed).look_again_at,
            Some(at("2030-01-01T01:00:02Z")),
            "{why}: verifiers get their time"
        );

        observed.now = at("2030-01-01T01:00:02Z");
        let done = run(&mut observed);
        assert_eq!(done.last().map(String::as_str), Some("Rotated"), "{why}: {done:?}");
        let status = observed.recorded();
        assert_eq!(status.token.clone().unwrap().hash, Some(value(2).hash()), "{why}");
        assert_eq!(
            (status.rotations, status.attempts, status.pending.is_none()),
            (Some(1), Some(2), true),
            "{why}"
        );
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}

#[test]
fn a_crash_in_a_replacement_ends_with_one_token() {
    let mut observed = issued();
    observed.now = at("2030-01-01T01:00:00Z");
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    let written = {
        let record = crate::api::api_token::TokenStatus {
            id: Some("0123456789-2".into()),
            ..observed.recorded().token.clone().unwrap()
        };
        super::secret::desired(&observed, &record, &value(2), None).unwrap().secret
    };

    let mut lost = situation().with(|situation| situation.token = observed.token.clone());
    lost.now = at("2030-01-01T01:00:06Z");
    assert_eq!(next_step(&lost), None, "it may be another operator's, which is about to write it");
    lost.now = at("2030-01-01T01:00:07Z");
    assert_eq!(run(&mut lost), ["issue"]);
    assert_eq!(lost.recorded().pending.clone().unwrap().attempt, 3, "announced anew");

    let mut cut = situation().with(|situation| situation.token = observed.token.clone());
    cut.now = at("2030-01-01T01:00:09Z");
    cut.secret = stored(&written);
    let done = run(&mut cut);
    assert!(
        !done.contains(&"issue".to_owned()),
        "the Secret holds the announced value: {done:?}"
    );
    assert_eq!(cut.recorded().token.clone().unwrap().hash, Some(value(2).hash()));
    assert_eq!((cut.recorded().rotations, cut.recorded().pending.is_none()), (Some(1), true));
}

#[test]
fn suspension_holds_a_token_back_and_activation_lets_it_work_again() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert_eq!(observed.ready(), (true, "Ready"), "it is as declared");
    assert_eq!(observed.condition(ConditionType::Active), (false, "Suspended"));
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert_eq!(run(&mut observed), ["Activated"]);
    assert_eq!(observed.recorded().state, Some(ObservedState::Active));
    assert_eq!(
        observed.recorded().token.clone().unwrap().hash,
        Some(value(1).hash()),
        "the same value"
    );
}

#[test]
fn a_suspended_token_gets_no_new_value_until_it_is_activated() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.secret = ObservedSecret::Absent;
    observed.now = at("2030-01-01T01:00:00Z");
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert_eq!(
        (observed.ready(), observed.condition(ConditionType::SecretSynced)),
        ((true, "Ready"), (false, "Missing"))
    );
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert_eq!(run(&mut observed), ["issue"]);
    assert_eq!(
        observed.recorded().state,
        Some(ObservedState::Suspended),
        "until the new value is there"
    );
}

#[test]
fn a_token_created_suspended_is_issued_and_denied() {
    let mut observed = situation();
    observed.edit(|token| token.spec.state = DesiredState::Suspended);
    assert_eq!(run(&mut observed), ["issue", "create_secret", "Issued"]);
    assert_eq!(
        (observed.recorded().state, observed.ready().0),
        (Some(ObservedState::Suspended), true)
    );
}

#[test]
fn revoking_ends_the_secret_before_the_status_says_so() {
    for (policy, expected, synced) in [
        (SecretDeletionPolicy::Delete, vec!["delete_secret", "Revoked"], "Removed"),
        (SecretDeletionPolicy::Retain, vec!["update_secret", "Revoked"], "Ended"),
    ] {
        let mut observed = issued().respecced(|spec| {
            spec.state = DesiredState::Revoked;
            spec.secret.deletion_policy = policy;
        });
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        assert_eq!(run(&mut observed), expected);
        assert_eq!(
            (observed.recorded().state, observed.ready()),
            (Some(ObservedState::Revoked), (true, "Ready"))
        );
        assert_eq!(observed.condition(ConditionType::SecretSynced), (false, synced));
        if policy == SecretDeletionPolicy::Retain {
            assert_eq!(
                found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
                Some(value(1).hash().as_str())
            );
        }
        assert!(run(&mut observed).is_empty(), "the end is the end");
    }
}

#[test]
fn a_token_created_revoked_or_past_its_end_is_never_issued() {
    let cases: [(fn(&mut ApiTokenSpec), ObservedState, (bool, &str)); 2] = [
        (|spec| spec.state = DesiredState::Revoked, ObservedState::Revoked, (true, "Ready")),
        (
            |spec| spec.expires_at = Some(Time(at("2029-01-01T00:00:00Z"))),
            ObservedState::Expired,
            (false, "Expired"),
        ),
    ];
    for (change, state, ready) in cases {
        let mut observed = situation();
        observed.edit(|token| change(&mut token.spec));
        let done = run(&mut observed);
        assert!(!done.contains(&"issue".to_owned()), "{done:?}");
        assert_eq!((observed.recorded().state, observed.ready()), (Some(state), ready));
        assert!(observed.recorded().token.is_none());
    }
}

#[test]
fn a_token_expires_at_its_time_and_lives_again_only_with_a_new_value() {
    let mut observed = situation();
    observed.edit(|token| token.spec.lifetime = hours("1h"));
    run(&mut observed);
    assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T00:40:00Z")));

    observed.now = at("2030-01-01T00:40:00Z");
    assert_eq!(run(&mut observed), ["Expiring"], "told ahead, since nothing rotates it");
    assert_eq!(observed.condition(ConditionType::Active), (true, "Expiring"));
    assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T01:00:00Z")));
    assert!(run(&mut observed).is_empty(), "told once");

    observed.now = at("2030-01-01T01:00:00Z");
    assert_eq!(run(&mut observed), ["update_secret", "Expired"]);
    assert_eq!(
        (observed.recorded().state, observed.ready()),
        (Some(ObservedState::Expired), (false, "Expired"))
    );
    assert!(observed.condition(ConditionType::Stalled).0);
    assert_eq!(observed.condition(ConditionType::Active), (false, "Expired"));
    assert!(run(&mut observed).is_empty());

    observed.respec(|spec| spec.lifetime = hours("2h"));
    assert_eq!(run(&mut observed), ["issue"]);
    assert_eq!(
        observed.recorded().state,
        Some(ObservedState::Expired),
        "the old value never works again"
    );
    observed.now = at("2030-01-01T01:00:02Z");
    assert_eq!(run(&mut observed).last().map(String::as_str), Some("Rotated"));
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!(
        (token.hash, token.expires_at),
        (Some(value(2).hash()), Some(Time(at("2030-01-01T03:00:00Z"))))
    );
    assert_eq!(observed.recorded().state, Some(ObservedState::Active));
}

/// An issued token that has expired, with its Secret as it stands in the cluster.
fn expired() -> Observed {
    let mut observed = situation();
    observed.edit(|token| token.spec.lifetime = hours("1h"));
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:00Z");
    run(&mut observed);
    observed
}

#[test]
fn an_expired_value_is_never_accepted_again_whatever_its_secret_says() {
    let cases: [(&str, fn(&mut Observed)); 2] = [
        ("the mark was taken away", |observed| {
            replace_found(observed, |secret| {
                secret.metadata.annotations.get_or_insert_default().remove(names::ENDED_ANNOTATION);
            });
        }),
        ("the token was suspended in between", |observed| {
            observed.respec(|spec| spec.state = DesiredState::Suspended);
            run(observed);
            assert_eq!(
                observed.recorded().state,
                Some(ObservedState::Expired),
                "a suspended value could be activated"
            );
            observed.respec(|spec| spec.state = DesiredState::Active);
        }),
    ];
    for (why, change) in cases {
        let mut observed = expired();
        observed.respec(|spec| spec.lifetime = hours("9h"));
        change(&mut observed);
        assert_eq!(run(&mut observed), ["issue"], "{why}");
        assert_ne!(
            observed.recorded().state,
            Some(ObservedState::Active),
            "{why}: not before the new value is there"
        );
    }
}

#[test]
fn the_mark_of_an_ended_value_outlives_it() {
    let mut observed = expired();
    let version = found_mut(&mut observed).resource_version().map(str::to_owned);
    let recorded = observed.recorded().secret_ref.clone().unwrap();
    assert_eq!(recorded.resource_version, version, "the Secret is not read again for its own mark");
    replace_found(&mut observed, |secret| {
        secret.metadata.managed_fields = Some(vec![
            serde_json::from_value(serde_json::json!({
                "manager": "apitoken-operator", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:apitoken.dev/ended": {}, "f:example.com/dropped": {}}}},
            }))
            .unwrap(),
        ]);
    });
    annotate(&mut observed, "example.com/dropped", "x");
    observed.respec(|spec| spec.lifetime = hours("9h"));
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:02Z");
    assert_eq!(run(&mut observed).last().map(String::as_str), Some("Rotated"));
    assert_eq!(
        found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
        Some(value(1).hash().as_str())
    );
    assert_eq!(
        found_mut(&mut observed).annotation("example.com/dropped"),
        None,
        "what we declared once goes"
    );
}

#[test]
fn a_revoked_token_stays_revoked_whatever_the_spec_says() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Revoked);
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:00Z");
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert!(run(&mut observed).is_empty());
    assert_eq!(observed.recorded().state, Some(ObservedState::Revoked));
}

#[test]
fn a_changed_lifetime_needs_no_new_value() {
    let mut observed = issued();
    observed.respec(|spec| spec.lifetime = hours("48h"));
    observed.secret = ObservedSecret::Found(secret_of(&issued(), 1));
    assert_eq!(
        run(&mut observed),
        ["update_secret", "SecretUpdated"],
        "the Secret says when its value ends"
    );
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!(
        (token.hash, token.expires_at),
        (Some(value(1).hash()), Some(Time(at("2030-01-03T00:00:00Z"))))
    );
}

#[test]
fn what_stands_in_the_way_is_said_and_nothing_is_issued() {
    let reference = |name: &str| IssuerRef {
        kind: IssuerKind::TokenIssuer,
        name: name.into(),
    };
    let cases: Vec<(&str, Box<dyn Fn(&mut Observed)>, bool)> = vec![
        (
            "IssuerNotFound",
            Box::new(move |o| o.issuer = Err(IssuerProblem::NotFound(reference("x")))),
            false,
        ),
        ("NoDefaultIssuer", Box::new(|o| o.issuer = Err(IssuerProblem::NoDefault)), true),
        (
            "SeveralDefaultIssuers",
            Box::new(|o| o.issuer = Err(IssuerProblem::SeveralDefaults(vec!["a".into(), "b".into()]))),
            true,
        ),
        ("NamespaceNotAllowed", Box::new(|o| o.issuer_mut().namespace_allowed = false), true),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::NotReady("why".into())),
            false,
        ),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::Deleting),
            false,
        ),
        ("IssuerNotReady", Box::new(|o| o.issuer_mut().held = false), false),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::Unreadable("why".into())),
            false,
        ),
        ("NotSupported", Box::new(|o| o.issuer_mut().capabilities = None), true),
        (
            "SuspendNotSupported",
            Box::new(|o| {
                o.edit(|t| t.spec.state = DesiredState::Suspended);
                o.issuer_mut().capabilities.as_mut().unwrap().suspend = false;
            }),
            true,
        ),
        (
            "AdoptionFailed",
            Box::new(|o| o.edit(|t| t.spec.adopt = Some(Default::default()))),
            true,
        ),
        (
            "ParametersMismatch",
            Box::new(|o| o.edit(|t| t.spec.parameters = Some(Default::default()))),
            true,
        ),
        (
            "AccountNotAllowed",
            Box::new(|o| o.edit(|t| t.spec.account = Some("other.ci".into()))),
            true,
        ),
        (
            "AccountNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.account = Some("shop.ci".into()));
                o.issuer_mut().capabilities.as_mut().unwrap().local = false;
            }),
            true,
        ),
        (
            "ScopeNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.scopes = vec!["a".into()]);
                o.issuer_mut().spec.builtin.as_mut().unwrap().allowed_scopes = Some(vec![]);
            }),
            true,
        ),
        (
            "ScopeNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.audiences = vec!["a".into()]);
                o.issuer_mut().spec.builtin.as_mut().unwrap().allowed_audiences = Some(vec!["b".into()]);
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("1h"),
                    ..Default::default()
                })
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.edit(|t| t.spec.lifetime = hours("2h"));
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("1h"),
                    ..Default::default()
                });
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    require_rotation: true,
                    ..Default::default()
                })
            }),
            true,
        ),
        (
            "TemplateInvalid",
            Box::new(|o| o.edit(|t| t.spec.secret.template = [("K".into(), "{{ nope }}".into())].into())),
            true,
        ),
        ("SecretConflict", Box::new(|o| o.secret_promised_to = Some("older".into())), true),
        (
            "SecretConflict",
            Box::new(|o| o.secret = ObservedSecret::Found(FoundSecret::new(Default::default()))),
            true,
        ),
    ];
    for (number, (reason, change, stalled)) in cases.into_iter().enumerate() {
        let mut observed = situation();
        change(&mut observed);
        let done = run(&mut observed);
        assert_eq!(observed.ready(), (false, reason), "case {number}: {done:?}");
        assert_eq!(done, [reason], "case {number}: a Warning and nothing else");
        assert_eq!(observed.condition(ConditionType::Stalled).0, stalled, "case {number} {reason}");
        assert_eq!(observed.condition(ConditionType::Reconciling).0, !stalled, "case {number} {reason}");
        let message = &conditions::find(&observed.recorded().conditions, ConditionType::Ready)
            .unwrap()
            .message;
        assert!(
            message.contains(": ") && !message.is_empty(),
            "case {number}: says what to do: {message}"
        );
        assert!(observed.recorded().token.is_none() && observed.recorded().state == Some(ObservedState::Pending));
        assert!(run(&mut observed).is_empty(), "case {number}: said once");

        let healed = situation().with(|healthy| {
            let status = observed.token.status.clone();
            healthy.edit(|token| token.status = status);
        });
        let mut healed = healed;
        assert_eq!(
            run(&mut healed),
            ["issue", "create_secret", "Issued"],
            "case {number}: healed as soon as the cause is gone"
        );
        assert_eq!(healed.ready(), (true, "Ready"), "case {number}");
    }
}

#[test]
fn what_heals_after_a_changed_spec_is_looked_at_again() {
    let mut observed = issued().respecced(|spec| spec.secret.labels = [("team".to_owned(), "shop".to_owned())].into());
    let issuer = std::mem::replace(&mut observed.issuer, Err(IssuerProblem::NoDefault));
    assert_eq!(run(&mut observed), ["NoDefaultIssuer"]);
    observed.issuer = issuer;
    assert_eq!(
        next_step(&observed),
        Some("read_secret"),
        "the Secret was not brought to the changed spec yet"
    );
}

#[test]
fn nothing_stands_in_the_way_of_ending_a_token() {
    let blocked: [fn(&mut Observed); 3] = [
        |observed| observed.issuer = Err(IssuerProblem::NoDefault),
        |observed| observed.edit(|token| token.spec.parameters = Some(Default::default())),
        |observed| observed.issuer_mut().namespace_allowed = false,
    ];
    for block in blocked {
        let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended).with(block);
        run(&mut observed);
        assert_eq!(observed.recorded().state, Some(ObservedState::Suspended));
        observed.respec(|spec| spec.state = DesiredState::Revoked);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        run(&mut observed);
        assert_eq!(observed.recorded().state, Some(ObservedState::Revoked));
    }
}

#[test]
fn a_token_whose_issuer_is_gone_does_not_work_and_is_not_replaced() {
    let mut observed = issued();
    observed.issuer = Err(IssuerProblem::NotFound(observed.issuer_mut().reference.clone()));
    assert_eq!(run(&mut observed), ["IssuerNotFound"]);
    assert!(!observed.condition(ConditionType::Active).0);
    observed.secret = ObservedSecret::Absent;
    assert!(run(&mut observed).is_empty());
}

#[test]
fn an_issuer_that_goes_keeps_its_tokens_and_makes_no_new_ones() {
    let mut observed = issued();
    observed.issuer_mut().readiness = IssuerReadiness::Deleting;
    assert!(run(&mut observed).is_empty());
    assert_eq!(observed.ready(), (true, "Ready"));
    observed.secret = ObservedSecret::Absent;
    assert_eq!(run(&mut observed), ["IssuerNotReady"]);
}

#[test]
fn what_passes_by_itself_is_not_worth_a_write_in_the_first_seconds() {
    let mut observed = situation();
    observed.edit(|token| token.metadata.creation_timestamp = Some(Time(at("2029-12-31T23:59:55Z"))));
    observed.issuer_mut().readiness = IssuerReadiness::Unknown;
    let rest = rest(&observed);
    assert_eq!(
        (rest.status, rest.look_again_at),
        (ApiTokenStatus::default(), Some(at("2030-01-01T00:00:02Z")))
    );
}

#[test]
fn failures_are_counted_tried_later_and_forgotten_after_a_success() {
    let mut observed = situation();
    for count in 1..=3 {
        observed.failure = Some(Failure::of_secret("could not write"));
        let done = run(&mut observed);
        assert_eq!(done.is_empty(), count > 1, "told once");
        let failures = observed.recorded().failures.clone().unwrap();
        assert_eq!(failures.count, count);
        assert_eq!(observed.ready(), (false, "Progressing"));
        let Time(retry_at) = failures.next_retry_at.unwrap();
        assert_eq!(rest(&observed).look_again_at, Some(retry_at), "nothing is tried before");
        observed.now = retry_at;
    }
    run(&mut observed);
    assert_eq!((observed.ready(), observed.recorded().failures.clone()), ((true, "Ready"), None));
}

#[test]
fn a_changed_spec_is_tried_at_once_after_a_failure() {
    let mut observed = situation();
    observed.failure = Some(Failure::of_secret("could not write"));
    run(&mut observed);
    assert_eq!(next_step(&observed), None);
    observed.respec(|spec| spec.secret.name = Some("other".into()));
    assert_eq!(next_step(&observed), Some("issue"));
}

#[test]
fn pausing_stops_everything_and_keeps_what_was_last_observed() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.edit(|token| token.metadata.annotations = Some([(names::PAUSED_ANNOTATION.into(), "true".into())].into()));
    assert!(run(&mut observed).is_empty());
    assert_eq!(
        (observed.ready(), observed.recorded().state),
        ((true, "Ready"), Some(ObservedState::Active))
    );
    assert_eq!(observed.condition(ConditionType::Paused), (true, "Paused"));
    assert_eq!(observed.recorded().observed_generation, Some(1), "nobody acted on the new spec");
    observed.edit(|token| token.metadata.annotations = None);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    run(&mut observed);
    assert!(conditions::find(&observed.recorded().conditions, ConditionType::Paused).is_none());
    assert_eq!(observed.recorded().state, Some(ObservedState::Suspended));
}

#[test]
fn an_object_that_is_being_deleted_is_only_spoken_of() {
    let mut observed = issued();
    observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
    observed.secret = ObservedSecret::Absent;
    assert!(run(&mut observed).is_empty());
    assert_eq!(
        (observed.ready(), observed.condition(ConditionType::Active).0),
        ((false, "Deleting"), false)
    );
}

#[test]
fn in_a_namespace_that_ends_nothing_is_done() {
    let mut observed = issued();
    observed.namespace_ends = true;
    observed.secret = ObservedSecret::Absent;
    let before = observed.recorded().clone();
    assert!(run(&mut observed).is_empty());
    assert_eq!(*observed.recorded(), before);
}

#[test]
fn two_operators_do_not_announce_over_each_other() {
    let mut first = issued();
    first.now = at("2030-01-01T01:00:00Z");
    first.secret = ObservedSecret::Absent;
    run(&mut first);
    let mut second = situation().with(|situation| situation.token = first.token.clone());
    second.now = first.now;
    second.fresh = Some(IssuedToken {
        value: value(7),
        id: "0123456789-2".into(),
        name: None,
        attempt: 2,
        issued_at: second.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    });
    let announced = first.recorded().pending.clone();
    assert!(run(&mut second).is_empty());
    assert_eq!(second.recorded().pending, announced, "the other's turn");
    assert!(second.fresh.is_none());
}

/// The guard against foreign Secrets.
#[test]
fn a_secret_is_ours_by_uid_by_name_or_by_our_marks_and_never_else() {
    let observed = situation();
    let owner = |kind: &str, group: &str, name: &str, uid: &str| OwnerReference {
        api_version: format!("{group}/v1alpha1"),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        ..Default::default()
    };
    let marks = |label: &str, name: &str| {
        let mut secret = k8s_openapi::api::core::v1::Secret::default();
        secret.metadata.labels = Some([(names::MANAGED_BY_LABEL.to_owned(), label.to_owned())].into());
        secret.metadata.annotations = Some([(names::API_TOKEN_ANNOTATION.to_owned(), name.to_owned())].into());
        secret
    };
    for (why, owners, label, name, expected) in [
        (
            "owned by our uid",
            vec![owner("ApiToken", "apitoken.dev", "ci", UID)],
            "",
            "",
            Ownership::Ours,
        ),
        (
            "owned by a former object of our name",
            vec![owner("ApiToken", "apitoken.dev", "ci", "old")],
            "",
            "",
            Ownership::Ours,
        ),
        (
            "owned by another ApiToken",
            vec![owner("ApiToken", "apitoken.dev", "x", "other")],
            names::MANAGER,
            "ci",
            Ownership::Foreign,
        ),
        (
            "owned by another kind of our name",
            vec![owner("ApiToken", "example.com", "ci", "other")],
            names::MANAGER,
            "ci",
            Ownership::Foreign,
        ),
        (
            "owned by a kind whose group begins like ours",
            vec![owner("ApiToken", "apitoken.dev.example.com", "ci", "x")],
            "",
            "",
            Ownership::Foreign,
        ),
        ("unowned, with our marks", vec![], names::MANAGER, "ci", Ownership::Ours),
        (
            "unowned, with our label and another's name",
            vec![],
            names::MANAGER,
            "x",
            Ownership::Foreign,
        ),
        ("unowned, with our name and another label", vec![], "Helm", "ci", Ownership::Foreign),
        ("unowned and unmarked", vec![], "", "", Ownership::Foreign),
    ] {
        let mut secret = marks(label, name);
        secret.metadata.owner_references = Some(owners);
        assert_eq!(FoundSecret::new(secret).ownership(&observed.token), expected, "{why}");
    }
}

#[test]
fn a_secret_of_another_type_is_left_alone() {
    let mut observed = issued();
    observed.secret = changed(&observed, |secret| secret.type_ = Some("kubernetes.io/basic-auth".into()));
    assert_eq!(run(&mut observed), ["SecretConflict"]);
}

#[test]
fn a_token_announced_again_and_again_stays_below_eight_in_fifteen_seconds() {
    let mut observed = issued();
    let mut made = 0;
    for second in 0..15 {
        observed.now = at(NOW) + SignedDuration::from_secs(second);
        observed.secret = ObservedSecret::Absent;
        observed.fresh = None;
        made += run(&mut observed).iter().filter(|step| *step == "issue").count();
    }
    assert!((2..=8).contains(&made), "{made}");
}
