//! Whose tokens are seen, changed and ended.

use apitoken_operator::issuers::{IssuerError, ListedState, ListedToken, TokenRequest, Verb};

use super::{OwnUser, ServiceAccount, id_of, spec_of};
use crate::{
    contract::{Bench, PATIENT, open},
    fakes::{
        Fake, Fault, Shown,
        wavefront::{ACCOUNT, ANOTHER, CREDENTIAL, NARROW, USER, Wavefront},
    },
};

/// What a token is asked for with, in that account.
fn request_for(bench: &Bench<ServiceAccount>, account: &str) -> TokenRequest {
    TokenRequest {
        account: Some(account.to_owned()),
        ..bench.request(1)
    }
}

fn shown(tokens: Vec<ListedToken>) -> Vec<(String, Option<String>, bool)> {
    let shown = tokens.into_iter().map(|token| (token.id, token.account, token.value.is_some()));
    shown.collect()
}

#[tokio::test]
async fn a_token_is_made_listed_and_ended_in_the_account_that_is_asked_for() {
    let bench = Bench::<ServiceAccount>::new().await;
    let (issuer, request) = (bench.issuer(), request_for(&bench, "sa::Deploy"));
    let made = issuer.create(&request).await.unwrap();
    assert_eq!(bench.fake.with(|fake| fake.token_mut(made.value.expose()).account.clone()), ANOTHER);
    let listed = shown(issuer.list(&request).await.unwrap());
    assert_eq!(listed, [(made.id.clone(), Some("sa::Deploy".to_owned()), true)]);
    assert!(bench.listed(&made.id).await.is_none(), "it is not in the issuer's own account");
    issuer.change(&made.id, Verb::Delete, &request).await.unwrap();
    assert!(!bench.accepts(&made.value));
    let named = bench
        .fake
        .calls()
        .into_iter()
        .filter(|call| call.contains("serviceaccount"))
        .all(|call| call.contains("sa::"));
    assert!(named);
}

#[tokio::test]
async fn the_issuers_own_account_in_other_letters_is_its_own() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    let listed = bench.issuer().list(&request_for(&bench, "SA::Ci")).await.unwrap();
    assert_eq!(shown(listed), [(made.id, None, true)]);
}

#[tokio::test]
async fn an_account_whose_own_path_refuses_is_seen_in_the_customers_list() {
    let bench = Bench::<ServiceAccount>::new().await;
    let (issuer, gone) = (bench.issuer(), request_for(&bench, "sa::gone"));
    let theirs = bench.fake.with(|fake| fake.plant("former@example.com", Some("x")));
    let former = request_for(&bench, "Former@example.com");
    let expected = (id_of(&theirs), former.account.clone(), true);
    assert_eq!(shown(issuer.list(&former).await.unwrap()), [expected]);
    assert_eq!(shown(issuer.list(&gone).await.unwrap()), []);
    assert_eq!(issuer.create(&gone).await.err(), Some(IssuerError::AccountNotFound));
    let narrow = open(spec_of(bench.fake.url(), Some(ACCOUNT)), NARROW, PATIENT);
    for request in [gone, former] {
        assert_eq!(narrow.list(&request).await.err(), Some(IssuerError::AccountNotFound));
    }
}

#[tokio::test]
async fn the_inventory_has_all_accounts_and_values_of_the_own_one_only() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    let (deploy, user) = bench.fake.with(|fake| (fake.plant(ANOTHER, Some("x")), fake.plant(USER, None)));
    let inventory = shown(bench.issuer().inventory().await.unwrap());
    assert_eq!(inventory.len(), 6, "three credentials of the user are among them");
    for expected in [
        (made.id.clone(), None, true),
        (id_of(&deploy), Some(ANOTHER.to_owned()), false),
        (id_of(&user), Some(USER.to_owned()), false),
        (id_of(CREDENTIAL), Some(USER.to_owned()), false),
    ] {
        assert!(inventory.contains(&expected), "{expected:?} in {inventory:?}");
    }
    let narrow = open(spec_of(bench.fake.url(), Some(ACCOUNT)), NARROW, PATIENT);
    assert_eq!(shown(narrow.inventory().await.unwrap()), [(made.id, None, true)]);
}

#[tokio::test]
async fn the_inventory_of_the_own_user_has_its_tokens_as_the_issuers_own() {
    let bench = Bench::<OwnUser>::new().await;
    let made = bench.made(1).await;
    let inventory = shown(bench.issuer().inventory().await.unwrap());
    assert_eq!(inventory.len(), 4);
    assert!(inventory.iter().all(|(_, account, has_value)| account.is_none() && *has_value));
    assert!(inventory.iter().any(|(id, ..)| *id == made.id));
}

#[tokio::test]
async fn a_token_whose_account_can_not_be_reached_is_ended_by_the_customers_list() {
    let cases: [(&str, fn(&Fake<Wavefront>)); 4] = [
        ("AccountNotFound", |fake| fake.with(|vendor| vendor.accounts.clear())),
        ("Refused", |fake| fake.always("list", Fault::not_done(Shown::Status(404)))),
        ("NotPermitted", |fake| fake.always("list", Fault::not_done(Shown::Status(403)))),
        ("NotPermitted", |fake| fake.always("delete", Fault::not_done(Shown::Status(403)))),
    ];
    for (expected, happens) in cases {
        let bench = Bench::<ServiceAccount>::new().await;
        let (made, other, request) = (bench.made(1).await, bench.made(2).await, bench.request(1));
        happens(&bench.fake);
        let narrow = open(spec_of(bench.fake.url(), Some(ACCOUNT)), NARROW, PATIENT);
        let refused = narrow.change(&made.id, Verb::Delete, &request).await.unwrap_err();
        assert!(format!("{refused:?}").starts_with(expected), "{refused:?}, and not {expected}");
        assert!(bench.accepts(&made.value));
        bench.issuer().change(&made.id, Verb::Delete, &request).await.unwrap();
        assert!(!bench.accepts(&made.value) && bench.accepts(&other.value));
    }
}

#[tokio::test]
async fn a_token_in_an_account_that_nobody_names_any_more_is_ended_too() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.issuer().create(&request_for(&bench, ANOTHER)).await.unwrap();
    bench.issuer().change(&made.id, Verb::Delete, &bench.request(1)).await.unwrap();
    assert!(!bench.accepts(&made.value));
}

#[tokio::test]
async fn no_account_is_ever_deactivated_and_tokens_of_one_that_is_do_not_count_as_working() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    bench.fake.with(|fake| fake.inactive.push(ACCOUNT.to_owned()));
    let listed = bench.listed(&made.id).await.unwrap();
    assert_eq!(listed.state, ListedState::Suspended);
    assert_eq!(listed.details.account_type.as_deref(), Some("INACTIVE_SERVICE_ACCOUNT"));
}

#[tokio::test]
async fn it_is_told_when_a_token_was_last_used() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    assert_eq!(bench.listed(&made.id).await.unwrap().last_used_at, None);
    let now = bench.clock.now();
    bench.fake.with(|fake| fake.token_mut(made.value.expose()).last_used_at = Some(now));
    assert_eq!(bench.listed(&made.id).await.unwrap().last_used_at, Some(now));
}

#[tokio::test]
async fn a_change_of_what_wavefront_does_not_have_calls_for_nothing() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    let request = TokenRequest {
        description: Some("another".to_owned()),
        ..bench.request(1)
    };
    bench.issuer().update(&made.id, &request).await.unwrap();
    bench.issuer().update("sha256:0000000000000000", &bench.request(2)).await.unwrap();
    assert!(bench.fake.calls().iter().all(|call| !call.starts_with("PUT")));
    assert_eq!(bench.listed(&made.id).await.unwrap().name, made.name);
}
