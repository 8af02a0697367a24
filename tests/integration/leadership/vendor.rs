//! Two replicas that both work, on the tokens of a vendor.

use std::collections::BTreeMap;

use apitoken_operator::api::TokenIssuer;
use jiff::SignedDuration;

use super::*;
use crate::{
    support::{in_time, tokens::status},
    vendors::world::Vendors,
};

const COUNT: usize = 20;
/// The only vendor's tokens whose names tell what they are for.
const VENDOR: &str = "mailtrap";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_both_work_leave_one_token_each_at_a_vendor() {
    let ground = Ground::new("two-at-a-vendor").await;
    ground.allows_ledgers();
    let vendors = Vendors::beside(ground.plane, &ground.team.namespace, SignedDuration::ZERO).await;
    let arguments = ["--allow-private-issuers"];
    let (one, other) = (ground.replica_by(None, &arguments).await, ground.replica_by(None, &arguments).await);
    vendors.declare_issuer(VENDOR).await;
    vendors.until_ready(VENDOR).await;
    let names: Vec<String> = (0..COUNT).map(|number| format!("token-{number}")).collect();
    // Of every other one the old value works on for a while.
    let keeps_old = |number: usize| number % 2 == 1;
    let declare = async |number: usize| {
        let overlap = if keeps_old(number) { "1h" } else { "0s" };
        let fields = json!({ "rotation": { "interval": "240h", "overlap": overlap } });
        drop(vendors.declare(VENDOR, &names[number], fields).await);
    };
    join_all((0..COUNT).map(declare)).await;
    let first = settled(&vendors, &names, 0, &[]).await;

    join_all(names.iter().map(|name| ground.team.request(name, "now"))).await;
    let kept: Vec<String> = (0..COUNT)
        .filter(|number| keeps_old(*number))
        .map(|number| first[&names[number]].clone())
        .collect();
    let second = settled(&vendors, &names, 1, &kept).await;
    assert!(names.iter().all(|name| first[name] != second[name]), "each has a new value");

    let calls = vendors.calls(VENDOR);
    let made = calls.iter().filter(|call| call.starts_with("POST ")).count();
    println!(
        "{made} tokens were made for {} that are wanted, in {} calls",
        2 * COUNT,
        calls.len()
    );
    for program in [one, other] {
        assert!(leads(&program).await);
        assert!(program.terminate().await.0.success());
    }
}

impl Ground<'_> {
    /// Lets them keep ledgers in their namespace.
    fn allows_ledgers(&self) {
        let namespace = &self.team.namespace;
        let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
        let rights = ["--verb=get,list,watch,create,update,patch,delete", "--resource=configmaps"];
        self.plane
            .kubectl(&[&["create", "role", "ledgers", "-n", namespace], &rights[..]].concat());
        self.plane
            .kubectl(&["create", "rolebinding", "ledgers", "-n", namespace, "--role=ledgers", &account]);
    }
}

/// Waits until all were rotated so often, and at the vendor there are their values, those that are kept, and nothing else: the
/// value of each.
async fn settled(vendors: &Vendors, names: &[String], rotated: i64, kept: &[String]) -> BTreeMap<String, String> {
    for name in names {
        vendors.team.rotated(name, rotated).await;
    }
    let values = async || {
        let of = async |name: &String| (name.clone(), vendors.team.value(name, "token").await);
        join_all(names.iter().map(of)).await.into_iter().collect::<BTreeMap<_, _>>()
    };
    let at_rest = async || {
        let tokens = vendors.team.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
        tokens.iter().all(|token| status(token).pending.is_none())
    };
    let settled = in_time(|| async {
        let values = values().await;
        let wanted: BTreeSet<&String> = values.values().chain(kept).collect();
        let there = vendors.values(VENDOR);
        let same = there.len() == wanted.len() && there.iter().all(|value| wanted.contains(value));
        (at_rest().await && same).then_some(values)
    })
    .await;
    let issuer = vendors.team.api::<TokenIssuer>().get(VENDOR).await.unwrap();
    let orphans = issuer.status.unwrap_or_default().orphans;
    let counts = (vendors.values(VENDOR).len(), names.len() + kept.len());
    let settled = settled.unwrap_or_else(|| panic!("tokens there and wanted: {counts:?}, {orphans:?}, {:?}", vendors.calls(VENDOR)));
    assert!(orphans.is_empty(), "{orphans:?}");
    settled
}
