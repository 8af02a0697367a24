//! Introspection by RFC 7662, and who may ask.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::api::PostParams;
use serde_json::{Value, json};

use super::Gate;
use crate::support::tokens::{Team, status};

/// The audience of callers.
const AUDIENCE: &str = "apitoken.dev";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_learns_the_facts_of_a_token_that_works_and_nothing_of_others() {
    let gate = Gate::new("introspect").await;
    let (team, verifier) = (&gate.bed.team, &gate.verifier);
    let spec = json!({ "scopes": ["orders:read", "orders:write"], "audiences": ["shop"], "lifetime": "24h", "account": null });
    let value = gate.issued("ci", spec).await;
    let token = status(&team.token("ci").await).token.unwrap();
    let issuer = format!("TokenIssuer/{}/own", team.namespace);
    let ask = async |form: &[(&str, &str)]| verifier.introspect(None, form).await;

    let (code, headers, facts) = ask(&[("token", &value), ("issuer", &issuer), ("token_type_hint", "access_token")]).await;
    assert_eq!(code, 200);
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "application/json");
    let second = |at: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| at.unwrap().0.as_second();
    let expected = json!({
        "active": true,
        "token_type": "Bearer",
        "iss": issuer,
        "sub": format!("{}/ci", team.namespace),
        "account": format!("{}.ci", team.namespace),
        "jti": token.id,
        "scope": "orders:read orders:write",
        "aud": ["shop"],
        "iat": second(token.issued_at),
        "exp": second(token.expires_at),
    });
    assert_eq!(facts, expected);

    let inactive = json!({ "active": false });
    for (form, why) in [
        (vec![("token", "apt_nobodys"), ("issuer", issuer.as_str())], "nobody has it"),
        (vec![("token", value.as_str())], "not of the default issuer"),
        (vec![("token", "no token"), ("issuer", &issuer)], "it can't be one"),
        (vec![("token", ""), ("issuer", &issuer)], "it can't be one"),
        (vec![("token", &value), ("issuer", "TokenIssuer/elsewhere/own")], "another issuer"),
        (
            vec![("token", &value), ("issuer", &issuer), ("audience", "bank")],
            "for another service",
        ),
        (vec![("token", &value), ("issuer", &issuer), ("scope", "admin")], "it lacks a scope"),
    ] {
        let (code, headers, facts) = ask(&form).await;
        assert_eq!(
            (code.as_u16(), &facts, &headers["cache-control"]),
            (200, &inactive, &"no-store".parse().unwrap()),
            "{why}"
        );
    }
    team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    verifier.until_accepts(&gate.question, &value, false).await;
    assert_eq!(ask(&[("token", &value), ("issuer", &issuer)]).await.2, inactive, "why is not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_introspection_is_refused_with_a_reason() {
    let gate = Gate::new("introspect-bad").await;
    let url = format!("http://{}/introspect", gate.verifier.http);
    let client = reqwest::Client::new();
    let form = |body: &str| {
        client
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned())
    };
    let too_long = format!("token={}", "a".repeat(64 * 1024));
    for (request, expected, why) in [
        (client.get(&url), 405, "another method"),
        (client.post(&url).body("token=a"), 415, "no form"),
        (client.post(&url).header("content-type", "application/json").body("{}"), 415, "JSON"),
        (form(""), 400, "no token"),
        (form("token=a&token=b"), 400, "two tokens"),
        (form("token=a&issuer=builtin"), 400, "no issuer"),
        (
            form("token=a&issuer=ClusterTokenIssuer/a&issuer=ClusterTokenIssuer/b"),
            400,
            "two issuers",
        ),
        (form(&too_long), 400, "too long"),
    ] {
        let response = request.send().await.unwrap();
        let code = response.status().as_u16();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(code, expected, "{why}: {body}");
        assert_eq!(body["error"], "invalid_request", "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_the_right_may_introspect_and_only_by_a_token_for_the_verifier() {
    let gate = Gate::with("introspect-auth", |settings| {
        settings.introspection_audience = Some(AUDIENCE.to_owned())
    })
    .await;
    let (team, verifier) = (&gate.bed.team, &gate.verifier);
    let value = gate.issued("ci", json!({})).await;
    let issuer = format!("TokenIssuer/{}/own", team.namespace);
    let form = [("token", value.as_str()), ("issuer", issuer.as_str())];
    let asked = async |caller: Option<&str>| verifier.introspect(caller, &form).await.0.as_u16();

    for name in ["shop", "stranger"] {
        gate.bed.plane.kubectl(&["create", "serviceaccount", name, "-n", &team.namespace]);
    }
    let namespace = team.namespace.as_str();
    let kubectl = |arguments: &[&str]| drop(gate.bed.plane.kubectl(&[arguments, &["-n", namespace]].concat()));
    let (role, shop) = (
        "--clusterrole=apitoken-operator-introspect",
        format!("--serviceaccount={namespace}:shop"),
    );
    kubectl(&["create", "rolebinding", "introspect", role, &shop]);

    let shop = service_account_token(team, "shop", AUDIENCE).await;
    assert_eq!(asked(Some(&shop)).await, 200, "it may, in this namespace");
    assert_eq!(verifier.introspect(Some(&shop), &form).await.2["active"], true);
    let elsewhere = [("token", value.as_str()), ("issuer", "ClusterTokenIssuer/builtin")];
    assert_eq!(
        verifier.introspect(Some(&shop), &elsewhere).await.0,
        403,
        "not of the cluster's issuers"
    );
    assert_eq!(
        asked(Some(&service_account_token(team, "stranger", AUDIENCE).await)).await,
        403,
        "it may not"
    );

    assert_eq!(asked(None).await, 401, "it does not say who it is");
    assert_eq!(asked(Some("nonsense")).await, 401, "that is no token");
    assert_eq!(asked(Some(&value)).await, 401, "the token that is asked for proves nothing");
    let for_the_cluster = service_account_token(team, "shop", "https://kubernetes.default.svc").await;
    assert_eq!(
        asked(Some(&for_the_cluster)).await,
        401,
        "a token for the API server could be replayed there"
    );
    let forged = forged(&shop);
    assert_eq!(asked(Some(&forged)).await, 401, "the signature decides");
    let (_, headers, body) = verifier.introspect(None, &form).await;
    assert_eq!(
        (&headers["www-authenticate"], &body["error"]),
        (&"Bearer realm=\"apitoken\"".parse().unwrap(), &json!("invalid_client"))
    );
}

async fn service_account_token(team: &Team, account: &str, audience: &str) -> String {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(3600),
            ..Default::default()
        },
        ..Default::default()
    };
    let accounts = team.api::<ServiceAccount>();
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .unwrap();
    answer.status.unwrap().token
}

/// The same claims under another signature.
fn forged(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let signature: String = signature.chars().rev().collect();
    format!("{rest}.{signature}")
}
