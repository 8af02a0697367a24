//! The rights of the controller.

use std::sync::Arc;

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, names},
    controller::clock::Clock,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Account, Right, Tried, rights, silent, unused};
use crate::support::{
    clock::TestClock,
    control_plane::{ControlPlane, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    eventually,
    issuer::{PLAIN, ScriptedIssuer},
    operator::InProcess,
    remote::{ISSUER, issuer_spec, of_the_issuer},
    tokens::Team,
    wire::Wire,
};

/// So many orphans find room in the status of an issuer.
const ROOM: usize = 100;

#[test]
fn it_says_which_right_is_missing_and_uses_every_one() {
    let plane = ControlPlane::with_chart("rights");
    let rights = but_for_the_lease(&plane);
    assert!(rights.len() > 25, "{rights:?}");
    assert_eq!(unused::<InProcess>(&plane, &rights), Vec::<&Right>::new(), "nobody needs these");
    // Else it is there already, and nobody has to make it.
    remove_issuer(&plane, "builtin");
    assert_eq!(
        silent::<InProcess>(&plane, &rights),
        Vec::<&Right>::new(),
        "nobody is told that these are missing"
    );
    plane.stop();
}

/// What the chart gives to it, but for the Lease, which only an election uses. The right to make the default issuer comes first:
/// whoever has it makes one, and then nobody needs it.
fn but_for_the_lease(plane: &ControlPlane) -> Vec<Right> {
    let mut rights = rights::<InProcess>(plane);
    rights.retain(|right| right.resource != "leases");
    rights.sort_by_key(|right| right.to_string() != "create clustertokenissuers");
    rights
}

impl Tried for InProcess {
    const ACCOUNT: &str = OPERATOR_ACCOUNT;

    async fn use_everything(account: &Account<'_>, team: &Team) -> Self {
        account.use_everything(team).await
    }

    async fn stop(self) {
        InProcess::stop(self).await;
    }

    fn complaints(missing: &Right) -> Vec<String> {
        let Right { verb, resource, .. } = missing;
        if missing.is_for_a_policy() {
            return vec!["needs the verb control on apitokens/status".to_owned()];
        }
        let done = if verb == "get" { "read" } else { verb };
        vec![
            format!("not allowed to {verb} {resource}."),
            format!("the API server refuses to {done} {}", singular(resource)),
        ]
    }

    fn clean_up(account: &Account<'_>) {
        remove_issuer(account.plane, &account.name);
    }
}

/// As messages to users name it: `Secret` for `secrets`.
fn singular(resource: &str) -> String {
    let (first, rest) = resource.split_at(1);
    first.to_uppercase() + rest.trim_end_matches('s')
}

impl Account<'_> {
    async fn use_everything(&self, team: &Team) -> InProcess {
        let clock = TestClock::default();
        let issuer = ScriptedIssuer::new(PLAIN, &clock);
        issuer.number_by(&self.name);
        let client = self.plane.account(OPERATOR_NAMESPACE, &self.name).await;
        let issuers = Arc::new(issuer.by(&Wire::default()));
        let mut operator = InProcess::start_at(client, clock.clone(), issuers, &team.namespace).await;

        let everything = async {
            tokio::join!(self.rotate_suspend_and_revoke(team), self.retain(team));
            self.find_orphans(team, &clock, &issuer).await;
        };
        tokio::select! {
            () = everything => {}
            why = operator.ended() => panic!("the operator ended: {why}"),
        }
        operator
    }

    /// At the built-in issuer, which is the default one.
    async fn rotate_suspend_and_revoke(&self, team: &Team) {
        team.declare("plain", json!({})).await;
        team.ready("plain").await;
        team.request("plain", "now").await;
        team.rotated("plain", 1).await;
        // The same Event twice is counted up.
        for state in ["Suspended", "Active", "Suspended"] {
            team.change("plain", json!({ "spec": { "state": state } })).await;
            team.ready("plain").await;
        }
        team.change("plain", json!({ "spec": { "state": "Revoked" } })).await;
        eventually("the Secret of a revoked token goes", || async {
            team.secret("plain").await.is_none().then_some(())
        })
        .await;
    }

    /// At issuers that others run: tokens that outlive their ApiTokens stand in the ledgers.
    async fn retain(&self, team: &Team) {
        let credential = json!({ "wavefront": { "url": "https://example.com", "credentialsRef": { "name": self.name, "key": "token" } } });
        self.plane.credential(&self.name).await;
        self.plane.cluster_issuer(&self.name, credential).await;
        team.credential("vendor", "vendor-credential").await;
        team.issuer(ISSUER, issuer_spec(json!({}))).await;
        let shared = json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": self.name }, "deletionPolicy": "Retain" });
        team.declare("shared", shared).await;
        team.declare("own", of_the_issuer(json!({ "deletionPolicy": "Retain" }))).await;
        for name in ["shared", "own"] {
            team.ready(name).await;
            team.delete::<ApiToken>(name).await;
            eventually("it goes", || async {
                team.api::<ApiToken>().get_opt(name).await.unwrap().is_none().then_some(())
            })
            .await;
        }
    }

    /// More than the status of an issuer holds: they stand in ConfigMaps, until they are revoked.
    async fn find_orphans(&self, team: &Team, clock: &TestClock, issuer: &ScriptedIssuer) {
        let namespaces: Api<Namespace> = Api::all(self.plane.admin().await);
        let cluster = namespaces.get("kube-system").await.unwrap().uid().unwrap();
        let plant = |number: usize| issuer.plant(Some(&format!("x k8s-{}-0123456789-{number}", &cluster[..8])));
        (0..ROOM - 1).for_each(|number| drop(plant(number)));
        // One more stands in the ledger by now: the token that was retained.
        for (number, in_book) in [(ROOM - 1, 1), (ROOM, 2)] {
            plant(number);
            clock.advance(SignedDuration::from_mins(10));
            respec(
                team,
                json!({ "metadata": { "annotations": { "example.com/nudge": clock.now().to_string() } } }),
            )
            .await;
            eventually("what finds no room stands in a ConfigMap", || async {
                (self.book(team).await == in_book).then_some(())
            })
            .await;
        }
        respec(team, json!({ "spec": { "orphanPolicy": "Revoke" } })).await;
        eventually("the ConfigMap goes", || async { (self.book(team).await == 0).then_some(()) }).await;
    }

    /// How many orphans of the team's issuer stand in ConfigMaps.
    async fn book(&self, team: &Team) -> usize {
        let api: Api<ConfigMap> = Api::namespaced(self.plane.admin().await, OPERATOR_NAMESPACE);
        let maps = api.list(&ListParams::default().labels(names::LEDGER_LABEL)).await.unwrap().items;
        let is_ours = |map: &&ConfigMap| map.annotations().get(names::LEDGER_NAMESPACE_ANNOTATION) == Some(&team.namespace);
        maps.iter().filter(is_ours).flat_map(|map| &map.data).map(|data| data.len()).sum()
    }
}

fn remove_issuer(plane: &ControlPlane, name: &str) {
    let unlock = r#"--patch={"metadata":{"finalizers":null}}"#;
    plane.try_kubectl(&["patch", "clustertokenissuer", name, "--type=merge", unlock]);
    plane.kubectl(&["delete", "clustertokenissuer", name, "--ignore-not-found"]);
}

async fn respec(team: &Team, patch: Value) {
    let api: Api<TokenIssuer> = team.api();
    api.patch(ISSUER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}
