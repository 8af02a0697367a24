//! A model of two operators, an issuer and the API server, checked exhaustively: docs/model.md.
//!
//! What the operators do is what the real decision says. The rest of the world is in [`world`], what
//! must hold in [`properties`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

mod kept;
mod properties;
mod sight;
mod world;

use std::time::Instant;

use apitoken_operator::issuers::{Capabilities, NameCharacters};
use stateright::{Checker, HasDiscoveries, Model, Path};

use self::{
    properties::{ACCEPTED, BARRIER, EACH_REACHES, ONE_CURRENT},
    world::{Action, Planted, Setting, World},
};

/// Set, the bounds are wider: see `make model`.
const WIDE: &str = "APITOKEN_MODEL_WIDE";

/// An issuer that others run: it has names for our marker, and nothing else.
const REMOTE: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: None,
    readable_value: false,
    expiry: false,
    names: true,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: false,
    last_used: false,
};

/// The same, and it shows the value of a token again.
const READABLE: Capabilities = Capabilities {
    readable_value: true,
    ..REMOTE
};

/// Rotations, faults in one history, and attempts beyond those that are needed.
type Bounds = (u8, u8, i64);

fn setting(can: Capabilities, (requests, faults, spare): Bounds) -> Setting {
    Setting {
        can,
        requests,
        faults,
        most_attempts: 1 + i64::from(requests) + spare,
        ..Default::default()
    }
}

fn check(setting: Setting, until: HasDiscoveries) -> impl Checker<Setting> {
    setting.checker().threads(2).finish_when(until).spawn_bfs().join()
}

/// Checks within each of the bounds and says how many states there are.
fn holds(can: Capabilities, narrow: &[Bounds], wide: &[Bounds]) {
    let bounds = if std::env::var_os(WIDE).is_some() { wide } else { narrow };
    for bounds in bounds {
        let started = Instant::now();
        let checker = check(setting(can, *bounds), HasDiscoveries::AnyFailures);
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!("{bounds:?}: {states} states, {steps} steps, {:.0?}", started.elapsed());
        if let Some((name, path)) = checker.discoveries().into_iter().next() {
            panic!("not so: {name}\n{}", shown(path));
        }
    }
}

/// A history, one action with the world after it at a time.
fn shown(path: Path<World, Action>) -> String {
    let steps = path.into_vec().into_iter();
    steps.map(|(world, action)| format!("{world:?}\n-> {action:?}\n")).collect()
}

/// Whether the checker finds a history in which the property does not hold.
fn breaks(setting: Setting, property: &'static str) -> bool {
    let checker = check(setting, HasDiscoveries::AnyOf([property].into()));
    checker.discovery(property).is_some()
}

#[test]
fn a_token_of_the_builtin_issuer_rotates_whatever_fails() {
    holds(Capabilities::BUILTIN, &[(1, 1, 0)], &[(1, 1, 1), (2, 1, 0)]);
}

#[test]
fn a_token_of_an_issuer_that_others_run_rotates_whatever_fails() {
    holds(REMOTE, &[(0, 1, 0), (1, 0, 0)], &[(1, 0, 1), (1, 1, 0), (2, 0, 0), (2, 1, 0)]);
}

#[test]
fn a_token_that_the_issuer_shows_again_rotates_whatever_fails() {
    holds(READABLE, &[(0, 1, 0), (1, 0, 0)], &[(1, 0, 1), (1, 1, 0), (2, 0, 0), (2, 1, 0)]);
}

#[test]
fn a_last_look_may_be_long_before_the_call_after_it() {
    let slow = Setting {
        slow_after_look: true,
        ..setting(REMOTE, (0, 0, 1))
    };
    assert!(check(slow, HasDiscoveries::AnyFailures).discoveries().is_empty());
}

#[test]
fn each_planted_bug_is_found() {
    let builtin = Capabilities::BUILTIN;
    for (planted, can, broken) in [
        (Planted::PromotesBeforeTheSecret, builtin, ACCEPTED),
        (Planted::PromotesBeforeTheSecret, REMOTE, EACH_REACHES),
        (Planted::EndsTheOldFirst, REMOTE, ACCEPTED),
        (Planted::IgnoresConflicts, builtin, ACCEPTED),
        (Planted::IgnoresConflicts, REMOTE, ONE_CURRENT),
        (Planted::CallsWithoutIntent, REMOTE, ONE_CURRENT),
        (Planted::LeavesVerifiersNoTime, builtin, BARRIER),
    ] {
        let planted_in = Setting {
            planted: Some(planted),
            ..setting(can, (1, 0, 0))
        };
        assert!(breaks(planted_in, broken), "{planted:?}, local {}", can.local);
    }
}

#[test]
fn an_operator_that_is_later_than_the_hand_over_breaks_consumers() {
    let within = setting(REMOTE, (0, 0, 1));
    assert!(
        breaks(Setting { any_pace: true, ..within }, ACCEPTED),
        "it writes a Secret with what others have ended"
    );
}
