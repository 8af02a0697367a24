//! What is not to be taken over, by its id or by what a Secret says of itself.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::json;

use super::*;
use crate::{api::issuer::Adoption, lifecycle::CredentialTraits};

#[test]
fn a_token_that_may_be_anothers_or_the_credential_is_not_taken_over() {
    type Change = fn(&mut Observed, &mut ListedToken);
    let shared: Change = |o, _| o.issuer_mut().reference.kind = IssuerKind::ClusterTokenIssuer;
    let cases: [(&str, Change, bool); 12] = [
        ("made by hand", |_, _| {}, true),
        ("another ApiToken has it", |o, _| o.others_ids = ["theirs".to_owned()].into(), false),
        (
            "another ApiToken's marker",
            |_, t| t.name = Some("x k8s-0123abcd-bbbbbbbbbb-1".into()),
            false,
        ),
        (
            "the marker of an ApiToken that is gone",
            |_, t| t.name = Some("x k8s-0123abcd-cccccccccc-1".into()),
            true,
        ),
        (
            "another cluster's marker",
            |_, t| t.name = Some("x k8s-ffffffff-bbbbbbbbbb-1".into()),
            true,
        ),
        ("the credential, by its value", |_, t| t.value = Some(value(7)), false),
        (
            "another value that ends alike",
            |_, t| (t.value, t.hint) = (Some(value(8)), Some(value(7).hint())),
            true,
        ),
        ("perhaps the credential", |_, t| t.hint = Some(value(7).hint()), false),
        ("it ends in another way", |_, t| t.hint = Some("????".into()), true),
        ("nothing of its value is shown, at an issuer that tenants share", shared, false),
        (
            "how it ends is shown, at an issuer that tenants share",
            |o, t| {
                o.issuer_mut().reference.kind = IssuerKind::ClusterTokenIssuer;
                t.hint = Some("????".into());
            },
            true,
        ),
        ("one is on its way to another ApiToken", |o, _| o.issuer_mut().busy = true, false),
    ];
    for by_secret in [false, true] {
        for (why, change, taken) in &cases {
            let mut observed = at_issuer(PLAIN);
            observed.issuer_mut().spec.policy = Some(IssuerPolicy {
                adoption: Some(Adoption::Allow),
                ..Default::default()
            });
            observed.others_uids.insert("bbbbbbbbbb".into());
            observed.issuer_mut().credential = Some(CredentialTraits::of(&value(7)));
            let mut theirs = listed("theirs", "made by hand");
            change(&mut observed, &mut theirs);
            let held = theirs.value.clone().unwrap_or(value(9));
            if by_secret {
                observed.secret = ObservedSecret::Found(secret_naming(&observed, "theirs", &held));
            } else {
                observed.edit(|token| token.spec.adopt = Some(serde_json::from_value(json!({ "tokenID": "theirs" })).unwrap()));
            }
            steps(&mut observed, &mut vec![theirs]);
            let id = observed.status().and_then(|status| status.token.as_ref()?.id.clone());
            assert_eq!(id.as_deref() == Some("theirs"), *taken, "{why}, by a Secret: {by_secret}");
        }
    }
}

#[test]
fn a_secret_that_names_a_token_and_holds_another_value_is_not_believed() {
    let mut observed = at_issuer(Capabilities {
        readable_value: true,
        ..PLAIN
    });
    observed.secret = ObservedSecret::Found(secret_naming(&observed, "theirs", &value(8)));
    let mut theirs = listed("theirs", "made by hand");
    theirs.value = Some(value(9));
    steps(&mut observed, &mut vec![theirs]);
    assert_ne!(observed.recorded().token.clone().unwrap().id.as_deref(), Some("theirs"));
}

/// A Secret of ours, by its annotations with the token of that id and that value.
fn secret_naming(observed: &Observed, id: &str, value: &TokenValue) -> FoundSecret {
    let secret: Secret = serde_json::from_value(json!({ "metadata": {
        "name": "ci", "labels": { names::MANAGED_BY_LABEL: names::MANAGER }, "annotations": {
            names::API_TOKEN_ANNOTATION: observed.token.metadata.name,
            names::TOKEN_ID_ANNOTATION: id,
            names::HASH_ANNOTATION: value.hash(),
            names::ISSUED_AT_ANNOTATION: "2029-01-01T00:00:00Z",
        } } }))
    .unwrap();
    let data = [("token".to_owned(), ByteString(value.expose().as_bytes().to_vec()))];
    FoundSecret::new(Secret {
        data: Some(data.into()),
        ..secret
    })
}
