//! What a vendor refuses, and how it is told.

use std::sync::Arc;

use apitoken_operator::issuers::{Issuer, IssuerError, TokenRequest, Verb};
use jiff::SignedDuration;

use super::{Bench, PATIENT, Vendor, open};
use crate::fakes::{ANY, Fault, Shown};

/// What an adapter says to each call that its vendor can do, on that token.
async fn each_call<V: Vendor>(issuer: Arc<dyn Issuer>, id: &str, request: &TokenRequest) -> Vec<(&'static str, Option<IssuerError>)> {
    let can = V::CAPABILITIES;
    let mut said = vec![
        ("inventory", issuer.inventory().await.err()),
        ("list", issuer.list(request).await.err()),
        ("create", issuer.create(request).await.err()),
    ];
    if can.reset.is_some() {
        said.push(("reset", issuer.reset(id, request).await.err()));
    }
    if can.update {
        said.push(("update", issuer.update(id, request).await.err()));
    }
    if can.suspend {
        said.push(("suspend", issuer.change(id, Verb::Suspend, request).await.err()));
        said.push(("activate", issuer.change(id, Verb::Activate, request).await.err()));
    }
    if can.revoke_before_delete {
        said.push(("revoke", issuer.change(id, Verb::Revoke, request).await.err()));
    }
    said.push(("delete", issuer.change(id, Verb::Delete, request).await.err()));
    said
}

pub async fn a_wrong_credential_is_told<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    let issuer = open(V::spec(bench.fake.url()), "a-credential-that-nobody-has", PATIENT);
    for (call, said) in each_call::<V>(issuer, &made.id, &bench.request(2)).await {
        assert_eq!(said, Some(IssuerError::CredentialRefused), "{call}");
    }
    assert_eq!(bench.count(), 1);
}

pub async fn a_missing_right_is_told<V: Vendor>() {
    let reader = V::READER.unwrap();
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    let before = bench.fake.with(|fake| V::state_of(fake, &made.id));
    let issuer = open(V::spec(bench.fake.url()), reader, PATIENT);
    for (call, said) in each_call::<V>(issuer, &made.id, &bench.request(2)).await {
        match call {
            "list" | "inventory" => assert_eq!(said, None, "{call}"),
            _ => assert!(matches!(said, Some(IssuerError::NotPermitted(_))), "{call}: {said:?}"),
        }
    }
    assert_eq!(bench.fake.with(|fake| V::state_of(fake, &made.id)), before);
    assert_eq!(bench.count(), 1);
}

pub async fn an_unknown_account_is_told<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let issuer = open(V::spec_of_another_account(bench.fake.url()).unwrap(), V::CREDENTIAL, PATIENT);
    let (listed, made) = (issuer.list(&bench.request(1)).await, issuer.create(&bench.request(1)).await);
    assert_eq!(listed.err(), Some(IssuerError::AccountNotFound));
    assert_eq!(made.err(), Some(IssuerError::AccountNotFound));
    assert_eq!(bench.count(), 0);
}

pub async fn a_quota_that_is_used_up_is_told<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    assert!(bench.fake.with(|fake| V::use_up_quota(fake)));
    let before = bench.count();
    let made = bench.issuer().create(&bench.request(1)).await;
    assert_eq!(made.err(), Some(IssuerError::QuotaExceeded));
    assert_eq!(bench.count(), before);
}

pub async fn calls_are_held_back_when_the_vendor_asks_for_it<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    let (issuer, request) = (bench.issuer(), bench.request(2));
    bench.fake.next(ANY, Fault::not_done(Shown::Limited(Some(40))));
    let first = issuer.create(&request).await.err();
    assert_eq!(
        first,
        Some(IssuerError::RateLimited {
            retry_after: Some(SignedDuration::from_secs(40))
        })
    );
    let before = bench.fake.calls().len();
    for (call, said) in each_call::<V>(issuer, &made.id, &request).await {
        assert!(
            matches!(said, Some(IssuerError::RateLimited { retry_after: Some(_) })),
            "{call}: {said:?}"
        );
    }
    assert_eq!(bench.fake.calls().len(), before, "none of them was sent");
    assert_eq!(bench.count(), 1);
}
