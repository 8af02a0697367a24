//! What is said of a call that failed is true.

use apitoken_operator::issuers::{IssuerError, Verb};
use futures::future::join_all;

use super::{Bench, Vendor};
use crate::fakes::{ANY, Fault, Shown};

/// Seeds of random faults.
const SEEDS: u64 = 8;

pub async fn what_is_said_of_a_failed_create_is_true<V: Vendor>() {
    let sweep = Fault::all().into_iter().map(|fault| async move {
        let bench = Bench::<V>::new().await;
        bench.fake.next("create", fault.clone());
        let error = bench.facing(&fault).create(&bench.request(1)).await.err();
        is_true::<V>(&bench, 0, &fault, error);
        bench.fake.heal();
        let made = bench.made(2).await;
        assert!(bench.accepts(&made.value), "after {fault:?}");
    });
    join_all(sweep).await;
}

pub async fn what_is_said_of_a_failed_reset_is_true<V: Vendor>() {
    let sweep = Fault::all().into_iter().map(|fault| async move {
        let bench = Bench::<V>::new().await;
        let made = bench.made(1).await;
        bench.fake.next("reset", fault.clone());
        let error = bench.facing(&fault).reset(&made.id, &bench.request(2)).await.err();
        is_true::<V>(&bench, 1, &fault, error);
        assert!(bench.accepts(&made.value), "{fault:?}");
    });
    join_all(sweep).await;
}

/// Either nobody knows, or nothing was done.
fn is_true<V: Vendor>(bench: &Bench<V>, before: usize, fault: &Fault, error: Option<IssuerError>) {
    let error = error.unwrap_or_else(|| panic!("{fault:?} is noticed"));
    let made = bench.count() - before;
    let sent_in_time = fault.shown != Shown::Silence || made > 0;
    assert!(!sent_in_time || made == usize::from(fault.done), "{fault:?}");
    assert!(
        made == 0 || is_unknown(&error),
        "after {fault:?} a token is there, and it is said: {error}"
    );
    if let Shown::Limited(_) = fault.shown {
        assert!(matches!(error, IssuerError::RateLimited { .. }), "{error}");
    }
}

fn is_unknown(error: &IssuerError) -> bool {
    matches!(error, IssuerError::OutcomeUnknown(_))
}

pub async fn other_calls_fail_and_succeed_when_they_are_repeated<V: Vendor>() {
    join_all(Fault::all().into_iter().map(repeat::<V>)).await;
}

/// A failed call tells of it, and does no harm: the same call succeeds when the vendor is well again.
async fn repeat<V: Vendor>(fault: Fault) {
    let bench = Bench::<V>::new().await;
    let (made, request) = (bench.made(1).await, bench.request(1));
    bench.fake.always(ANY, fault.clone());
    assert!(bench.facing(&fault).list(&request).await.is_err(), "{fault:?}");
    assert!(bench.facing(&fault).inventory().await.is_err(), "{fault:?}");
    bench.fake.heal();
    assert!(bench.listed(&made.id).await.is_some());

    let can = V::CAPABILITIES;
    let suspends = [Verb::Suspend, Verb::Activate].into_iter().filter(|_| can.suspend);
    let revokes = [Verb::Revoke].into_iter().filter(|_| can.revoke_before_delete);
    for verb in suspends.chain(revokes).chain([Verb::Delete]) {
        bench.fake.always(ANY, fault.clone());
        let changed = bench.facing(&fault).change(&made.id, verb, &request).await;
        // Half of an empty answer is a whole one.
        assert!(changed.is_err() || fault.done, "{verb:?}, {fault:?}");
        bench.fake.heal();
        bench.issuer().change(&made.id, verb, &request).await.unwrap();
    }
    assert_eq!(bench.count(), 0, "{fault:?}");
    assert!(!bench.accepts(&made.value));
}

pub async fn a_list_that_lags_costs_no_token<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let one = bench.made(1).await;
    let changes = bench.fake.calls().iter().filter(|call| !call.starts_with("GET")).count();
    bench.fake.lag(changes);
    let other = bench.made(2).await;
    assert!(bench.accepts(&one.value) && bench.accepts(&other.value));
    assert!(one.id != other.id && one.value.hash() != other.value.hash());
    assert!(bench.listed(&other.id).await.is_none(), "it lags");
    bench.fake.heal();
    assert!(bench.listed(&other.id).await.is_some());
}

pub async fn through_random_faults_no_token_goes_unnoticed<V: Vendor>() {
    let sweep = (0..SEEDS).map(|seed| async move {
        let bench = Bench::<V>::new().await;
        let quick: Vec<Fault> = Fault::all().into_iter().filter(|fault| fault.shown != Shown::Silence).collect();
        bench.fake.random(seed, 3, quick);
        let (mut known, mut unknown) = (Vec::new(), 0);
        for attempt in 0..10 {
            // A new one each time, so that nothing is held back.
            match bench.issuer().create(&bench.request(attempt)).await {
                Ok(made) => known.push(made),
                Err(error) => unknown += usize::from(is_unknown(&error)),
            }
        }
        let possible = known.len()..=known.len() + unknown;
        assert!(possible.contains(&bench.count()), "seed {seed}: {} of {possible:?}", bench.count());
        assert!(known.iter().all(|made| bench.accepts(&made.value)), "seed {seed}");
    });
    join_all(sweep).await;
}
