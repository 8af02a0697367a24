//! The four vendors beside a real API server: their fakes, an issuer for each, and the operator.

use std::sync::Arc;

use apitoken_operator::{
    api::{
        ApiToken, TokenIssuer,
        conditions::{self, ConditionType},
    },
    controller::clock::Clock,
    issuers::KnownIssuers,
};
use jiff::SignedDuration;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    fakes::{
        Fake, Fault, Now,
        mailtrap::{self, Mailtrap},
        prefactor::{self, Prefactor},
        softwareone::{self, Softwareone},
        wavefront::{self, Wavefront},
    },
    support::{
        clock::TestClock,
        control_plane::{self, ControlPlane},
        in_time,
        operator::InProcess,
        tokens::{Team, hash},
    },
};

/// The vendors, by the names of their issuers.
pub const VENDORS: [&str; 4] = ["mailtrap", "prefactor", "softwareone", "wavefront"];

/// A namespace with an issuer for each vendor, and the operator for it.
pub struct Vendors {
    /// The namespace.
    pub team: Team,
    /// The time, for the operator and the vendors.
    pub clock: TestClock,
    /// Mailtrap.
    pub mailtrap: Fake<Mailtrap>,
    /// Prefactor.
    pub prefactor: Fake<Prefactor>,
    /// SoftwareOne Marketplace.
    pub softwareone: Fake<Softwareone>,
    /// Wavefront.
    pub wavefront: Fake<Wavefront>,
    upstream: Client,
    operator: Option<InProcess>,
}

impl Vendors {
    /// With issuers that are ready, and a token of somebody else at each vendor.
    pub async fn new(what: &str) -> Self {
        Self::with_clocks(what, SignedDuration::ZERO).await
    }

    /// The same, with vendors whose clocks are so far ahead of the operator's.
    pub async fn with_clocks(what: &str, ahead: SignedDuration) -> Self {
        let plane = control_plane::shared();
        let mut vendors = Self::beside(plane, &plane.namespace(what).await, ahead).await;
        vendors.start().await;
        for vendor in VENDORS {
            vendors.declare_issuer(vendor).await;
        }
        for vendor in VENDORS {
            vendors.until_ready(vendor).await;
        }
        vendors
    }

    /// A token of somebody else at each vendor; no issuer and no operator yet.
    pub async fn beside(plane: &ControlPlane, namespace: &str, ahead: SignedDuration) -> Self {
        let (clock, team) = (TestClock::default(), Team::new(plane.admin().await, namespace));
        let time = clock.clone();
        let now: Now = Arc::new(move || time.now() + ahead);
        let vendors = Self {
            team,
            clock,
            mailtrap: Fake::start(Mailtrap::new(now.clone())).await,
            prefactor: Fake::start(Prefactor::new(now.clone())).await,
            softwareone: Fake::start(Softwareone::new(now.clone())).await,
            wavefront: Fake::start(Wavefront::new(now)).await,
            upstream: plane.operator().await,
            operator: None,
        };
        vendors.mailtrap.with(|fake| fake.plant("somebody else's"));
        vendors.prefactor.with(|fake| fake.plant());
        vendors.softwareone.with(|fake| fake.plant("somebody else's").id.clone());
        vendors
            .wavefront
            .with(|fake| fake.plant(wavefront::ACCOUNT, Some("somebody else's")));
        vendors
    }

    /// Declares the issuer of a vendor, with its credential.
    pub async fn declare_issuer(&self, vendor: &str) {
        self.team.credential(vendor, credential(vendor)).await;
        let spec = self.spec_of(vendor, vendor);
        self.team.issuer(vendor, json!({ vendor: spec, "timeout": "2s" })).await;
    }

    /// What an issuer has to say of a vendor, with the credential in that Secret.
    pub fn spec_of(&self, vendor: &str, secret: &str) -> Value {
        let reference = json!({ "name": secret, "key": "token" });
        match vendor {
            "mailtrap" => json!({ "url": self.mailtrap.url(), "accountID": mailtrap::ACCOUNT, "credentialsRef": reference }),
            "prefactor" => json!({ "url": self.prefactor.url(), "credentialsRef": reference }),
            "softwareone" => {
                json!({ "url": format!("{}/public", self.softwareone.url()), "account": softwareone::ACCOUNT, "credentialsRef": reference })
            }
            _ => json!({ "url": self.wavefront.url(), "serviceAccount": wavefront::ACCOUNT, "credentialsRef": reference }),
        }
    }

    /// Waits until the issuer of a vendor is ready.
    pub async fn until_ready(&self, vendor: &str) {
        let status = async || {
            let issuer = self.team.api::<TokenIssuer>().get(vendor).await.unwrap();
            issuer.status.unwrap_or_default()
        };
        let ready = in_time(|| async { conditions::is_true(&status().await.conditions, ConditionType::Ready).then_some(()) }).await;
        if ready.is_none() {
            panic!("issuer {vendor} is not ready in time: {}", json!(status().await));
        }
    }

    /// Declares an ApiToken of that vendor.
    pub async fn declare(&self, vendor: &str, name: &str, fields: Value) -> ApiToken {
        let mut spec = json!({ "issuerRef": { "kind": "TokenIssuer", "name": vendor } });
        if let Some(parameters) = parameters(vendor) {
            spec["parameters"] = parameters;
        }
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.team.declare(name, spec).await
    }

    /// Has the operator look at an issuer again.
    pub async fn nudge_issuer(&self, vendor: &str) {
        let annotations = json!({ "example.com/nudge": self.clock.now().to_string() });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let api: Api<TokenIssuer> = self.team.api();
        api.patch(vendor, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Starts the operator.
    pub async fn start(&mut self) {
        let issuers = Arc::new(KnownIssuers);
        let operator = InProcess::start_at(self.upstream.clone(), self.clock.clone(), issuers, &self.team.namespace).await;
        self.operator = Some(operator);
    }

    /// Ends the operator where it stands, and starts another one.
    pub async fn crash(&mut self) {
        self.operator.take().unwrap().kill().await;
        self.start().await;
    }

    /// What the operator counts.
    pub fn metrics(&self) -> String {
        self.operator.as_ref().unwrap().metrics()
    }

    /// Ends the operator.
    pub async fn stop(mut self) {
        self.operator.take().unwrap().stop().await;
    }

    /// The values that work at a vendor, but those of somebody else.
    pub fn values(&self, vendor: &str) -> Vec<String> {
        let mut values: Vec<String> = match vendor {
            "mailtrap" => self
                .mailtrap
                .with(|fake| fake.live().iter().map(|token| token.value.clone()).collect()),
            "prefactor" => self.prefactor.with(|fake| {
                let live = fake.live().into_iter().filter(|token| token.status == "active");
                live.map(|token| token.value.clone()).collect()
            }),
            "softwareone" => self.softwareone.with(|fake| {
                let live = fake.present().filter(|token| token.status == "Active");
                live.map(|token| token.value.clone()).collect()
            }),
            _ => self.wavefront.with(|fake| fake.tokens().map(|token| token.value.clone()).collect()),
        };
        // The one that was there from the start.
        values.remove(0);
        values
    }

    /// The calls of a vendor so far.
    pub fn calls(&self, vendor: &str) -> Vec<String> {
        match vendor {
            "mailtrap" => self.mailtrap.calls(),
            "prefactor" => self.prefactor.calls(),
            "softwareone" => self.softwareone.calls(),
            _ => self.wavefront.calls(),
        }
    }

    /// The credential of each of them.
    pub fn callers(&self, vendor: &str) -> Vec<String> {
        match vendor {
            "mailtrap" => self.mailtrap.callers(),
            "prefactor" => self.prefactor.callers(),
            "softwareone" => self.softwareone.callers(),
            _ => self.wavefront.callers(),
        }
    }

    /// Has a vendor accept none any more but the tokens that it made.
    pub fn retire_credential(&self, vendor: &str) {
        match vendor {
            "mailtrap" => self.mailtrap.with(|fake| fake.retired = true),
            "prefactor" => self.prefactor.with(|fake| fake.retired = true),
            "softwareone" => self.softwareone.with(|fake| fake.retired = true),
            _ => self.wavefront.with(Wavefront::retire),
        }
    }

    /// Those that make, change or end a token.
    pub fn changes(&self, vendor: &str) -> Vec<String> {
        let mut calls = self.calls(vendor);
        calls.retain(|call| !call.starts_with("GET "));
        calls
    }

    /// Has the vendor show the token that its credential is. Gives its id.
    pub fn show_credential(&self, vendor: &str) -> String {
        match vendor {
            "mailtrap" => self.mailtrap.with(Mailtrap::show_credential).to_string(),
            "prefactor" => self.prefactor.with(Prefactor::show_credential),
            "softwareone" => self.softwareone.with(Softwareone::show_credential),
            _ => {
                let at_home = |fake: &mut Wavefront| wavefront::ACCOUNT.clone_into(&mut fake.token_mut(wavefront::CREDENTIAL).account);
                self.wavefront.with(at_home);
                format!("sha256:{}", &hash(wavefront::CREDENTIAL)[..16])
            }
        }
    }

    /// Has calls of that operation go wrong at all vendors.
    pub fn always(&self, operation: &'static str, fault: Fault) {
        self.mailtrap.always(operation, fault.clone());
        self.prefactor.always(operation, fault.clone());
        self.softwareone.always(operation, fault.clone());
        self.wavefront.always(operation, fault);
    }

    /// Has one call of so many go wrong at all vendors.
    pub fn random(&self, seed: u64, one_in: u32, faults: &[Fault]) {
        self.mailtrap.random(seed, one_in, faults.to_vec());
        self.prefactor.random(seed, one_in, faults.to_vec());
        self.softwareone.random(seed, one_in, faults.to_vec());
        self.wavefront.random(seed, one_in, faults.to_vec());
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.mailtrap.heal();
        self.prefactor.heal();
        self.softwareone.heal();
        self.wavefront.heal();
    }

    /// Lets time pass, and has the operator look at a token again.
    pub async fn later(&self, by: SignedDuration, name: &str) {
        self.clock.advance(by);
        self.team.nudge(name).await;
    }
}

/// What a vendor accepts from the start.
pub fn credential(vendor: &str) -> &'static str {
    match vendor {
        "mailtrap" => mailtrap::CREDENTIAL,
        "prefactor" => prefactor::CREDENTIAL,
        "softwareone" => softwareone::CREDENTIAL,
        _ => wavefront::CREDENTIAL,
    }
}

/// What a token of that vendor has to say of itself.
pub fn parameters(vendor: &str) -> Option<Value> {
    match vendor {
        "mailtrap" => {
            let resource = json!({ "resourceType": "account", "resourceID": mailtrap::ACCOUNT, "accessLevel": "viewer" });
            Some(json!({ "mailtrap": { "resources": [resource] } }))
        }
        "softwareone" => Some(json!({ "softwareone": { "modules": [softwareone::MODULE] } })),
        _ => None,
    }
}
