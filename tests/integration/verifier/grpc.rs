//! Envoy's external authorization over gRPC.

use std::collections::HashMap;

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest, Request},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
};
use serde_json::json;
use tonic::transport::Channel;

use super::Gate;

type Envoy = AuthorizationClient<Channel>;

async fn check(envoy: &mut Envoy, extensions: &[(&str, &str)], path: &str, headers: &[(&str, &str)]) -> CheckResponse {
    let owned = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: owned(headers),
        ..Default::default()
    };
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(http),
                ..Default::default()
            }),
            context_extensions: owned(extensions),
            ..Default::default()
        }),
    };
    envoy.check(request).await.unwrap().into_inner()
}

/// The code of the answer, what the client is told, and with which headers.
fn told(response: CheckResponse) -> (i32, u32, Vec<(String, String)>) {
    let pairs = |headers: Vec<HeaderValueOption>| {
        let pairs = headers.into_iter().map(|option| {
            assert_eq!(option.append_action, HeaderAppendAction::OverwriteIfExistsOrAdd as i32);
            assert!(option.keep_empty_value);
            let header = option.header.unwrap();
            (header.key, header.value)
        });
        pairs.collect()
    };
    let code = response.status.unwrap().code;
    match response.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => (code, 200, pairs(ok.headers)),
        HttpResponse::DeniedResponse(denied) => (code, denied.status.unwrap().code.try_into().unwrap(), pairs(denied.headers)),
        HttpResponse::ErrorResponse(_) => panic!("an error of the verifier's own"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_learns_who_calls_and_its_clients_cannot_write_the_question() {
    let gate = Gate::new("grpc").await;
    let value = gate.issued("ci", json!({ "scopes": ["orders:read"] })).await;
    let mut envoy = AuthorizationClient::connect(format!("http://{}", gate.verifier.grpc))
        .await
        .unwrap();
    let namespace = &gate.bed.team.namespace;
    let issuer = format!("TokenIssuer/{namespace}/own");
    let own = [("issuer", issuer.as_str())];
    let bearer = format!("Bearer {value}");
    let good = [("authorization", bearer.as_str())];

    let (code, status, headers) = told(check(&mut envoy, &own, "/", &good).await);
    assert_eq!((code, status), (0, 200));
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-auth-subject", "x-auth-account", "x-auth-scopes", "x-auth-token-id"]);
    assert_eq!(headers[0].1, format!("{namespace}/ci"));
    assert_eq!(headers[2].1, "orders:read");

    let scoped = [own[0], ("scope", "admin")];
    let joined = format!("{bearer},Bearer wrong");
    for (extensions, path, headers, expected, why) in [
        (&own[..], "/", vec![("x-api-key", value.as_str())], 200, "the other place"),
        (&own, "/authorize?scope=admin", good.to_vec(), 200, "the client's path asks nothing"),
        (&own, "/?issuer=ClusterTokenIssuer/builtin", good.to_vec(), 200, "nor its query"),
        (&own, "/", vec![], 401, "no token"),
        (&own, "/", vec![("authorization", "Bearer wrong")], 401, "nobody's token"),
        (
            &own,
            "/",
            vec![("authorization", joined.as_str())],
            401,
            "two lines, as Envoy joins them",
        ),
        (&own, "/", vec![good[0], ("x-api-key", value.as_str())], 400, "two tokens"),
        (&scoped, "/", good.to_vec(), 403, "it lacks a scope"),
        (&[("issuer", "nonsense")], "/", good.to_vec(), 400, "the route is set up wrong"),
        (&[("scpoe", "admin")], "/", good.to_vec(), 400, "the route is set up wrong"),
        (&[], "/", good.to_vec(), 401, "another issuer than the default one"),
    ] {
        let (code, status, headers) = told(check(&mut envoy, extensions, path, &headers).await);
        assert_eq!((code == 0, status), (expected == 200, expected), "{why}");
        let challenge = headers
            .iter()
            .any(|(name, value)| name == "www-authenticate" && value.starts_with("Bearer realm="));
        assert_eq!(challenge, expected != 200, "{why}");
    }
}
