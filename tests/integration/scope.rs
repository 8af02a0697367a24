//! Where the operator works: with the arguments and the rights that the chart gives it, in some namespaces, and in
//! one only.

use apitoken_operator::api::{TokenIssuer, conditions::ConditionType, names};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::{
    chart::{self, SINGLE},
    support::{
        control_plane::{ControlPlane, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, VERIFIER_ACCOUNT},
        eventually,
        operator::Program,
        tokens::{Team, message_of},
        verifier::answer,
    },
};

/// A program with the arguments of the chart and the identity of its ServiceAccount.
async fn start(plane: &ControlPlane, release: &str, values: &[String], account: &str) -> Program {
    let namespaced = format!("--namespace={release}");
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let program = account.rsplit('-').next().unwrap();
    let container = chart::container(&chart::rendered_in(release, &values), program);
    let given: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    let mut arguments: Vec<&str> = given
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.contains("address="))
        .collect();
    arguments.push(if program == "controller" {
        &namespaced
    } else {
        "--address=127.0.0.1:0"
    });
    let kubeconfig = plane.account_kubeconfig(release, account, None).await;
    let program = Program::run(plane, &kubeconfig, &arguments);
    eventually("the program is ready", || async { program.is_ready().await.then_some(()) }).await;
    program
}

/// Whether the verifier lets the token through.
async fn accepts(verifier: &Program, question: &str, value: &str) -> bool {
    let address = verifier.address("answering over HTTP").unwrap();
    let request = reqwest::Client::new().get(format!("http://{address}/authorize?{question}"));
    answer(request.bearer_auth(value)).await.status == 200
}

async fn until_accepted(verifier: &Program, question: &str, value: &str) {
    eventually("the token is let through", || async {
        accepts(verifier, question, value).await.then_some(())
    })
    .await;
}

/// Nothing was refused for want of a right: no write, and no read that somebody complained of.
fn nothing_was_forbidden(plane: &ControlPlane, release: &str, programs: &[(&str, &Program)]) {
    for (account, program) in programs {
        let user = format!("system:serviceaccount:{release}:{account}");
        let writes = plane.audit().writes(&user, Default::default());
        let forbidden: Vec<_> = writes.iter().filter(|write| write.code == 403).collect();
        assert!(!writes.is_empty() || *account == VERIFIER_ACCOUNT, "{user} wrote something");
        assert!(forbidden.is_empty(), "{forbidden:?}");
        assert!(!program.log().to_lowercase().contains("forbidden"), "{}", program.log());
    }
}

fn may(plane: &ControlPlane, release: &str, namespace: &str, what: &[&str]) -> bool {
    let user = format!("--as=system:serviceaccount:{release}:{OPERATOR_ACCOUNT}");
    let question = [&["auth", "can-i", "-n", namespace, &user], what].concat();
    plane.try_kubectl(&question).status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_in_some_namespaces_with_rights_in_them_alone_and_then_in_one() {
    let plane = ControlPlane::start("scope");
    let [shop, crew, other] = ["shop", "crew", "other"].map(|name| plane.namespace(name));
    let (shop, crew, other) = (shop.await, crew.await, other.await);
    let values = [format!("watchNamespaces={{{shop},{crew}}}"), "allowPrivateIssuers=true".to_owned()];
    plane.install_chart_in(OPERATOR_NAMESPACE, &values);
    in_some_namespaces(&plane, &values, [&shop, &crew, &other]).await;
    plane.helm(&["uninstall", "apitoken-operator", "-n", OPERATOR_NAMESPACE]);
    in_one_namespace(&plane, &other).await;
    plane.stop();
}

async fn in_some_namespaces(plane: &ControlPlane, values: &[String], [shop, crew, other]: [&str; 3]) {
    let controller = start(plane, OPERATOR_NAMESPACE, values, OPERATOR_ACCOUNT).await;
    let verifier = start(plane, OPERATOR_NAMESPACE, values, VERIFIER_ACCOUNT).await;
    let admin = plane.admin().await;
    for namespace in [shop, crew] {
        let team = Team::new(admin.clone(), namespace);
        team.declare("ci", json!({})).await;
        team.ready("ci").await;
        until_accepted(&verifier, "", &team.value("ci", "token").await).await;
        team.until("ci", "its use is recorded", |token| {
            let current = token.status.as_ref().and_then(|status| status.token.as_ref());
            current.is_some_and(|token| token.last_used_at.is_some())
        })
        .await;
    }
    // A credential in the operator's own namespace is read, followed and held.
    let vendor = json!({ "mailtrap": {
        "url": "http://127.0.0.1:1", "accountID": "1", "credentialsRef": { "name": "vendor", "key": "token" },
        "allowedResources": [{ "resourceType": "account", "resourceID": "1", "accessLevel": "viewer" }],
    } });
    plane.cluster_issuer("vendor", vendor).await;
    let team = Team::new(admin.clone(), shop);
    let parameters = json!({ "mailtrap": { "resources": [{ "resourceType": "account", "resourceID": "1", "accessLevel": "viewer" }] } });
    let issuer = json!({ "kind": "ClusterTokenIssuer", "name": "vendor" });
    team.declare("mail", json!({ "issuerRef": issuer, "parameters": parameters })).await;
    plane.credential("vendor").await;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), OPERATOR_NAMESPACE);
    eventually("the credential is held", || async {
        let held = secrets
            .get("vendor")
            .await
            .unwrap()
            .finalizers()
            .contains(&names::FINALIZER.to_owned());
        held.then_some(())
    })
    .await;
    team.delete::<apitoken_operator::api::ApiToken>("mail").await;

    let outside = Team::new(admin, other);
    let left = outside.declare("ci", json!({})).await;
    assert_eq!(
        outside.token("ci").await.resource_version(),
        left.resource_version(),
        "nobody's business"
    );
    assert!(may(plane, OPERATOR_NAMESPACE, shop, &["update", "secrets"]));
    assert!(!may(plane, OPERATOR_NAMESPACE, other, &["get", "secrets"]));
    assert!(!may(plane, OPERATOR_NAMESPACE, OPERATOR_NAMESPACE, &["create", "secrets"]));
    nothing_was_forbidden(
        plane,
        OPERATOR_NAMESPACE,
        &[(OPERATOR_ACCOUNT, &controller), (VERIFIER_ACCOUNT, &verifier)],
    );
    assert!(controller.terminate().await.0.success());
    assert!(verifier.terminate().await.0.success());
}

async fn in_one_namespace(plane: &ControlPlane, namespace: &str) {
    let values = SINGLE.map(str::to_owned);
    plane.install_chart_in(namespace, &values);
    let controller = start(plane, namespace, &values, OPERATOR_ACCOUNT).await;
    let verifier = start(plane, namespace, &values, VERIFIER_ACCOUNT).await;
    let team = Team::new(plane.admin().await, namespace);

    let lost = team.reason("ci", "NoDefaultIssuer").await;
    assert!(message_of(&lost, ConditionType::Ready).contains("set spec.issuerRef to a TokenIssuer"));
    let issuer = json!({ "kind": "ClusterTokenIssuer", "name": "builtin" });
    team.declare("wide", json!({ "issuerRef": issuer })).await;
    let lost = team.reason("wide", "IssuerNotFound").await;
    assert!(message_of(&lost, ConditionType::Ready).contains("set spec.issuerRef to a TokenIssuer"));

    team.issuer("own", json!({ "builtin": {} })).await;
    let own: Value = json!({ "spec": { "issuerRef": { "kind": "TokenIssuer", "name": "own" } } });
    for name in ["ci", "wide"] {
        team.change(name, own.clone()).await;
        team.ready(name).await;
        let question = format!("issuer=TokenIssuer/{namespace}/own");
        until_accepted(&verifier, &question, &team.value(name, "token").await).await;
    }
    eventually("the issuer may go once its tokens are gone", || async {
        for name in ["ci", "wide"] {
            let _ = team
                .api::<apitoken_operator::api::ApiToken>()
                .delete(name, &Default::default())
                .await;
        }
        let _ = team.api::<TokenIssuer>().delete("own", &Default::default()).await;
        team.api::<TokenIssuer>().get_opt("own").await.unwrap().is_none().then_some(())
    })
    .await;
    nothing_was_forbidden(plane, namespace, &[(OPERATOR_ACCOUNT, &controller), (VERIFIER_ACCOUNT, &verifier)]);
    assert!(controller.terminate().await.0.success());
    assert!(verifier.terminate().await.0.success());
}

#[test]
fn one_namespace_needs_nothing_that_is_cluster_wide() {
    let kinds: Vec<String> = chart::rendered(&SINGLE)
        .iter()
        .map(|object| {
            assert_eq!(object["metadata"]["namespace"], "default", "{object}");
            object["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in [
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "Namespace",
    ] {
        assert!(!kinds.iter().any(|found| found == kind), "{kinds:?}");
    }
    assert!(kinds.iter().filter(|kind| *kind == "Role").count() >= 2, "{kinds:?}");
}
