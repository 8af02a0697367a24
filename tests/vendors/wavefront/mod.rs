//! Wavefront: how the suite reaches it, and what is its own.

mod accounts;
mod answers;
mod which_is_new;

use apitoken_operator::{
    issuers::{Capabilities, NameCharacters},
    token_value::hash,
};
use serde_json::{Value, json};

use crate::{
    contract::Vendor,
    fakes::{
        Now,
        wavefront::{ACCOUNT, CREDENTIAL, READER, USER, Wavefront},
    },
};

/// Tokens of a service account.
pub struct ServiceAccount;
/// Tokens of the credential's own user.
pub struct OwnUser;

const CAPABILITIES: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: None,
    readable_value: true,
    expiry: false,
    names: true,
    name_characters: NameCharacters::Any,
    update: true,
    revoke_before_delete: false,
    last_used: true,
};

/// The spec of an issuer for that service account, or for the credential's own user.
fn spec_of(url: &str, account: Option<&str>) -> Value {
    json!({ "wavefront": { "url": url, "serviceAccount": account, "credentialsRef": { "name": "wavefront", "key": "token" } } })
}

/// The id that the operator shows of a value.
fn id_of(value: &str) -> String {
    format!("sha256:{}", &hash(value.as_bytes())[..16])
}

macro_rules! account {
    ($account:ty, $names:expr, $service_account:expr, $owner:expr, $another:expr) => {
        impl Vendor for $account {
            type Fake = Wavefront;
            const CAPABILITIES: Capabilities = Capabilities {
                names: $names,
                ..CAPABILITIES
            };
            const CREDENTIAL: &'static str = CREDENTIAL;
            const READER: Option<&'static str> = Some(READER);

            fn fake(now: Now) -> Wavefront {
                Wavefront::new(now)
            }

            fn spec(url: &str) -> Value {
                spec_of(url, $service_account)
            }

            fn spec_of_another_account(url: &str) -> Option<Value> {
                $another.map(|another| spec_of(url, Some(another)))
            }

            /// It has none.
            fn parameters() -> Value {
                json!({})
            }

            fn accepts(fake: &Wavefront, value: &str) -> bool {
                fake.tokens().any(|token| token.value == value)
            }

            fn count(fake: &Wavefront) -> usize {
                fake.tokens().count()
            }

            fn plant(fake: &mut Wavefront) -> String {
                id_of(&fake.plant($owner, Some("somebody else's")))
            }

            fn state_of(fake: &Wavefront, id: &str) -> Option<String> {
                let token = fake.tokens().find(|token| id_of(&token.value) == id)?;
                Some(format!("{token:?}"))
            }

            fn use_up_quota(fake: &mut Wavefront) -> bool {
                fake.fill($owner);
                true
            }
        }
    };
}

account!(ServiceAccount, true, Some(ACCOUNT), ACCOUNT, Some("sa::nobody"));
account!(OwnUser, false, None, USER, None::<&str>);
