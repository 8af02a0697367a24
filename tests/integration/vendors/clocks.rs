//! Vendors whose clocks are minutes off.

use jiff::SignedDuration;
use serde_json::json;

use super::{
    until_gone, until_values,
    world::{VENDORS, Vendors},
};
use crate::{
    fakes::{Fault, Shown},
    support::{remote::for_each, tokens::status},
};
use apitoken_operator::api::{ApiToken, TokenIssuer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_leaves_no_token_behind_and_ends_nobody_elses_whatever_the_vendors_clock_says() {
    for_each([-5, 5], async |minutes| {
        let ahead = SignedDuration::from_mins(minutes);
        let vendors = Vendors::with_clocks("clocks", ahead).await;
        vendors.always("create", Fault::done(Shown::Closed));
        let lives = |vendor: &str| match vendor {
            "prefactor" => json!({ "lifetime": "240h", "rotation": { "overlap": "1h" } }),
            _ => json!({}),
        };
        let name = |vendor: &str| format!("ci-{vendor}");
        for vendor in VENDORS {
            vendors.declare(vendor, &name(vendor), lives(vendor)).await;
            let tried = |token: &ApiToken| status(token).pending.is_some() && status(token).failures.is_some();
            vendors.team.until(&name(vendor), "the answer got lost", tried).await;
        }
        vendors.heal();
        for vendor in VENDORS {
            let name = name(vendor);
            // Two hand-overs: the first ends what was made, the second finds nothing.
            for _ in 0..4 {
                vendors.later(SignedDuration::from_secs(30), &name).await;
            }
            vendors.team.ready(&name).await;
            let value = vendors.team.value(&name, "token").await;
            until_values(&vendors, vendor, &[&value]).await;
            let orphans = vendors.team.api::<TokenIssuer>().get(vendor).await.unwrap().status.unwrap().orphans;
            assert!(orphans.is_empty(), "{vendor}, {minutes} min ahead: {orphans:?}");
            vendors.team.delete::<ApiToken>(&name).await;
            until_gone(&vendors, &name).await;
            until_values(&vendors, vendor, &[]).await;
        }
        vendors.stop().await;
    })
    .await;
}
