//! What the verbs do where nothing goes wrong.

use apitoken_operator::issuers::{IssuerError, Issuers as _, KnownIssuers, ListedState, TokenRequest, Verb};
use jiff::SignedDuration;

use super::{Bench, Vendor};

const DAY: SignedDuration = SignedDuration::from_hours(24);

pub async fn capabilities_are_as_the_vendor_is<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    assert_eq!(bench.issuer().capabilities(), V::CAPABILITIES);
    let spec = serde_json::from_value(V::spec(bench.fake.url())).unwrap();
    assert_eq!(KnownIssuers.capabilities(&spec), Some(V::CAPABILITIES));
    assert!(bench.fake.calls().is_empty(), "opening calls nobody");
}

pub async fn what_is_made_is_listed_with_its_name_and_end<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let end = bench.clock.now() + DAY;
    let request = TokenRequest {
        expires_at: Some(end),
        ..bench.request(7)
    };
    let made = bench.issuer().create(&request).await.unwrap();
    let listed = bench.issuer().list(&request).await.unwrap();
    let listed = listed.into_iter().find(|token| token.id == made.id).unwrap();
    let takes_name = V::CAPABILITIES.names || V::CAPABILITIES.update;
    assert_eq!((made.attempt, made.issued_at), (7, bench.clock.now()));
    assert_eq!(made.name, request.name.filter(|_| takes_name));
    assert_eq!(made.expires_at, Some(end).filter(|_| V::CAPABILITIES.expiry));
    assert_eq!((listed.name, listed.expires_at), (made.name, made.expires_at));
    assert_eq!(
        listed.value.map(|value| value.hash()),
        V::CAPABILITIES.readable_value.then(|| made.value.hash())
    );
    assert_eq!((listed.state, listed.fits), (ListedState::Active, true));
    assert_eq!(listed.account, request.account);
    let made_by = made.details.created_by.as_ref();
    assert!(
        made_by.is_none() || made_by == listed.details.created_by.as_ref(),
        "a list may tell more"
    );
    assert_eq!(listed.details.account_type, made.details.account_type);
    let inventory = bench.issuer().inventory().await.unwrap();
    assert!(inventory.iter().any(|token| token.id == made.id));
}

pub async fn what_is_made_without_an_end_has_none<V: Vendor>() {
    if V::GIVES_ENDS {
        return;
    }
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    assert_eq!(made.expires_at, None);
    bench.clock.advance(DAY * 365);
    assert!(bench.accepts(&made.value));
    assert_eq!(bench.listed(&made.id).await.unwrap().expires_at, None);
}

pub async fn a_value_works_until_its_token_is_deleted<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let (one, other) = (bench.made(1).await, bench.made(2).await);
    assert!(one.value.hash() != other.value.hash() && one.id != other.id);
    assert!(bench.accepts(&one.value) && bench.accepts(&other.value));
    bench.end(&one.id).await.unwrap();
    assert!(!bench.accepts(&one.value) && bench.accepts(&other.value));
    assert!(bench.listed(&one.id).await.is_none());
    assert!(bench.listed(&other.id).await.is_some());
}

pub async fn what_is_gone_can_be_ended_again<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    for _ in 0..2 {
        bench.end(&made.id).await.unwrap();
    }
}

pub async fn a_token_is_held_back_and_works_again<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let (made, issuer, request) = (bench.made(1).await, bench.issuer(), bench.request(1));
    for (verb, state, works) in [
        (Verb::Suspend, ListedState::Suspended, false),
        (Verb::Suspend, ListedState::Suspended, false),
        (Verb::Activate, ListedState::Active, true),
        (Verb::Activate, ListedState::Active, true),
    ] {
        issuer.change(&made.id, verb, &request).await.unwrap();
        assert_eq!(bench.accepts(&made.value), works, "{verb:?}");
        assert_eq!(bench.listed(&made.id).await.unwrap().state, state, "{verb:?}");
    }
    issuer.change(&made.id, Verb::Suspend, &request).await.unwrap();
    bench.end(&made.id).await.unwrap();
    assert!(bench.listed(&made.id).await.is_none(), "a token that is held back can be ended");
}

pub async fn a_reset_gives_a_new_value_and_the_old_one_works_on_for_a_time<V: Vendor>() {
    let grace = V::CAPABILITIES.reset.unwrap();
    let bench = Bench::<V>::new().await;
    let (old, issuer, request) = (bench.made(1).await, bench.issuer(), bench.request(2));
    let new = issuer.reset(&old.id, &request).await.unwrap();
    assert!(old.value.hash() != new.value.hash() && old.id != new.id);
    assert_eq!((new.attempt, new.expires_at), (2, None));
    assert!(bench.accepts(&old.value) && bench.accepts(&new.value));
    let listed = bench.listed(&new.id).await.unwrap();
    assert_eq!((&listed.name, listed.state), (&new.name, ListedState::Active));
    assert_eq!(bench.listed(&old.id).await.unwrap().state, ListedState::Active);

    bench.clock.advance(grace);
    assert!(!bench.accepts(&old.value) && bench.accepts(&new.value));
    let old = bench.listed(&old.id).await;
    assert!(
        old.is_none_or(|old| old.state == ListedState::Revoked),
        "what is over does not count as live"
    );
}

pub async fn a_token_gets_another_name<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    let request = TokenRequest {
        name: Some("shop.deploy k8s-0123abcd-0123456789-1".to_owned()),
        ..bench.request(1)
    };
    for _ in 0..2 {
        bench.issuer().update(&made.id, &request).await.unwrap();
        assert_eq!(bench.listed(&made.id).await.unwrap().name, request.name);
        assert!(bench.accepts(&made.value));
    }
}

pub async fn tokens_of_others_stay_as_they_are<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let foreign = bench.fake.with(|fake| V::plant(fake));
    let before = bench.fake.with(|fake| V::state_of(fake, &foreign));
    assert!(before.is_some());
    let (issuer, made) = (bench.issuer(), bench.made(1).await);
    assert_ne!(made.id, foreign);
    assert!(bench.listed(&foreign).await.is_some());
    let request = bench.request(2);
    if V::CAPABILITIES.suspend {
        issuer.change(&made.id, Verb::Suspend, &request).await.unwrap();
        issuer.change(&made.id, Verb::Activate, &request).await.unwrap();
    }
    if V::CAPABILITIES.update {
        issuer.update(&made.id, &request).await.unwrap();
    }
    if V::CAPABILITIES.reset.is_some() {
        issuer.reset(&made.id, &request).await.unwrap();
    }
    bench.end(&made.id).await.unwrap();
    assert_eq!(bench.fake.with(|fake| V::state_of(fake, &foreign)), before);
}

pub async fn what_a_vendor_can_not_is_refused_without_a_call<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let (issuer, can, made, request) = (bench.issuer(), V::CAPABILITIES, bench.made(1).await, bench.request(1));
    let before = bench.fake.calls().len();
    let mut results = Vec::new();
    if !can.suspend {
        results.push(issuer.change(&made.id, Verb::Suspend, &request).await);
        results.push(issuer.change(&made.id, Verb::Activate, &request).await);
    }
    if !can.revoke_before_delete {
        results.push(issuer.change(&made.id, Verb::Revoke, &request).await);
    }
    if !can.update {
        results.push(issuer.update(&made.id, &request).await);
    }
    if can.reset.is_none() {
        results.push(issuer.reset(&made.id, &request).await.map(drop));
    }
    for result in results {
        assert!(matches!(result, Err(IssuerError::Refused(_))), "{result:?}");
    }
    assert_eq!(bench.fake.calls().len(), before);
    assert!(bench.accepts(&made.value));
}
