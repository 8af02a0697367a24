//! What each adapter must do, whatever its vendor can: one suite, run against each fake.
//!
//! A new vendor implements [`Vendor`] and is listed in `contract!` at the end.

mod failures;
mod fuzzing;
mod refusals;
mod verbs;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use apitoken_operator::{
    api::IssuerSpec,
    issuers::{Access, Capabilities, IssuedToken, Issuer, IssuerError, Issuers as _, KnownIssuers, ListedToken, Reach, TokenRequest, Verb},
    token_value::TokenValue,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, Fake, Fault, Now, Shown},
    mailtrap::{LongPaths, ShortPaths},
    prefactor::{NamedAccount, OwnAccount},
    softwareone::Marketplace,
    wavefront::{OwnUser, ServiceAccount},
};

/// One vendor, as the suite needs to know it.
pub trait Vendor: 'static {
    /// Its fake.
    type Fake: Behaviour;
    /// What its adapter must be able to do.
    const CAPABILITIES: Capabilities;
    /// A credential that may do anything.
    const CREDENTIAL: &'static str;
    /// One that lacks the right to change anything; none where the vendor has no such thing.
    const READER: Option<&'static str>;
    /// Whether the vendor gives a token an end for which none is asked.
    const GIVES_ENDS: bool = false;

    /// A fake without tokens.
    fn fake(now: Now) -> Self::Fake;
    /// The spec of an issuer at that address: the vendor's part, such as `{"mailtrap": {...}}`.
    fn spec(url: &str) -> Value;
    /// The same, for an account that is not there; nothing where the credential alone says which one it is.
    fn spec_of_another_account(url: &str) -> Option<Value>;
    /// `parameters` of a token that the vendor accepts.
    fn parameters() -> Value;
    /// Whether the vendor lets a value in.
    fn accepts(fake: &Self::Fake, value: &str) -> bool;
    /// How many tokens work or are held back.
    fn count(fake: &Self::Fake) -> usize;
    /// Somebody else makes a token there. Gives its id as the adapter shows it.
    fn plant(fake: &mut Self::Fake) -> String;
    /// All that the vendor knows of the token with that id; nothing where it is gone.
    fn state_of(fake: &Self::Fake, id: &str) -> Option<String>;
    /// Uses the quota of tokens up; false where there is none.
    fn use_up_quota(fake: &mut Self::Fake) -> bool;
}

/// A clock that the test steps; else it stands still.
#[derive(Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::now().as_second())))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    /// Lets time pass.
    pub fn advance(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

/// A fake, and the way to it.
pub struct Bench<V: Vendor> {
    /// The vendor.
    pub fake: Fake<V::Fake>,
    /// Its clock.
    pub clock: Clock,
}

/// Longer than any test takes.
pub const PATIENT: &str = "30s";
/// For calls that are never answered.
const IMPATIENT: &str = "2s";

impl<V: Vendor> Bench<V> {
    /// With a vendor that has no tokens.
    pub async fn new() -> Self {
        let clock = Clock::new();
        let now = clock.clone();
        Self {
            fake: Fake::start(V::fake(Arc::new(move || now.now()))).await,
            clock,
        }
    }

    /// The adapter.
    pub fn issuer(&self) -> Arc<dyn Issuer> {
        open(V::spec(self.fake.url()), V::CREDENTIAL, PATIENT)
    }

    /// The adapter, for calls that go wrong so: it does not wait long where nobody answers.
    pub fn facing(&self, fault: &Fault) -> Arc<dyn Issuer> {
        let timeout = if fault.shown == Shown::Silence { IMPATIENT } else { PATIENT };
        open(V::spec(self.fake.url()), V::CREDENTIAL, timeout)
    }

    /// What a token is asked for with; each attempt has a name of its own.
    pub fn request(&self, attempt: i64) -> TokenRequest {
        TokenRequest {
            name: Some(format!("shop.ci k8s-0123abcd-0123456789-{attempt}")),
            description: Some("deploys the shop".to_owned()),
            account: None,
            expires_at: None,
            parameters: Some(serde_json::from_value(V::parameters()).unwrap()),
            attempt,
        }
    }

    /// Makes a token.
    pub async fn made(&self, attempt: i64) -> IssuedToken {
        self.issuer().create(&self.request(attempt)).await.unwrap()
    }

    /// The token as the list shows it.
    pub async fn listed(&self, id: &str) -> Option<ListedToken> {
        let tokens = self.issuer().list(&self.request(0)).await.unwrap();
        let mut found = tokens.into_iter().filter(|token| token.id == id);
        let first = found.next();
        assert!(found.next().is_none(), "{id} is listed twice");
        first
    }

    /// Whether the vendor lets the value in.
    pub fn accepts(&self, value: &TokenValue) -> bool {
        self.fake.with(|fake| V::accepts(fake, value.expose()))
    }

    /// How many tokens work or are held back.
    pub fn count(&self) -> usize {
        self.fake.with(|fake| V::count(fake))
    }

    /// Ends a token, as this vendor wants it.
    pub async fn end(&self, id: &str) -> Result<(), IssuerError> {
        let (issuer, request) = (self.issuer(), self.request(0));
        if V::CAPABILITIES.revoke_before_delete {
            issuer.change(id, Verb::Revoke, &request).await?;
        }
        issuer.change(id, Verb::Delete, &request).await
    }
}

/// An adapter, opened as the operator does it.
pub fn open(spec: Value, credential: &str, timeout: &str) -> Arc<dyn Issuer> {
    let mut spec: IssuerSpec = serde_json::from_value(spec).unwrap();
    spec.timeout = Some(serde_json::from_value(json!(timeout)).unwrap());
    let access = Access {
        spec: &spec,
        credential: TokenValue::new(credential),
        reach: Reach::Anywhere,
        waited: Default::default(),
    };
    KnownIssuers.open(access).unwrap().unwrap()
}

/// Runs the suite for vendors: the tests for all, and those for what only some of them have.
macro_rules! contract {
    ($($name:ident: $vendor:ty => [$($group:ident),*],)+) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn no_test_that_fits_is_left_out() {
                fits::<$vendor>(&[$(stringify!($group)),*]).await;
            }

            contract! { @tests $vendor;
                verbs: [
                    capabilities_are_as_the_vendor_is,
                    what_is_made_is_listed_with_its_name_and_end,
                    what_is_made_without_an_end_has_none,
                    a_value_works_until_its_token_is_deleted,
                    what_is_gone_can_be_ended_again,
                    tokens_of_others_stay_as_they_are,
                    what_a_vendor_can_not_is_refused_without_a_call,
                ]
                refusals: [
                    a_wrong_credential_is_told,
                    calls_are_held_back_when_the_vendor_asks_for_it,
                ]
                failures: [
                    what_is_said_of_a_failed_create_is_true,
                    other_calls_fail_and_succeed_when_they_are_repeated,
                    a_list_that_lags_costs_no_token,
                    through_random_faults_no_token_goes_unnoticed,
                ]
                fuzzing: [
                    no_answer_is_too_odd,
                ]
            }
            $(contract! { @$group $vendor })*
        })+
    };
    (@suspend $vendor:ty) => {
        contract! { @tests $vendor; verbs: [a_token_is_held_back_and_works_again,] }
    };
    (@reset $vendor:ty) => {
        contract! { @tests $vendor;
            verbs: [a_reset_gives_a_new_value_and_the_old_one_works_on_for_a_time,]
            failures: [what_is_said_of_a_failed_reset_is_true,]
        }
    };
    (@update $vendor:ty) => {
        contract! { @tests $vendor; verbs: [a_token_gets_another_name,] }
    };
    (@rights $vendor:ty) => {
        contract! { @tests $vendor; refusals: [a_missing_right_is_told,] }
    };
    (@accounts $vendor:ty) => {
        contract! { @tests $vendor; refusals: [an_unknown_account_is_told,] }
    };
    (@quota $vendor:ty) => {
        contract! { @tests $vendor; refusals: [a_quota_that_is_used_up_is_told,] }
    };
    (@tests $vendor:ty; $($module:ident: [$($test:ident,)+])+) => {
        $($(#[tokio::test]
        async fn $test() {
            $module::$test::<$vendor>().await;
        })+)+
    };
}

/// Whether the groups of tests that are run are those for what the vendor has.
async fn fits<V: Vendor>(groups: &[&str]) {
    let bench = Bench::<V>::new().await;
    let (can, url) = (V::CAPABILITIES, bench.fake.url());
    let has = [
        ("suspend", can.suspend),
        ("reset", can.reset.is_some()),
        ("update", can.update),
        ("rights", V::READER.is_some()),
        ("accounts", V::spec_of_another_account(url).is_some()),
        ("quota", bench.fake.with(|fake| V::use_up_quota(fake))),
    ];
    let fitting: Vec<&str> = has.into_iter().filter(|(_, has)| *has).map(|(group, _)| group).collect();
    assert_eq!(groups, fitting);
}

// After each vendor what only some have: suspend, reset, update, rights (a credential that may only read), accounts (one that is not
// there can be named), quota.
contract! {
    mailtrap_with_short_paths: ShortPaths => [reset, rights],
    mailtrap_with_long_paths: LongPaths => [reset, rights, accounts],
    prefactor_in_its_own_account: OwnAccount => [suspend, rights],
    prefactor_in_a_named_account: NamedAccount => [suspend, rights, accounts],
    softwareone: Marketplace => [suspend, update, rights],
    wavefront_of_a_service_account: ServiceAccount => [update, rights, accounts, quota],
    wavefront_of_its_own_user: OwnUser => [update, rights, quota],
}
