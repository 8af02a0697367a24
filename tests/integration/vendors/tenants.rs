//! A tenant who wants what is another's, at issuers that tenants share.

use std::sync::Arc;

use apitoken_operator::{
    api::{ApiToken, ClusterTokenIssuer, conditions, conditions::ConditionType, names},
    issuers::KnownIssuers,
};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::world::{VENDORS, Vendors, credential, parameters};
use crate::{
    fakes::{mailtrap, prefactor, softwareone, wavefront},
    support::{
        control_plane::ControlPlane,
        eventually,
        operator::InProcess,
        tokens::{Team, hash, is_true, message_of, status},
    },
};

/// The three issuers of each vendor: as it comes, with adoption allowed, and without ceilings.
const KINDS: [&str; 3] = ["", "-open", "-bare"];
/// How many attacks run beside each other.
const AT_ONCE: usize = 8;

/// Two tenants who share issuers, and one who may not use them.
struct Street {
    plane: ControlPlane,
    vendors: Vendors,
    attacker: Team,
    outsider: Team,
    operator: InProcess,
    /// The credential's id, by vendor.
    credentials: Vec<(&'static str, String)>,
}

/// What the attacker declares, and what comes of it.
struct Attack {
    name: String,
    from_outside: bool,
    spec: Value,
    reason: &'static str,
    says: &'static str,
}

/// What the attacker would like to have.
struct Prey {
    id: String,
    value: String,
}

impl Street {
    async fn new() -> Self {
        let plane = ControlPlane::with_chart("tenants");
        let namespaces = [
            plane.namespace("victim").await,
            plane.namespace("attacker").await,
            plane.namespace("outsider").await,
        ];
        let vendors = Vendors::beside(&plane, &namespaces[0], SignedDuration::ZERO).await;
        let credentials = VENDORS.map(|vendor| (vendor, vendors.show_credential(vendor)));
        let operator = InProcess::start_everywhere(plane.operator().await, vendors.clock.clone(), Arc::new(KnownIssuers)).await;
        let street = Self {
            attacker: Team::new(plane.admin().await, &namespaces[1]),
            outsider: Team::new(plane.admin().await, &namespaces[2]),
            credentials: credentials.to_vec(),
            plane,
            vendors,
            operator,
        };
        for vendor in VENDORS {
            street.plane.credential_of(vendor, credential(vendor)).await;
            for kind in KINDS {
                street.declare_issuer(vendor, kind, &namespaces[..2]).await;
            }
        }
        street
    }

    async fn declare_issuer(&self, vendor: &str, kind: &str, namespaces: &[String]) {
        let mut of_vendor = self.vendors.spec_of(vendor, vendor);
        if kind != "-bare" {
            of_vendor.as_object_mut().unwrap().extend(ceiling(vendor));
        }
        let mut spec = json!({ vendor: of_vendor, "timeout": "2s", "allowedNamespaces": { "names": namespaces } });
        if kind == "-open" {
            spec["policy"] = json!({ "adoption": "Allow" });
        }
        let name = format!("{vendor}{kind}");
        self.plane.cluster_issuer(&name, spec).await;
        let api: Api<ClusterTokenIssuer> = Api::all(self.plane.admin().await);
        eventually(&format!("{name} is ready"), || async {
            let conditions = api.get(&name).await.unwrap().status.unwrap_or_default().conditions;
            conditions::is_true(&conditions, ConditionType::Ready).then_some(())
        })
        .await;
    }

    /// The victim's token at that issuer.
    async fn prey(&self, issuer: &str) -> Prey {
        let token = self.vendors.team.ready(issuer).await;
        Prey {
            id: status(&token).token.unwrap().id.unwrap(),
            value: self.vendors.team.value(issuer, "token").await,
        }
    }

    fn credential_id(&self, vendor: &str) -> String {
        self.credentials.iter().find(|(of, _)| *of == vendor).unwrap().1.clone()
    }

    fn changes(&self) -> Vec<String> {
        VENDORS.iter().flat_map(|vendor| self.vendors.changes(vendor)).collect()
    }

    /// All attempts to take over a token of another, or the credential.
    async fn takeovers(&self, vendor: &str, kind: &str) -> Vec<Attack> {
        let issuer = format!("{vendor}{kind}");
        let prey = self.prey(&issuer).await;
        let stolen = [("stolen", prey.value.as_str()), ("credential", credential(vendor))];
        for (what, value) in stolen {
            self.attacker
                .own_secret(&format!("{what}-{issuer}"), json!({ "token": value }))
                .await;
        }
        let by_id = |id: &str| json!({ "tokenID": id });
        let by_value = |what: &str| json!({ "secretRef": { "name": format!("{what}-{issuer}"), "key": "token" } });
        let open = kind == "-open";
        let rows = [
            ("id", by_id(&prey.id), "another ApiToken's"),
            ("value", by_value("stolen"), "another ApiToken"),
            ("credential-id", by_id(&self.credential_id(vendor)), "credential of the issuer"),
            ("credential-value", by_value("credential"), ""),
        ];
        rows.into_iter()
            .map(|(what, adopt, says)| Attack {
                says: match (open, vendor, what) {
                    (false, ..) => "does not allow it",
                    // Nothing that Prefactor shows tells its credential from other tokens.
                    (true, "prefactor", "credential-id") => "does not show whether",
                    (true, ..) => says,
                },
                ..attack(
                    &format!("{what}-of-{issuer}"),
                    vendor,
                    &issuer,
                    json!({ "adopt": adopt }),
                    "AdoptionFailed",
                )
            })
            .collect()
    }

    /// Waits until the attack has failed, and gives its message.
    async fn fails(&self, attack: &Attack) {
        let team = self.of(attack);
        team.declare(&attack.name, attack.spec.clone()).await;
        let token = team.reason(&attack.name, attack.reason).await;
        self.has_nothing(attack, &token).await;
    }

    /// The same later on, and whatever the operator looks at again.
    async fn still_fails(&self, attack: &Attack) {
        let team = self.of(attack);
        team.looked_at(&attack.name).await;
        let token = team.reason(&attack.name, attack.reason).await;
        self.has_nothing(attack, &token).await;
    }

    async fn has_nothing(&self, attack: &Attack, token: &ApiToken) {
        let (name, message) = (&attack.name, message_of(token, ConditionType::Ready));
        assert!(message.contains(attack.says), "{name}: {message}");
        assert!(!message.contains(&self.vendors.team.namespace), "{name} tells of others: {message}");
        assert!(is_true(token, ConditionType::Stalled), "{name}");
        assert!(status(token).token.is_none(), "{name} has a token");
        assert!(self.of(attack).secret(name).await.is_none(), "{name} has a Secret");
    }

    fn of(&self, attack: &Attack) -> &Team {
        if attack.from_outside { &self.outsider } else { &self.attacker }
    }

    /// The victim's tokens and the credentials are as they were.
    async fn nobody_lost_anything(&self) {
        for vendor in VENDORS {
            for kind in ["", "-open"] {
                let issuer = format!("{vendor}{kind}");
                let prey = self.prey(&issuer).await;
                assert!(self.vendors.values(vendor).contains(&prey.value), "{issuer}: it works");
            }
            assert!(self.credential_is_there(vendor), "{vendor}");
        }
    }

    fn credential_is_there(&self, vendor: &str) -> bool {
        let (vendors, value) = (&self.vendors, credential(vendor));
        match vendor {
            "wavefront" => vendors.wavefront.with(|fake| fake.has(value)),
            vendor => vendors.values(vendor).iter().any(|live| live == value),
        }
    }

    async fn stop(self) {
        self.operator.stop().await;
        self.plane.stop();
    }
}

/// What tenants may ask for.
fn ceiling(vendor: &str) -> serde_json::Map<String, Value> {
    let ceiling = match vendor {
        "mailtrap" => {
            json!({ "allowedResources": [{ "resourceType": "account", "resourceID": mailtrap::ACCOUNT, "accessLevel": "viewer" }] })
        }
        "prefactor" => json!({ "allowedTokenScopes": ["environment"] }),
        "softwareone" => json!({ "allowedModules": [softwareone::MODULE] }),
        _ => json!({}),
    };
    ceiling.as_object().unwrap().clone()
}

/// What a tenant may ask for, at that issuer, with these fields.
fn modest(vendor: &str, issuer: &str, fields: Value) -> Value {
    let mut spec = json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": issuer } });
    let environment = json!({ "prefactor": { "tokenScope": "environment", "environmentID": prefactor::ENVIRONMENT } });
    if let Some(parameters) = parameters(vendor).or_else(|| (vendor == "prefactor").then_some(environment)) {
        spec["parameters"] = parameters;
    }
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn attack(name: &str, vendor: &str, issuer: &str, fields: Value, reason: &'static str) -> Attack {
    Attack {
        name: name.to_owned(),
        from_outside: false,
        spec: modest(vendor, issuer, fields),
        reason,
        says: "",
    }
}

/// Asking for more than the issuer gives: at which issuer, for what.
fn greed(vendor: &str) -> Vec<Attack> {
    let resource = |kind: &str, id: &str, level: &str| {
        let resource = json!({ "resourceType": kind, "resourceID": id, "accessLevel": level });
        json!({ "parameters": { "mailtrap": { "resources": [resource] } } })
    };
    let scope = |scope: Value| json!({ "parameters": { "prefactor": scope } });
    let modules = |modules: Value| json!({ "parameters": { "softwareone": { "modules": modules } } });
    let account = |account: &str| json!({ "account": account });
    let (beyond, elsewhere) = ("PolicyViolation", "AccountNotAllowed");
    let rows: Vec<(&str, Value, &'static str)> = match vendor {
        "mailtrap" => vec![
            ("", resource("account", mailtrap::ACCOUNT, "admin"), beyond),
            ("", resource("account", "1", "viewer"), beyond),
            ("", resource("project", mailtrap::ACCOUNT, "viewer"), beyond),
            ("-bare", json!({}), beyond),
            ("", account("4711"), elsewhere),
        ],
        "prefactor" => vec![
            ("", json!({ "parameters": null }), beyond),
            ("", scope(json!({ "tokenScope": "account" })), beyond),
            (
                "",
                scope(json!({ "tokenScope": "agent_deployment", "agentID": prefactor::AGENT })),
                beyond,
            ),
            ("-bare", json!({}), beyond),
            ("", account(prefactor::OTHER_ACCOUNT), elsewhere),
        ],
        "softwareone" => vec![
            ("", modules(json!([softwareone::OTHER_MODULE])), beyond),
            ("", modules(json!([softwareone::MODULE, softwareone::OTHER_MODULE])), beyond),
            ("", json!({ "parameters": null }), beyond),
            ("-bare", json!({}), beyond),
            ("", account(softwareone::OTHER_ACCOUNT), elsewhere),
        ],
        _ => vec![
            ("", account(wavefront::ANOTHER), elsewhere),
            ("", account(wavefront::USER), elsewhere),
        ],
    };
    let numbered = rows.into_iter().enumerate();
    let attacks = numbered.map(|(number, (kind, fields, reason))| {
        let issuer = format!("{vendor}{kind}");
        attack(&format!("greed-{number}-{issuer}"), vendor, &issuer, fields, reason)
    });
    attacks.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_gets_nothing_that_is_anothers_and_nothing_beyond_the_ceilings() {
    let street = Street::new().await;
    let victims: Vec<(&str, String)> = VENDORS
        .iter()
        .flat_map(|vendor| ["", "-open"].map(|kind| (*vendor, format!("{vendor}{kind}"))))
        .collect();
    for (vendor, issuer) in &victims {
        let spec = modest(vendor, issuer, json!({ "rotation": { "interval": "720h" }, "lifetime": "2160h" }));
        street.vendors.team.declare(issuer, spec).await;
    }
    let mut attacks = Vec::new();
    for vendor in VENDORS {
        for kind in ["", "-open"] {
            attacks.extend(street.takeovers(vendor, kind).await);
        }
        attacks.extend(greed(vendor));
        for (what, fields) in [("plain", json!({})), ("adopting", json!({ "adopt": { "tokenID": "1" } }))] {
            let intruder = attack(&format!("{what}-{vendor}"), vendor, vendor, fields, "NamespaceNotAllowed");
            attacks.push(Attack {
                from_outside: true,
                ..intruder
            });
        }
    }
    let before = street.changes();
    let all = || stream::iter(&attacks);
    all().for_each_concurrent(AT_ONCE, |attack| street.fails(attack)).await;
    street.vendors.clock.advance(SignedDuration::from_mins(11));
    all().for_each_concurrent(AT_ONCE, |attack| street.still_fails(attack)).await;
    assert_eq!(street.changes(), before, "nothing was made, changed or ended at any vendor");
    street.nobody_lost_anything().await;

    for (vendor, issuer) in &victims {
        forge(&street, vendor, issuer).await;
    }
    street.nobody_lost_anything().await;
    street.stop().await;
}

/// A Secret says of itself that it holds another's token: that one, or the credential, is not called and not ended.
async fn forge(street: &Street, vendor: &str, issuer: &str) {
    let prey = street.prey(issuer).await;
    let ids = [prey.id, street.credential_id(vendor)];
    for (number, id) in ids.iter().enumerate() {
        let names = [format!("revoked-{number}-{issuer}"), format!("forged-{number}-{issuer}")];
        for name in &names {
            write_forged(&street.attacker, name, id).await;
        }
        let before = street.vendors.changes(vendor);
        let revoked = modest(vendor, issuer, json!({ "state": "Revoked" }));
        street.attacker.declare(&names[0], revoked).await;
        street.attacker.ready(&names[0]).await;
        assert_eq!(street.vendors.changes(vendor), before, "{issuer}: it is revoked without a call");

        let token = street.attacker.declare(&names[1], modest(vendor, issuer, json!({}))).await;
        let issued = street.attacker.ready(&names[1]).await;
        assert_ne!(
            status(&issued).token.unwrap().id.as_ref(),
            Some(id),
            "{issuer}: it got one of its own"
        );
        let annotations = json!({ names::TOKEN_ID_ANNOTATION: id, names::UID_ANNOTATION: token.metadata.uid });
        street
            .attacker
            .change_secret(&names[1], json!({ "metadata": { "annotations": annotations } }))
            .await;
        street.vendors.clock.advance(SignedDuration::from_secs(20));
        street.attacker.leaked(&names[1], "1").await;
        street.attacker.rotated(&names[1], 1).await;
        for name in &names {
            street.attacker.delete::<ApiToken>(name).await;
            eventually(&format!("{name} goes"), || async {
                street
                    .attacker
                    .api::<ApiToken>()
                    .get_opt(name)
                    .await
                    .unwrap()
                    .is_none()
                    .then_some(())
            })
            .await;
        }
        let named: Vec<String> = street
            .vendors
            .changes(vendor)
            .into_iter()
            .filter(|call| call.contains(id))
            .collect();
        assert!(named.is_empty(), "{issuer}: {named:?}");
    }
}

/// A Secret as the operator would have written it for the token of that id.
async fn write_forged(team: &Team, name: &str, id: &str) {
    let value = "a value that the attacker made up, and that is long enough";
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { names::MANAGED_BY_LABEL: names::MANAGER }, "annotations": {
            names::API_TOKEN_ANNOTATION: name,
            names::TOKEN_ID_ANNOTATION: id,
            names::HASH_ANNOTATION: hash(value),
            names::ISSUED_AT_ANNOTATION: "2026-01-01T00:00:00Z",
        } },
        "stringData": { "token": value },
    }))
    .unwrap();
    team.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
}
