//! The vendors: how each is reached, and what somebody sees and does who stands beside it.

use apitoken_operator::{api::api_token::Parameters, issuers::ListedState, token_value::hash};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};

use crate::fakes::{
    Behaviour, Now,
    mailtrap::{self, Mailtrap},
    prefactor::{self, Prefactor},
    softwareone::{self, Softwareone, Style},
    wavefront::{self, Wavefront},
};
use crate::histories::Kept;

/// Names of tokens of others: of a colleague, of another cluster with an ApiToken of the same uid, of another ApiToken.
pub const OTHERS: [&str; 3] = ["shop.ci", "shop.ci k8s-ffffffff-0123456789-1", "shop.ci k8s-0123abcd-ffffffffff-1"];

/// One vendor.
pub trait Vendor: 'static {
    /// Its fake.
    type Fake: Behaviour;
    /// A credential that may do anything.
    const CREDENTIAL: &'static str;

    /// One without tokens. What the vendor's documentation leaves open is one way or another.
    fn new(now: Now, rng: &mut StdRng) -> Self::Fake;
    /// The spec of an issuer at that address.
    fn spec(url: &str) -> Value;
    /// `spec.parameters` of an ApiToken.
    fn parameters() -> Option<Parameters>;
    /// Others that it takes, where it has any.
    fn other_parameters() -> Option<Parameters>;
    /// All tokens that are there.
    fn tokens(vendor: &Self::Fake) -> Vec<Kept>;
    /// Somebody removes a token.
    fn remove(vendor: &mut Self::Fake, id: &str);
    /// Somebody else makes a token of that name, where it has one. Gives its id; nothing where there is no room.
    fn plant(vendor: &mut Self::Fake, name: &str) -> Option<String>;
}

fn coin(rng: &mut StdRng) -> bool {
    rng.random_range(0..2) == 0
}

fn parameters(parameters: Value) -> Option<Parameters> {
    Some(serde_json::from_value(parameters).unwrap())
}

/// The state of a token that has no other than its end.
fn until(ended: bool) -> ListedState {
    if ended { ListedState::Revoked } else { ListedState::Active }
}

impl Vendor for Mailtrap {
    type Fake = Self;
    const CREDENTIAL: &'static str = mailtrap::CREDENTIAL;

    fn new(now: Now, rng: &mut StdRng) -> Self {
        let mut vendor = Self::new(now);
        vendor.resets_what_expires = coin(rng);
        vendor
    }

    fn spec(url: &str) -> Value {
        let reference = json!({ "name": "mailtrap", "key": "token" });
        json!({ "mailtrap": { "url": url, "accountID": mailtrap::ACCOUNT, "credentialsRef": reference } })
    }

    fn parameters() -> Option<Parameters> {
        let resource = json!({ "resourceType": "project", "resourceID": "77", "accessLevel": "admin" });
        parameters(json!({ "mailtrap": { "resources": [resource] } }))
    }

    fn other_parameters() -> Option<Parameters> {
        let resource = json!({ "resourceType": "project", "resourceID": "77", "accessLevel": "viewer" });
        parameters(json!({ "mailtrap": { "resources": [resource] } }))
    }

    fn tokens(vendor: &Self) -> Vec<Kept> {
        let now = vendor.now();
        let kept = |token: &mailtrap::Token| Kept {
            id: token.id.to_string(),
            hash: hash(token.value.as_bytes()),
            state: until(token.expires_at.is_some_and(|end| end <= now)),
            details: format!("{} {:?}", token.name, token.expires_at),
        };
        vendor.tokens().iter().map(kept).collect()
    }

    fn remove(vendor: &mut Self, id: &str) {
        vendor.remove(id);
    }

    fn plant(vendor: &mut Self, name: &str) -> Option<String> {
        Some(vendor.plant(name).to_string())
    }
}

impl Vendor for Prefactor {
    type Fake = Self;
    const CREDENTIAL: &'static str = prefactor::CREDENTIAL;

    fn new(now: Now, rng: &mut StdRng) -> Self {
        let mut vendor = Self::new(now);
        // Nothing but that it was there before tells it from ours.
        vendor.plant();
        vendor.error_status = [None, Some(200), Some(400), Some(422)][rng.random_range(0..4)];
        vendor.longest_page = [2, 100][rng.random_range(0..2)];
        (vendor.ends_without_offset, vendor.removes_silently) = (coin(rng), coin(rng));
        vendor
    }

    fn spec(url: &str) -> Value {
        json!({ "prefactor": { "url": url, "credentialsRef": { "name": "prefactor", "key": "token" } } })
    }

    fn parameters() -> Option<Parameters> {
        None
    }

    fn other_parameters() -> Option<Parameters> {
        let (environment, agent) = (prefactor::ENVIRONMENT, prefactor::AGENT);
        parameters(json!({ "prefactor": { "tokenScope": "agent_deployment", "environmentID": environment, "agentID": agent } }))
    }

    fn tokens(vendor: &Self) -> Vec<Kept> {
        let now = vendor.now();
        let kept = |token: &prefactor::Token| Kept {
            id: token.id.clone(),
            hash: hash(token.value.as_bytes()),
            state: match token.status.as_str() {
                "suspended" if token.expires_at > now => ListedState::Suspended,
                "active" => until(token.expires_at <= now),
                _ => ListedState::Revoked,
            },
            details: format!("{} {} {}", token.status, token.token_scope, token.expires_at),
        };
        vendor.tokens().iter().map(kept).collect()
    }

    fn remove(vendor: &mut Self, id: &str) {
        vendor.remove(id);
    }

    /// For another purpose: nobody could tell it from ours else, and the documentation says so.
    fn plant(vendor: &mut Self, _: &str) -> Option<String> {
        let id = vendor.plant();
        let token = vendor.token(&id);
        token.token_scope = "environment".to_owned();
        token.environment_id = Some(prefactor::ENVIRONMENT.to_owned());
        Some(id)
    }
}

impl Vendor for Softwareone {
    type Fake = Self;
    const CREDENTIAL: &'static str = softwareone::CREDENTIAL;

    fn new(now: Now, rng: &mut StdRng) -> Self {
        let mut vendor = Self::new(now);
        vendor.page = [2, 100][rng.random_range(0..2)];
        vendor.already = [400, 409][rng.random_range(0..2)];
        vendor.style = [Style::Problem, Style::Message, Style::Text][rng.random_range(0..3)];
        (vendor.counts, vendor.shows_deleted, vendor.hides_account) = (coin(rng), coin(rng), coin(rng));
        vendor
    }

    fn spec(url: &str) -> Value {
        let reference = json!({ "name": "softwareone", "key": "token" });
        json!({ "softwareone": { "url": format!("{url}/public"), "account": softwareone::ACCOUNT, "credentialsRef": reference } })
    }

    fn parameters() -> Option<Parameters> {
        parameters(json!({ "softwareone": { "modules": [softwareone::MODULE] } }))
    }

    fn other_parameters() -> Option<Parameters> {
        parameters(json!({ "softwareone": { "modules": [softwareone::MODULE, softwareone::OTHER_MODULE] } }))
    }

    fn tokens(vendor: &Self) -> Vec<Kept> {
        let kept = |token: &softwareone::Token| Kept {
            id: token.id.clone(),
            hash: hash(token.value.as_bytes()),
            state: match token.status.as_str() {
                "Disabled" => ListedState::Suspended,
                _ => ListedState::Active,
            },
            details: format!("{} {} {:?}", token.status, token.name, token.modules),
        };
        vendor.present().map(kept).collect()
    }

    fn remove(vendor: &mut Self, id: &str) {
        if vendor.present().any(|token| token.id == id) {
            "Deleted".clone_into(&mut vendor.named(id).status);
        }
    }

    fn plant(vendor: &mut Self, name: &str) -> Option<String> {
        Some(vendor.plant(name).id.clone())
    }
}

/// Tokens of a service account at Wavefront.
pub struct ServiceAccount;
/// Tokens of the credential's own user there, which are made without a name.
pub struct OwnUser;

/// With so many tokens in an account nobody else makes another: few are left of the quota, but some are.
const CROWD: usize = 12;

macro_rules! wavefront {
    ($kind:ty, $service_account:expr, $account:expr) => {
        impl Vendor for $kind {
            type Fake = Wavefront;
            const CREDENTIAL: &'static str = wavefront::CREDENTIAL;

            fn new(now: Now, rng: &mut StdRng) -> Wavefront {
                let mut vendor = Wavefront::new(now);
                vendor.errors_in_success = coin(rng);
                vendor.plant($account, None);
                for _ in 0..rng.random_range(0..CROWD - OTHERS.len()) {
                    vendor.plant($account, Some("another's"));
                }
                vendor
            }

            fn spec(url: &str) -> Value {
                let reference = json!({ "name": "wavefront", "key": "token" });
                json!({ "wavefront": { "url": url, "serviceAccount": $service_account, "credentialsRef": reference } })
            }

            fn parameters() -> Option<Parameters> {
                None
            }

            fn other_parameters() -> Option<Parameters> {
                None
            }

            fn tokens(vendor: &Wavefront) -> Vec<Kept> {
                let kept = |token: &wavefront::Token| Kept {
                    id: id_of(token),
                    hash: hash(token.value.as_bytes()),
                    state: ListedState::Active,
                    details: format!("{:?} {}", token.name, token.account),
                };
                vendor.tokens().map(kept).collect()
            }

            fn remove(vendor: &mut Wavefront, id: &str) {
                let found = vendor.tokens().find(|token| id_of(token) == id);
                if let Some(value) = found.map(|token| token.value.clone()) {
                    vendor.remove(&value);
                }
            }

            fn plant(vendor: &mut Wavefront, name: &str) -> Option<String> {
                if vendor.tokens().count() >= CROWD {
                    return None;
                }
                let value = vendor.plant($account, Some(name));
                Some(id_of(vendor.token_mut(&value)))
            }
        }
    };
}

wavefront!(ServiceAccount, Some(wavefront::ACCOUNT), wavefront::ACCOUNT);
wavefront!(OwnUser, None::<&str>, wavefront::USER);

/// The id that operators show of it.
fn id_of(token: &wavefront::Token) -> String {
    format!("sha256:{}", &hash(token.value.as_bytes())[..16])
}
