//! A credential that is itself an ApiToken: of the issuer that is asked with it, or of another one.

use apitoken_operator::api::{
    ApiToken, TokenIssuer,
    api_token::ObservedState,
    conditions::{self, ConditionType},
    names,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    until_gone, until_values,
    world::{VENDORS, Vendors, credential},
};
use crate::support::{
    eventually,
    remote::for_each,
    tokens::{is_true, message_of, state, status},
};

/// An issuer, an ApiToken that is its credential, and another ApiToken.
#[derive(Clone, Debug)]
struct Names {
    vendor: &'static str,
    issuer: String,
    key: String,
    other: String,
}

impl Names {
    fn new(vendor: &'static str, suffix: &str) -> Self {
        let name = |what: &str| format!("{what}-{vendor}{suffix}");
        Self {
            vendor,
            issuer: name("issuer"),
            key: name("key"),
            other: name("ci"),
        }
    }
}

async fn respec(vendors: &Vendors, issuer: &str, patch: Value) {
    let api: Api<TokenIssuer> = vendors.team.api();
    let patch = Patch::Merge(json!({ "spec": patch }));
    api.patch(issuer, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until the issuer is ready, and holds that Secret as its credential.
async fn until_asked_with(vendors: &Vendors, issuer: &str, secret: Option<&str>) {
    eventually(&format!("{issuer} is asked with {secret:?}"), || async {
        let found = vendors.team.api::<TokenIssuer>().get(issuer).await.unwrap();
        let status = found.status.unwrap_or_default();
        let ready = conditions::is_true(&status.conditions, ConditionType::Ready);
        let now = status.observed_generation == found.metadata.generation && status.credential_secret.as_deref() == secret;
        let held = match secret {
            Some(secret) => vendors
                .team
                .secret(secret)
                .await?
                .finalizers()
                .iter()
                .any(|name| name == names::FINALIZER),
            None => true,
        };
        (ready && held && now).then_some(())
    })
    .await;
}

async fn declare(vendors: &Vendors, names: &Names, token: &str, fields: Value) {
    let mut fields = fields;
    fields["issuerRef"] = json!({ "kind": "TokenIssuer", "name": names.issuer });
    vendors.declare(names.vendor, token, fields).await;
    vendors.team.ready(token).await;
}

/// An issuer that begins with a credential made by hand, and goes on with one that it issued itself.
async fn bootstrap(vendors: &Vendors, names: &Names, rotation: Value) {
    let (team, by_hand) = (&vendors.team, format!("by-hand-{}", names.issuer));
    team.credential(&by_hand, credential(names.vendor)).await;
    let spec = json!({ names.vendor: vendors.spec_of(names.vendor, &by_hand), "timeout": "2s" });
    team.issuer(&names.issuer, spec).await;
    until_asked_with(vendors, &names.issuer, None).await;
    declare(vendors, names, &names.key, json!({ "rotation": rotation })).await;
    declare(vendors, names, &names.other, json!({ "rotation": { "interval": "2000h" } })).await;
    let reference = json!({ "name": names.key, "key": "token" });
    respec(vendors, &names.issuer, json!({ names.vendor: { "credentialsRef": reference } })).await;
    until_asked_with(vendors, &names.issuer, Some(&names.key)).await;
    team.delete::<Secret>(&by_hand).await;
    eventually(&format!("{by_hand} goes"), || async {
        team.secret(&by_hand).await.is_none().then_some(())
    })
    .await;
}

/// What was told of the two ApiTokens, but that they were issued and rotated.
async fn warnings(vendors: &Vendors, names: &Names) -> Vec<String> {
    let mut events = vendors.team.events(&names.key).await;
    events.extend(vendors.team.events(&names.other).await);
    events.retain(|event| event != "Issued" && event != "Rotated");
    events
}

/// Rotates the key by a request and by its interval, and after each the other one, which needs the new key.
async fn rotates(vendors: &Vendors, names: &Names, overlap: SignedDuration) {
    let team = &vendors.team;
    // With a clock that is ahead, nobody is patient with an issuer that is not held yet.
    let warned = warnings(vendors, names).await;
    for times in 1..=2_i64 {
        let before = team.value(&names.key, "token").await;
        let other = team.value(&names.other, "token").await;
        if times == 1 {
            vendors.clock.advance(SignedDuration::from_secs(20));
            team.request(&names.key, "1").await;
        } else {
            vendors.later(SignedDuration::from_hours(24), &names.key).await;
        }
        team.rotated(&names.key, times).await;
        let now = team.value(&names.key, "token").await;
        assert_ne!(before, now, "{names:?}");
        if overlap.is_positive() {
            until_values(vendors, names.vendor, &[&before, &now, &other]).await;
            vendors.later(overlap, &names.key).await;
        }
        until_values(vendors, names.vendor, &[&now, &other]).await;
        assert_eq!(
            last_change_by(vendors, names.vendor),
            now,
            "{names:?}: the new one ends the old one"
        );
        team.until(&names.key, "the replaced one is ended", |token| status(token).previous.is_empty())
            .await;
        vendors.clock.advance(SignedDuration::from_secs(20));
        team.request(&names.other, &times.to_string()).await;
        team.rotated(&names.other, times).await;
        let replaced = team.value(&names.other, "token").await;
        until_values(vendors, names.vendor, &[&now, &replaced]).await;
    }
    assert_eq!(warnings(vendors, names).await, warned, "{names:?}: nothing failed");
}

/// The credential of the last call that changed anything.
fn last_change_by(vendors: &Vendors, vendor: &str) -> String {
    let callers = vendors.callers(vendor).into_iter();
    let calls = vendors.calls(vendor).into_iter().zip(callers).rev();
    let mut changes = calls.filter(|(call, _)| !call.starts_with("GET "));
    changes.next().unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuers_own_token_is_its_credential_and_rotates() {
    let rows = [("0s", SignedDuration::ZERO), ("1m", SignedDuration::from_mins(1))];
    for_each(rows, async |(overlap, span)| {
        let vendors = Vendors::new("self-issued").await;
        for vendor in VENDORS {
            let names = Names::new(vendor, "");
            bootstrap(&vendors, &names, json!({ "interval": "24h", "overlap": overlap })).await;
            vendors.retire_credential(vendor);
            rotates(&vendors, &names, span).await;
        }
        vendors.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_may_be_the_token_of_another_issuer() {
    let vendors = Vendors::new("other-issuer").await;
    let (team, names) = (&vendors.team, Names::new("softwareone", ""));
    // The issuer that the bed made issues the key, another one is asked with it.
    vendors
        .declare(
            "softwareone",
            &names.key,
            json!({ "rotation": { "interval": "24h", "overlap": "1m" } }),
        )
        .await;
    team.ready(&names.key).await;
    let spec = vendors.spec_of("softwareone", &names.key);
    team.issuer(&names.issuer, json!({ "softwareone": spec, "timeout": "2s" })).await;
    until_asked_with(&vendors, &names.issuer, None).await;
    declare(&vendors, &names, &names.other, json!({})).await;
    until_asked_with(&vendors, &names.issuer, Some(&names.key)).await;
    let warned = warnings(&vendors, &names).await;
    vendors.clock.advance(SignedDuration::from_secs(20));
    team.request(&names.key, "1").await;
    team.rotated(&names.key, 1).await;
    vendors.later(SignedDuration::from_mins(1), &names.key).await;
    let (key, other) = (team.value(&names.key, "token").await, team.value(&names.other, "token").await);
    until_values(&vendors, "softwareone", &[&key, &other]).await;
    vendors.clock.advance(SignedDuration::from_secs(20));
    team.request(&names.other, "1").await;
    team.rotated(&names.other, 1).await;
    assert_eq!(warnings(&vendors, &names).await, warned, "nothing failed");

    team.delete::<ApiToken>(&names.key).await;
    let waits = |token: &ApiToken| message_of(token, ConditionType::Ready).contains("other ApiTokens need");
    team.until(&names.key, "it waits for the other", waits).await;
    assert_eq!(vendors.values("softwareone").len(), 2, "nothing is ended yet");
    team.delete::<ApiToken>(&names.other).await;
    for name in [&names.other, &names.key] {
        until_gone(&vendors, name).await;
    }
    until_values(&vendors, "softwareone", &[]).await;
    vendors.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_others_need_for_long_is_ended_at_the_deadline() {
    let vendors = Vendors::new("deadline").await;
    let (team, names) = (&vendors.team, Names::new("softwareone", ""));
    bootstrap(&vendors, &names, json!({ "interval": "24h" })).await;
    team.delete::<ApiToken>(&names.key).await;
    let waits = |token: &ApiToken| message_of(token, ConditionType::Ready).contains("other ApiTokens need");
    team.until(&names.key, "it waits for the other", waits).await;
    vendors.later(SignedDuration::from_mins(16), &names.key).await;
    until_gone(&vendors, &names.key).await;
    let other = team.value(&names.other, "token").await;
    until_values(&vendors, "softwareone", &[&other]).await;
    vendors.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_goes_though_its_secret_is_held() {
    let vendors = Vendors::new("revoked-key").await;
    for_each(VENDORS, async |vendor| {
        let (team, names) = (&vendors.team, Names::new(vendor, ""));
        bootstrap(&vendors, &names, json!({ "interval": "24h" })).await;
        team.change(&names.key, json!({ "spec": { "state": "Revoked" } })).await;
        let revoked = |token: &ApiToken| state(token) == Some(ObservedState::Revoked) && is_true(token, ConditionType::Ready);
        team.until(&names.key, "revoked", revoked).await;
        let other = team.value(&names.other, "token").await;
        until_values(&vendors, vendor, &[&other]).await;
    })
    .await;
    vendors.stop().await;
}

/// Every order of four things.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|number: usize| [number / 64, number / 16 % 4, number / 4 % 4, number % 4]);
    all.filter(|order| (0..4).all(|one| order.contains(&one))).collect()
}

async fn delete_in(vendors: &Vendors, names: &Names, order: [usize; 4]) {
    let team = &vendors.team;
    for what in order {
        match what {
            0 => team.delete::<ApiToken>(&names.key).await,
            1 => team.delete::<ApiToken>(&names.other).await,
            2 => team.delete::<TokenIssuer>(&names.issuer).await,
            // It may be gone with its owner.
            _ => drop(team.api::<Secret>().delete(&names.key, &DeleteParams::default()).await),
        }
    }
    eventually(&format!("all goes, deleted in the order {order:?}"), || async {
        let tokens = [&names.key, &names.other];
        let mut left = team.secret(&names.key).await.is_some();
        left |= team.api::<TokenIssuer>().get_opt(&names.issuer).await.unwrap().is_some();
        for token in tokens {
            left |= team.api::<ApiToken>().get_opt(token).await.unwrap().is_some();
        }
        (!left).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_goes_in_whatever_order_it_is_deleted() {
    let vendors = Vendors::new("orders").await;
    let of_vendor = |vendor: &'static str, step: usize| orders().into_iter().step_by(step).map(move |order| (vendor, order));
    let rows = of_vendor("softwareone", 1)
        .chain(of_vendor("mailtrap", 5))
        .chain(of_vendor("wavefront", 7))
        .chain(of_vendor("prefactor", 9));
    for_each(rows, async |(vendor, order)| {
        let names = Names::new(vendor, &format!("-{}", order.map(|one| one.to_string()).concat()));
        bootstrap(&vendors, &names, json!({ "interval": "24h" })).await;
        delete_in(&vendors, &names, order).await;
    })
    .await;
    for vendor in VENDORS {
        until_values(&vendors, vendor, &[]).await;
    }
    vendors.stop().await;
}
