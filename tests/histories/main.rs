//! The random histories of the lifecycle, with the fake vendors as issuers: each call goes through the real adapter and over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

use apitoken_operator::{api, issuers, lifecycle, token_value};

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../../src/lifecycle/tests/histories/mod.rs"]
mod histories;
mod market;
#[path = "../../src/lifecycle/tests/situation.rs"]
mod situation;
mod vendors;

use std::sync::LazyLock;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use self::{
    histories::{History, cases, history, run, spec},
    market::Market,
    vendors::{OwnUser, ServiceAccount, Vendor},
};
use crate::fakes::{mailtrap::Mailtrap, prefactor::Prefactor, softwareone::Softwareone};

/// Histories for each vendor.
const HISTORIES: u32 = 500;

/// Serves the fakes, and drives the calls of the adapters.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// One history at a vendor of that kind.
fn lives_through<V: Vendor>(seed: u64, history: History) {
    let _runtime = RUNTIME.enter();
    let market = RUNTIME.block_on(Market::<V>::open(seed));
    let mut spec = spec(market.capabilities());
    spec.parameters = V::parameters();
    run(Box::new(market), spec, history);
}

proptest! {
    #![proptest_config(cases(HISTORIES))]

    #[test]
    fn mailtrap_loses_breaks_and_leaks_nothing(seed in any::<u64>(), history in history()) {
        lives_through::<Mailtrap>(seed, history);
    }

    #[test]
    fn prefactor_loses_breaks_and_leaks_nothing(seed in any::<u64>(), history in history()) {
        lives_through::<Prefactor>(seed, history);
    }

    #[test]
    fn softwareone_loses_breaks_and_leaks_nothing(seed in any::<u64>(), history in history()) {
        lives_through::<Softwareone>(seed, history);
    }

    #[test]
    fn wavefront_loses_breaks_and_leaks_nothing(seed in any::<u64>(), history in history()) {
        lives_through::<ServiceAccount>(seed, history);
    }

    #[test]
    fn wavefront_without_a_service_account_loses_breaks_and_leaks_nothing(seed in any::<u64>(), history in history()) {
        lives_through::<OwnUser>(seed, history);
    }
}
