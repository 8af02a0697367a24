//! Issuers: held while tokens stand on them, let go when none does; the default one.

use apitoken_operator::api::{ApiToken, ClusterTokenIssuer, TokenIssuer, conditions, conditions::ConditionType, names};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::support::{Bed, control_plane::OPERATOR_USER, eventually, tokens::recorded_hash};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_in_use_stays_until_its_last_token_is_gone() {
    let Bed { team, operator, .. } = Bed::new("held").await;
    team.issuer("own", json!({ "builtin": {} })).await;
    team.issuer("unused", json!({ "builtin": {} })).await;
    let own = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } });
    team.declare("ci", own.clone()).await;
    let hash = recorded_hash(&team.ready("ci").await);
    let issuers: Api<TokenIssuer> = team.api();
    assert_eq!(issuers.get("own").await.unwrap().finalizers(), [names::FINALIZER]);
    eventually("an unused issuer is ready too", || async {
        let issuer = issuers.get("unused").await.unwrap();
        let ready = issuer
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, ConditionType::Ready));
        (ready && issuer.finalizers().is_empty()).then_some(())
    })
    .await;

    team.delete::<TokenIssuer>("own").await;
    team.delete::<TokenIssuer>("unused").await;
    eventually("the unused one goes", || async {
        issuers.get_opt("unused").await.unwrap().is_none().then_some(())
    })
    .await;
    team.declare("late", own).await;
    team.reason("late", "IssuerNotReady").await;
    assert_eq!(recorded_hash(&team.ready("ci").await), hash, "its token stays");

    team.delete::<ApiToken>("late").await;
    team.delete::<ApiToken>("ci").await;
    eventually("the issuer goes", || async {
        issuers.get_opt("own").await.unwrap().is_none().then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_issuer_is_made_once_and_shows_what_it_can() {
    let Bed { plane, operator, .. } = Bed::new("default").await;
    let issuers: Api<ClusterTokenIssuer> = Api::all(plane.admin().await);
    let issuer = issuers.get("builtin").await.unwrap();
    assert_eq!(
        issuer.annotations().get(names::DEFAULT_ISSUER_ANNOTATION).map(String::as_str),
        Some("true")
    );
    assert!(issuer.spec.common.builtin.is_some());
    let capabilities = eventually("its status is written", || async {
        issuers.get("builtin").await.unwrap().status.and_then(|status| status.capabilities)
    })
    .await;
    assert!(capabilities.suspend && !capabilities.reset);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_everything_in_it() {
    let Bed { plane, team, operator } = Bed::new("goes").await;
    team.issuer("own", json!({ "builtin": {} })).await;
    for number in 0..10 {
        let spec = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } });
        team.declare(&format!("ci-{number}"), spec).await;
    }
    for number in 0..10 {
        team.ready(&format!("ci-{number}")).await;
    }
    let since = plane.audit().now();
    plane.kubectl(&["delete", "namespace", &team.namespace, "--timeout=60s"]);
    let writes = plane.audit().writes(OPERATOR_USER, since);
    let vain: Vec<_> = writes
        .iter()
        .filter(|write| write.namespace == team.namespace && !write.resource.starts_with("tokenissuers"))
        .collect();
    assert!(vain.is_empty(), "nothing is made in a namespace that ends: {vain:?}");
    operator.stop().await;
}
