//! What the vendor's answers mean, in whatever form they come.

use apitoken_operator::issuers::{IssuerError, Verb};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{OwnUser, ServiceAccount, spec_of};
use crate::{
    contract::{Bench, PATIENT, open},
    fakes::{
        ANY, Fault, Shown,
        wavefront::{ACCOUNT, NARROW, READER},
    },
};

/// An answer with the status 200 that is an error.
fn error(code: Value) -> Fault {
    let body = json!({ "status": { "result": "ERROR", "message": "no", "code": code } });
    Fault::not_done(Shown::Bytes(body.to_string().into_bytes()))
}

#[tokio::test]
async fn an_error_in_a_success_counts_by_its_code() {
    let bench = Bench::<ServiceAccount>::new().await;
    let made = bench.made(1).await;
    bench.fake.with(|fake| fake.errors_in_success = true);
    let url = bench.fake.url();
    let create = async |account: &str, credential: &str| {
        let issuer = open(spec_of(url, Some(account)), credential, PATIENT);
        issuer.create(&bench.request(2)).await.err().unwrap()
    };
    assert_eq!(create(ACCOUNT, "wrong").await, IssuerError::CredentialRefused);
    assert!(matches!(create(ACCOUNT, READER).await, IssuerError::NotPermitted(_)));
    assert_eq!(create("sa::nobody", super::CREDENTIAL).await, IssuerError::AccountNotFound);
    assert_eq!(bench.count(), 1);
    bench.fake.with(|fake| fake.accounts.clear());
    bench.issuer().change(&made.id, Verb::Delete, &bench.request(1)).await.unwrap();
    assert_eq!(bench.count(), 0, "by the customer's list");
}

#[tokio::test]
async fn after_an_error_in_a_success_it_is_known_what_was_done() {
    for (code, expected) in [
        (json!(400), "refused"),
        (json!(409), "refused"),
        (json!(500), "unknown"),
        (json!(0), "unknown"),
        (json!(null), "unknown"),
        (json!(429), "limited"),
    ] {
        let bench = Bench::<OwnUser>::new().await;
        bench.fake.next("create", error(code.clone()));
        let error = bench.issuer().create(&bench.request(1)).await.err();
        let said = match error {
            Some(IssuerError::Refused(_)) => "refused",
            Some(IssuerError::OutcomeUnknown(_)) => "unknown",
            Some(IssuerError::RateLimited { .. }) => "limited",
            _ => "something else",
        };
        assert_eq!(said, expected, "{code}");
    }
}

#[tokio::test]
async fn a_token_is_gone_where_the_vendor_says_so_and_not_where_a_gateway_does() {
    let bench = Bench::<ServiceAccount>::new().await;
    let (made, request) = (bench.made(1).await, bench.request(1));
    bench.fake.next("delete", Fault::not_done(Shown::Status(404)));
    let deleted = bench.issuer().change(&made.id, Verb::Delete, &request).await;
    assert!(matches!(deleted, Err(IssuerError::Unavailable(_))), "{deleted:?}");
    bench.fake.next("delete", error(json!(404)));
    bench.issuer().change(&made.id, Verb::Delete, &request).await.unwrap();
}

#[tokio::test]
async fn a_wish_for_fewer_calls_in_a_success_holds_all_calls_back() {
    let bench = Bench::<ServiceAccount>::new().await;
    let issuer = bench.issuer();
    bench.fake.next(ANY, error(json!(429)));
    for _ in 0..2 {
        let Err(IssuerError::RateLimited { retry_after }) = issuer.inventory().await else {
            panic!("it is told");
        };
        assert!(retry_after.is_some_and(|wait| wait > SignedDuration::ZERO));
    }
    assert_eq!(bench.fake.calls().len(), 1);
}

#[tokio::test]
async fn a_list_that_is_not_all_there_is_never_taken_for_an_empty_one() {
    for body in [
        json!({ "status": { "result": "OK", "code": 200 } }),
        json!({ "status": { "result": "OK", "code": 200 }, "response": null }),
        json!({ "status": { "result": "OK", "code": 200 }, "response": {} }),
        json!({ "status": { "result": "OK", "code": 200 }, "response": [{ "tokenName": "no id" }] }),
        json!({ "status": { "result": "OK", "code": 200 }, "response": [{ "tokenID": "" }] }),
        json!({ "response": [] }),
        json!([]),
    ] {
        let bench = Bench::<ServiceAccount>::new().await;
        let made = bench.made(1).await;
        bench
            .fake
            .always("list", Fault::not_done(Shown::Bytes(body.to_string().into_bytes())));
        let (issuer, request) = (bench.issuer(), bench.request(1));
        assert!(
            matches!(issuer.list(&request).await.err(), Some(IssuerError::Unavailable(_))),
            "{body}"
        );
        let deleted = issuer.change(&made.id, Verb::Delete, &request).await;
        assert!(matches!(deleted, Err(IssuerError::Unavailable(_))), "{body}");
        assert!(bench.accepts(&made.value));
    }
}

#[tokio::test]
async fn nothing_that_the_vendor_writes_of_an_error_is_shown() {
    let bench = Bench::<ServiceAccount>::new().await;
    let others = bench.fake.with(|fake| fake.plant(ACCOUNT, None));
    let body = json!({ "status": { "result": "ERROR", "message": format!("see {others}"), "code": 400 } }).to_string();
    for operation in ["list", "create", "delete", "update"] {
        bench
            .fake
            .always(operation, Fault::not_done(Shown::Bytes(body.clone().into_bytes())));
        let issuer = open(spec_of(bench.fake.url(), Some(ACCOUNT)), NARROW, PATIENT);
        let (request, id) = (bench.request(1), super::id_of(&others));
        let said = match operation {
            "list" => issuer.list(&request).await.err(),
            "create" => issuer.create(&request).await.err(),
            "update" => issuer.update(&id, &request).await.err(),
            _ => issuer.change(&id, Verb::Delete, &request).await.err(),
        };
        let text = said.map(|error| format!("{error} {error:?}")).unwrap();
        assert!(
            text.contains("status 400") && !text.contains(&others) && !text.contains("see"),
            "{text}"
        );
        bench.fake.heal();
    }
}
