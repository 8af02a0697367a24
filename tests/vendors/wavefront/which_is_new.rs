//! Which of the tokens is the one just made: the vendor gives a list.

use apitoken_operator::issuers::IssuerError;

use super::{OwnUser, ServiceAccount, id_of};
use crate::{
    contract::{Bench, Vendor},
    fakes::{
        Fault, Shown,
        wavefront::{ACCOUNT, Race, USER, Wavefront},
    },
};

/// A vendor at which somebody else makes a token with each of ours.
async fn racing<V: Vendor<Fake = Wavefront>>(first: bool, name: Option<&'static str>) -> Bench<V> {
    let bench = Bench::<V>::new().await;
    bench.fake.with(|fake| fake.race = Some(Race { first, name }));
    bench
}

/// The names of all tokens.
fn names<V: Vendor<Fake = Wavefront>>(bench: &Bench<V>) -> Vec<Option<String>> {
    let mut names: Vec<_> = bench.fake.with(|fake| fake.tokens().map(|token| token.name.clone()).collect());
    names.sort();
    names
}

/// Whether ours has its name and theirs is as they made it.
async fn makes_one_beside<V: Vendor<Fake = Wavefront>>(bench: Bench<V>, theirs: Option<&str>) {
    let made = bench.made(1).await;
    assert_eq!(made.name, bench.request(1).name);
    assert_eq!(bench.fake.with(|fake| fake.token_mut(made.value.expose()).name.clone()), made.name);
    let mut expected = [made.name, theirs.map(str::to_owned)];
    expected.sort();
    assert_eq!(names(&bench), expected);
}

#[tokio::test]
async fn a_token_of_a_service_account_is_known_by_its_name_wherever_it_stands() {
    for first in [true, false] {
        for theirs in [None, Some("theirs")] {
            makes_one_beside(racing::<ServiceAccount>(first, theirs).await, theirs).await;
        }
    }
}

#[tokio::test]
async fn a_token_of_the_own_user_is_the_only_new_one_without_a_name_and_gets_ours() {
    for first in [true, false] {
        let theirs = Some("theirs");
        makes_one_beside(racing::<OwnUser>(first, theirs).await, theirs).await;
    }
}

#[tokio::test]
async fn where_two_are_new_and_neither_has_a_name_nobody_knows() {
    for first in [true, false] {
        let bench = racing::<OwnUser>(first, None).await;
        let made = bench.issuer().create(&bench.request(1)).await;
        assert!(matches!(made.err(), Some(IssuerError::OutcomeUnknown(_))));
        assert_eq!(names(&bench), [None, None], "both stay as they are");
        let listed = bench.issuer().list(&bench.request(1)).await.unwrap();
        assert_eq!(listed.iter().filter(|token| token.fits).count(), 2);
    }
}

#[tokio::test]
async fn where_one_has_our_name_only_that_one_fits() {
    let bench = Bench::<OwnUser>::new().await;
    let request = bench.request(1);
    let values = bench.fake.with(|fake| {
        let ours = fake.plant(USER, None);
        (ours, fake.plant(USER, None), fake.plant(USER, Some("theirs")))
    });
    let fitting = || async {
        let listed = bench.issuer().list(&request).await.unwrap();
        let fitting = listed.into_iter().filter(|token| token.fits);
        fitting.map(|token| token.id).collect::<Vec<_>>()
    };
    assert_eq!(fitting().await, [id_of(&values.0), id_of(&values.1)]);
    bench.fake.with(|fake| fake.token_mut(&values.0).name = request.name.clone());
    assert_eq!(fitting().await, [id_of(&values.0)]);
}

#[tokio::test]
async fn a_token_that_can_not_get_its_name_is_there_without() {
    let bench = Bench::<OwnUser>::new().await;
    bench.fake.next("update", Fault::not_done(Shown::Status(500)));
    let made = bench.made(1).await;
    assert_eq!(made.name, None);
    assert!(bench.accepts(&made.value));
    assert!(
        bench
            .issuer()
            .list(&bench.request(1))
            .await
            .unwrap()
            .iter()
            .any(|token| token.id == made.id && token.fits)
    );
}

#[tokio::test]
async fn the_time_of_another_clock_hides_no_token_that_has_no_name_yet() {
    let (own, service) = (Bench::<OwnUser>::new().await, Bench::<ServiceAccount>::new().await);
    let (made, named) = (own.made(1).await, service.made(1).await);
    assert_eq!(own.listed(&made.id).await.unwrap().created_at, None);
    assert_eq!(service.listed(&named.id).await.unwrap().created_at, Some(service.clock.now()));
}

#[tokio::test]
async fn a_full_account_is_not_asked_for_another_token() {
    let bench = Bench::<ServiceAccount>::new().await;
    bench.fake.with(|fake| fake.fill(ACCOUNT));
    let made = bench.issuer().create(&bench.request(1)).await;
    assert_eq!(made.err(), Some(IssuerError::QuotaExceeded));
    assert_eq!(bench.fake.calls(), ["GET /api/v2/apitoken/serviceaccount/sa::ci"]);
}

#[tokio::test]
async fn an_account_that_somebody_else_fills_in_the_same_moment_is_told_from_other_refusals() {
    let bench = racing::<ServiceAccount>(true, None).await;
    bench.fake.with(|fake| (0..19).for_each(|_| drop(fake.plant(ACCOUNT, None))));
    let made = bench.issuer().create(&bench.request(1)).await;
    assert_eq!(made.err(), Some(IssuerError::QuotaExceeded));

    let bench = Bench::<ServiceAccount>::new().await;
    bench.fake.next("create", Fault::not_done(Shown::Status(400)));
    let made = bench.issuer().create(&bench.request(1)).await;
    assert!(matches!(made.err(), Some(IssuerError::Refused(_))));
}
