//! Random histories: whatever happens in whatever order, what must never happen does not, and once
//! the faults are over all comes to be as declared.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{
    hours,
    world::{Fault, Mishap, Passed, World},
};
use crate::{
    api::{
        ApiTokenSpec,
        api_token::{DesiredState, Rotation, SuspendPolicy},
    },
    issuers::Capabilities,
};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// An operator takes a pass, seeing the object so many versions late.
    Pass { operator: usize, lag: usize, mishap: Mishap },
    /// Time passes, in seconds.
    Wait(i64),
    /// A user changes the spec.
    Change(Change),
    /// A user asks for a rotation.
    Request { leak: bool },
    /// Somebody deletes or changes the Secret.
    Tamper { delete: bool },
    /// Somebody removes the token at the issuer.
    RemoveAtIssuer,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    State(DesiredState),
    Lifetime(Option<&'static str>),
    Interval(Option<&'static str>),
    Overlap(&'static str),
    ShowPrevious(bool),
    SecretName(Option<&'static str>),
    SecretKey(&'static str),
    DisplayName(Option<&'static str>),
}

impl Change {
    fn apply(self, spec: &mut ApiTokenSpec) {
        match self {
            Self::State(state) => spec.state = state,
            Self::Lifetime(lifetime) => spec.lifetime = lifetime.and_then(hours),
            Self::Interval(interval) => spec.rotation.get_or_insert_default().interval = interval.and_then(hours),
            Self::Overlap(overlap) => spec.rotation.get_or_insert_default().overlap = hours(overlap),
            Self::ShowPrevious(show) => spec.secret.include_previous = show,
            Self::SecretName(name) => spec.secret.name = name.map(str::to_owned),
            Self::SecretKey(key) => spec.secret.key = key.to_owned(),
            Self::DisplayName(name) => spec.display_name = name.map(str::to_owned),
        }
    }
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let fault = prop_oneof![
        Just(Fault::CrashBefore),
        Just(Fault::CrashAfter),
        Just(Fault::AnswerLost),
        Just(Fault::Refused),
        Just(Fault::OtherFirst),
    ];
    prop_oneof![1 => Just(None), 2 => (0usize..10, fault).prop_map(Some)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::State(DesiredState::Active)),
        2 => Just(Change::State(DesiredState::Suspended)),
        1 => Just(Change::Lifetime(Some("3h"))),
        1 => Just(Change::Lifetime(Some("90m"))),
        1 => Just(Change::Lifetime(None)),
        2 => Just(Change::Interval(Some("30m"))),
        1 => Just(Change::Interval(None)),
        1 => Just(Change::Overlap("20m")),
        1 => Just(Change::Overlap("20s")),
        1 => any::<bool>().prop_map(Change::ShowPrevious),
        1 => Just(Change::SecretName(Some("moved"))),
        1 => Just(Change::SecretName(None)),
        1 => Just(Change::SecretKey("password")),
        1 => Just(Change::DisplayName(Some("renamed"))),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0usize..2, prop_oneof![3 => Just(0usize), 1 => 1usize..3], mishap())
            .prop_map(|(operator, lag, mishap)| Event::Pass { operator, lag, mishap }),
        6 => prop_oneof![Just(1i64), Just(3), Just(10), Just(70), Just(900), Just(1900), Just(6000)].prop_map(Event::Wait),
        4 => change().prop_map(Event::Change),
        2 => any::<bool>().prop_map(|leak| Event::Request { leak }),
        1 => any::<bool>().prop_map(|delete| Event::Tamper { delete }),
        1 => Just(Event::RemoveAtIssuer),
    ]
}

/// How a history ends, once the faults are over.
#[derive(Clone, Copy, Debug)]
enum End {
    AsItIs,
    Activated,
    Revoked,
    Deleted,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![2 => Just(End::AsItIs), 2 => Just(End::Activated), 1 => Just(End::Revoked), 1 => Just(End::Deleted)]
}

/// Issuers that others run, with each combination of what they can.
fn capabilities() -> impl Strategy<Value = Capabilities> {
    (any::<[bool; 7]>()).prop_map(
        |[suspend, reset, readable_value, expiry, names, update, revoke_before_delete]| Capabilities {
            local: false,
            suspend,
            reset: reset.then(|| SignedDuration::from_mins(10)),
            readable_value,
            expiry,
            names,
            name_characters: Default::default(),
            update,
            revoke_before_delete,
            last_used: false,
        },
    )
}

fn spec(capabilities: Capabilities) -> ApiTokenSpec {
    ApiTokenSpec {
        rotation: Some(Rotation {
            overlap: hours("15m"),
            ..Default::default()
        }),
        suspend_policy: if capabilities.suspend {
            SuspendPolicy::Disable
        } else {
            SuspendPolicy::Withdraw
        },
        ..Default::default()
    }
}

fn run(capabilities: Capabilities, events: Vec<Event>, end: End) {
    let mut world = World::new(capabilities, spec(capabilities));
    for event in events {
        world.log.push(format!("--- {event:?} at {}", world.now));
        match event {
            Event::Pass { operator, lag, mishap } => {
                world.pass(operator, lag, mishap);
            }
            Event::Wait(seconds) => world.now += SignedDuration::from_secs(seconds),
            Event::Change(change) => world.respec(|spec| change.apply(spec)),
            Event::Request { leak } => world.request(leak),
            Event::Tamper { delete } => world.tamper(delete),
            Event::RemoveAtIssuer => world.remove_at_issuer(),
        }
    }
    world.log.push(format!("--- the faults are over: {end:?} at {}", world.now));
    match end {
        End::AsItIs => {}
        End::Activated => world.respec(|spec| spec.state = DesiredState::Active),
        End::Revoked => world.respec(|spec| spec.state = DesiredState::Revoked),
        End::Deleted => world.delete(),
    }
    world.now += SignedDuration::from_secs(601);
    world.settle();
    world.check_settled();
    assert!(
        matches!(world.pass(0, 0, None), Passed::Rested(_, false)),
        "what is as declared is left alone:\n{}",
        world.log.join("\n")
    );
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: from_environment("PROPTEST_CASES", 300),
        max_shrink_iters: from_environment("PROPTEST_MAX_SHRINK_ITERS", 4000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_built_in_issuer_loses_breaks_and_leaks_nothing(events in prop::collection::vec(event(), 1..30), end in end()) {
        run(Capabilities::BUILTIN, events, end);
    }

    #[test]
    fn an_issuer_that_others_run_loses_breaks_and_leaks_nothing(
        capabilities in capabilities(),
        events in prop::collection::vec(event(), 1..30),
        end in end(),
    ) {
        run(capabilities, events, end);
    }
}
