//! The ledgers, and the end of what is left in them.

use apitoken_operator::api::{TokenIssuer, names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::Plugin;
use crate::support::{Bed, tokens::Team};

const SINCE: &str = "2026-01-01T00:00:00Z";

/// A page of a ledger, as the operator writes one.
async fn page(team: &Team, name: &str, key: &str) {
    let entry = json!({ "id": format!("of-{name}"), "reason": "NotRevoked", "since": SINCE, "apiToken": "shop/mail" });
    let object = json!({
        "metadata": {
            "name": name, "labels": { names::LEDGER_LABEL: key },
            "annotations": {
                names::LEDGER_KIND_ANNOTATION: "TokenIssuer", names::LEDGER_NAMESPACE_ANNOTATION: "shop", names::LEDGER_NAME_ANNOTATION: name,
            },
        },
        "data": { "a": entry.to_string() },
    });
    let api: Api<ConfigMap> = team.api();
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_an_issuer_that_is_gone_is_forgotten_when_asked() {
    let Bed { plane, team, operator } = Bed::new("plugin-orphans").await;
    // The namespace of the test stands for the operator's: other tests have their ledgers there.
    let plugin = Plugin::new(plane, &team.namespace);
    let place = format!("--operator-namespace={}", team.namespace);
    plugin.run(&["orphans", &place]).await.told(0, "No orphans");

    let issuer = team.issuer("own", json!({ "builtin": {} })).await;
    let orphan = json!({ "status": { "orphans": [{ "id": "of-own", "reason": "Found", "since": SINCE }] } });
    let api: Api<TokenIssuer> = team.api();
    api.patch_status("own", &PatchParams::default(), &Patch::Merge(orphan))
        .await
        .unwrap();
    page(&team, "gone", "0123456789abcdef").await;
    page(&team, "living", &ledger_key(&team, &issuer.uid().unwrap())).await;

    let list = plugin.run(&["orphans", &place]).await.ended(0);
    let line = |id: &str| {
        list.lines()
            .find(|line| line.contains(id))
            .unwrap_or_else(|| panic!("{id}: {list}"))
    };
    assert!(line("of-own").contains("set orphanPolicy: Revoke"), "{list}");
    assert!(
        line("of-gone").contains("its issuer is gone: end it at the vendor, then --clear"),
        "{list}"
    );
    assert!(line("of-living").contains("is tried again by itself"), "{list}");

    plugin.run(&["orphans", &place, "--clear"]).await.told(2, "say --yes");
    let dry = plugin.run(&["orphans", &place, "--clear", "--dry-run=server"]).await.ended(0);
    assert!(
        dry.contains("configmap/gone deleted: 1 orphans of TokenIssuer/shop/gone (server dry run)"),
        "{dry}"
    );
    let maps: Api<ConfigMap> = team.api();
    assert!(maps.get_opt("gone").await.unwrap().is_some());
    team.viewer("viewer").await;
    plugin.run(&["orphans", &place, "--clear", "--yes", "--as=viewer"]).await.ended(1);
    plugin.run(&["orphans", &place, "--clear", "--yes"]).await.ended(0);
    assert!(maps.get_opt("gone").await.unwrap().is_none());
    assert!(maps.get_opt("living").await.unwrap().is_some(), "its issuer is there");
    operator.stop().await;
}

/// The key of the issuer's ledger, told here a second time: it must never change.
fn ledger_key(team: &Team, uid: &str) -> String {
    let whole = format!("TokenIssuer/{}/own/{uid}", team.namespace);
    crate::support::tokens::hash(&whole).chars().take(16).collect()
}
