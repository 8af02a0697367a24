//! Tokens of the four vendors on a real API server, from issue to deletion, and through all that goes wrong.

use std::time::Duration;

use apitoken_operator::api::{ApiToken, TokenIssuer, api_token::ObservedState, conditions::ConditionType};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    fakes::{ANY, Fault, Shown},
    support::{
        DEADLINE, eventually,
        tokens::{is_true, rotations, state, status},
    },
};

mod clocks;
mod self_issued;
mod tenants;
pub mod world;

use self::world::{VENDORS, Vendors};

const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// Waits until exactly these values work at a vendor.
async fn until_values(vendors: &Vendors, vendor: &str, expected: &[&String]) {
    eventually(&format!("{} values work at {vendor}", expected.len()), || async {
        let mut values = vendors.values(vendor);
        let mut expected: Vec<_> = expected.iter().map(|value| value.to_string()).collect();
        values.sort();
        expected.sort();
        (values == expected).then_some(())
    })
    .await;
}

async fn until_gone(vendors: &Vendors, name: &str) {
    eventually(&format!("{name} goes"), || async {
        vendors.team.api::<ApiToken>().get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
}

/// From issue to deletion, as a team sees it: what the Secret holds works when it should, and only then.
async fn lives(vendors: &Vendors, vendor: &str) {
    let (team, name) = (&vendors.team, format!("ci-{vendor}"));
    let name = name.as_str();
    let fields = json!({ "rotation": { "interval": "24h", "overlap": "1h" }, "suspendPolicy": suspend_policy(vendor) });
    vendors.declare(vendor, name, fields).await;
    team.ready(name).await;
    let first = team.value(name, "token").await;
    until_values(vendors, vendor, &[&first]).await;

    vendors.clock.advance(SignedDuration::from_secs(10));
    team.request(name, "1").await;
    let rotated = |token: &ApiToken| rotations(token) == 1 && is_true(token, ConditionType::Ready) && status(token).pending.is_none();
    team.until(name, "rotated", rotated).await;
    let second = team.value(name, "token").await;
    assert_ne!(first, second);
    until_values(vendors, vendor, &[&first, &second]).await;
    vendors.later(OVERLAP, name).await;
    until_values(vendors, vendor, &[&second]).await;

    team.change(name, json!({ "spec": { "state": "Suspended" } })).await;
    team.until(name, "suspended", |token| state(token) == Some(ObservedState::Suspended))
        .await;
    until_values(vendors, vendor, &[]).await;
    vendors.clock.advance(SignedDuration::from_secs(10));
    team.change(name, json!({ "spec": { "state": "Active" } })).await;
    team.until(name, "active", |token| {
        state(token) == Some(ObservedState::Active) && is_true(token, ConditionType::Ready)
    })
    .await;
    let third = team.value(name, "token").await;
    assert_eq!(third == second, suspend_policy(vendor) == "Disable", "withdrawing ends the value");
    until_values(vendors, vendor, &[&third]).await;

    team.delete::<ApiToken>(name).await;
    until_gone(vendors, name).await;
    until_values(vendors, vendor, &[]).await;
}

/// Native where the vendor can.
fn suspend_policy(vendor: &str) -> &'static str {
    match vendor {
        "prefactor" | "softwareone" => "Disable",
        _ => "Withdraw",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_each_vendor_lives_from_issue_to_deletion() {
    let vendors = Vendors::new("vendors").await;
    for vendor in VENDORS {
        lives(&vendors, vendor).await;
        let made = format!("apitoken_vendor_requests_total{{vendor=\"{vendor}\",operation=\"create\",result=\"success\"}} ");
        assert!(vendors.metrics().contains(&made), "{}", vendors.metrics());
    }
    assert!(vendors.metrics().contains("apitoken_orphans{reason=\"Found\"} 0\n"));
    vendors.stop().await;
}

/// Tokens at each vendor; Wavefront has room for 20 in an account, and one of them is somebody else's.
const MANY: [(&str, usize); 4] = [("mailtrap", 62), ("prefactor", 62), ("softwareone", 62), ("wavefront", 14)];
/// Calls for one token that is made and replaced twice, each time with a list before it and an end after it, and what goes wrong.
const MOST_CALLS: usize = 60;
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(30);

fn names() -> Vec<(&'static str, String)> {
    let of = |(vendor, count): (&'static str, usize)| (0..count).map(move |number| (vendor, format!("{vendor}-{number}")));
    MANY.into_iter().flat_map(of).collect()
}

/// Its tokens have no names.
const NAMELESS: &str = "prefactor";
const AMBIGUOUS: &str = "Ambiguous";

/// The last request for a rotation.
const LAST: &str = "2";

/// A token that is at rest, and made after the last request.
fn is_done(token: &ApiToken) -> bool {
    let at_rest = status(token).pending.is_none() && status(token).previous.is_empty();
    let answered = status(token).last_rotation_request.as_deref() == Some(LAST);
    at_rest && answered && is_true(token, ConditionType::Ready)
}

async fn not_done(vendors: &Vendors) -> Vec<ApiToken> {
    let tokens = vendors.team.api::<ApiToken>().list(&Default::default()).await.unwrap();
    tokens.items.into_iter().filter(|token| !is_done(token)).collect()
}

/// Tokens without names that nobody can tell apart: they are written down and left alone. An operator that is ended here may
/// take a last step beside the next one.
async fn unclear(vendors: &Vendors) -> usize {
    let issuer = vendors.team.api::<TokenIssuer>().get(NAMELESS).await.unwrap();
    let orphans = issuer.status.unwrap_or_default().orphans;
    orphans.iter().filter(|orphan| orphan.reason == AMBIGUOUS).count()
}

/// Waits until every token is done, and at each vendor there is what the Secrets hold and the ledger has, and nothing else. What
/// waits, waits by the clock of the test.
async fn end_clean(vendors: &Vendors) {
    let end = Instant::now() + 3 * DEADLINE;
    loop {
        let left = not_done(vendors).await;
        let unclear = unclear(vendors).await;
        let of = |vendor: &str| if vendor == NAMELESS { unclear } else { 0 };
        let whole = MANY
            .iter()
            .all(|(vendor, count)| vendors.values(vendor).len() == count + of(vendor));
        if left.is_empty() && whole {
            return;
        }
        assert!(Instant::now() < end, "not clean in time: {}", what_is_left(vendors, &left).await);
        vendors.clock.advance(SignedDuration::from_secs(15));
        for vendor in VENDORS {
            vendors.nudge_issuer(vendor).await;
        }
        let names: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
        stream::iter(&names).for_each_concurrent(8, |name| vendors.team.nudge(name)).await;
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tokens_end_clean_through_outages_limits_lost_answers_and_crashes() {
    let mut vendors = Vendors::new("many").await;
    let (team, all) = (vendors.team.clone(), names());
    stream::iter(&all)
        .for_each_concurrent(8, |(vendor, name)| {
            let vendors = &vendors;
            async move { drop(vendors.declare(vendor, name, json!({ "rotation": { "interval": "240h" } })).await) }
        })
        .await;
    let lost = [
        Fault::done(Shown::Closed),
        Fault::not_done(Shown::Closed),
        Fault::not_done(Shown::Status(500)),
    ];
    vendors.random(7, 20, &lost);
    let end = Instant::now() + TROUBLE;
    let mut round = 0;
    while Instant::now() < end {
        sleep(Duration::from_secs(3)).await;
        round += 1;
        vendors.clock.advance(SignedDuration::from_secs(20));
        vendors.crash().await;
        match round {
            3 => stream::iter(&all).for_each_concurrent(8, |(_, name)| team.request(name, "1")).await,
            4 => vendors.always(ANY, Fault::not_done(Shown::Status(503))),
            5 => {
                vendors.heal();
                vendors.always(ANY, Fault::not_done(Shown::Limited(Some(2))));
            }
            6 => {
                vendors.heal();
                vendors.random(8, 20, &lost);
            }
            _ => {}
        }
    }
    vendors.heal();
    stream::iter(&all)
        .for_each_concurrent(8, |(_, name)| team.request(name, LAST))
        .await;
    end_clean(&vendors).await;
    for (vendor, name) in &all {
        let value = team.value(name, "token").await;
        assert!(vendors.values(vendor).contains(&value), "{name} holds a value that works");
    }
    for (vendor, count) in MANY {
        let issuer = team.api::<TokenIssuer>().get(vendor).await.unwrap();
        let calls = vendors.calls(vendor).len();
        println!("{vendor}: {count} tokens, {calls} calls, {} a token", calls / count);
        assert!(calls <= MOST_CALLS * count, "{vendor}: {calls} calls for {count} tokens");
        let mut orphans = issuer.status.unwrap_or_default().orphans;
        orphans.retain(|orphan| vendor != NAMELESS || orphan.reason != AMBIGUOUS);
        assert!(orphans.is_empty(), "{vendor}: {orphans:?}");
    }
    vendors.stop().await;
}

async fn what_is_left(vendors: &Vendors, left: &[ApiToken]) -> String {
    let first: Vec<String> = left.iter().take(3).map(|token| format!("{:?}", status(token))).collect();
    let counts: Vec<_> = MANY
        .iter()
        .map(|(vendor, count)| (vendor, count, vendors.values(vendor).len()))
        .collect();
    let issuers = vendors.team.api::<TokenIssuer>().list(&Default::default()).await.unwrap();
    let ledgers: Vec<_> = issuers
        .items
        .iter()
        .map(|issuer| issuer.status.as_ref().map(|status| status.orphans.len()))
        .collect();
    format!("{counts:?}, ledgers of {ledgers:?}, {} not done: {first:#?}", left.len())
}
