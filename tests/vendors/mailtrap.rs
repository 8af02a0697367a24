//! Mailtrap: how the suite reaches it, and what is its own.

use apitoken_operator::issuers::Capabilities;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    contract::Vendor,
    fakes::{
        Now,
        mailtrap::{ACCOUNT, CREDENTIAL, Mailtrap, READER},
    },
};

/// By the paths without an account.
pub struct ShortPaths;
/// By the paths with one.
pub struct LongPaths;

const CAPABILITIES: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: Some(SignedDuration::from_hours(12)),
    readable_value: false,
    expiry: true,
    names: true,
    update: false,
    revoke_before_delete: false,
    last_used: false,
};

fn spec_of(url: &str, account: Option<&str>) -> Value {
    json!({ "mailtrap": { "url": url, "accountID": account, "credentialsRef": { "name": "mailtrap", "key": "token" } } })
}

fn some_parameters() -> Value {
    json!({ "mailtrap": { "resources": [
        { "resourceType": "account", "resourceID": "3229", "accessLevel": "viewer" },
        { "resourceType": "project", "resourceID": "77", "accessLevel": "admin" },
        { "resourceType": "sandbox", "resourceID": "4015", "accessLevel": "admin" },
        { "resourceType": "domain", "resourceID": "12", "accessLevel": "viewer" },
    ] } })
}

macro_rules! paths {
    ($paths:ty, $account:expr, $another:expr) => {
        impl Vendor for $paths {
            type Fake = Mailtrap;
            const CAPABILITIES: Capabilities = CAPABILITIES;
            const CREDENTIAL: &'static str = CREDENTIAL;
            const READER: Option<&'static str> = Some(READER);

            fn fake(now: Now) -> Mailtrap {
                Mailtrap::new(now)
            }

            fn spec(url: &str) -> Value {
                spec_of(url, $account)
            }

            fn spec_of_another_account(url: &str) -> Option<Value> {
                $another.map(|another| spec_of(url, Some(another)))
            }

            fn parameters() -> Value {
                some_parameters()
            }

            fn accepts(fake: &Mailtrap, value: &str) -> bool {
                fake.live().iter().any(|token| token.value == value)
            }

            fn count(fake: &Mailtrap) -> usize {
                fake.live().len()
            }

            fn plant(fake: &mut Mailtrap) -> String {
                fake.plant("somebody else's").to_string()
            }

            fn state_of(fake: &Mailtrap, id: &str) -> Option<String> {
                let token = fake.tokens().iter().find(|token| token.id.to_string() == id)?;
                Some(format!(
                    "{} {} {:?} {:?}",
                    token.name, token.value, token.resources, token.expires_at
                ))
            }

            fn use_up_quota(_: &mut Mailtrap) -> bool {
                false
            }
        }
    };
}

paths!(ShortPaths, None, None::<&str>);
paths!(LongPaths, Some(ACCOUNT), Some("404404"));
