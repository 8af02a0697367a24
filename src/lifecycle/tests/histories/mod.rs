//! Random histories: whatever happens in whatever order, what must never happen does not, and once
//! the faults are over all comes to be as declared.
//!
//! They run here with issuers in memory, and in `tests/histories` with the fake vendors.

#![allow(dead_code, reason = "each crate of tests uses a part of it")]

mod checks;
mod site;
mod steps;
mod world;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::situation::hours;
use crate::{
    api::{
        ApiTokenSpec,
        api_token::{DesiredState, Rotation, SuspendPolicy},
    },
    issuers::Capabilities,
};

use self::world::Passed;
pub use self::{
    site::{Kept, Site},
    world::{Fault, Mishap, Moment, World},
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
    /// A user asks the issuer for something else, or for the first again.
    ChangeParameters,
    /// A user asks for a rotation.
    Request { leak: bool },
    /// Somebody deletes or changes the Secret.
    Tamper { delete: bool },
    /// Somebody removes the token at the issuer.
    RemoveAtIssuer,
    /// Somebody else makes a token at the issuer.
    PlantAtIssuer,
}

impl Event {
    fn happen(self, world: &mut World) {
        match self {
            Self::Pass { operator, lag, mishap } => drop(world.pass(operator, lag, mishap)),
            Self::Wait(seconds) => world.now += SignedDuration::from_secs(seconds),
            Self::Change(change) => world.respec(|spec| change.apply(spec)),
            Self::ChangeParameters => world.change_parameters(),
            Self::Request { leak } => world.request(leak),
            Self::Tamper { delete } => world.tamper(delete),
            Self::RemoveAtIssuer => world.remove_at_issuer(),
            Self::PlantAtIssuer => world.plant_at_issuer(),
        }
    }
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

impl World {
    fn live_through(&mut self, events: Vec<Event>) {
        for event in events {
            self.log.push(format!("--- {event:?} at {}", self.now));
            event.happen(self);
        }
    }
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let moment = prop_oneof![(0usize..10).prop_map(Moment::Step), (0usize..3).prop_map(Moment::Call)];
    let fault = prop_oneof![
        Just(Fault::CrashBefore),
        Just(Fault::CrashAfter),
        Just(Fault::AnswerLost),
        Just(Fault::Refused),
        Just(Fault::OtherFirst),
        Just(Fault::Slow),
        Just(Fault::Behind),
    ];
    prop_oneof![1 => Just(None), 2 => (moment, fault).prop_map(Some)]
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
        1 => Just(Event::ChangeParameters),
        2 => any::<bool>().prop_map(|leak| Event::Request { leak }),
        1 => any::<bool>().prop_map(|delete| Event::Tamper { delete }),
        1 => Just(Event::RemoveAtIssuer),
        1 => Just(Event::PlantAtIssuer),
    ]
}

/// How it ends.
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

impl End {
    fn come(self, world: &mut World) {
        match self {
            Self::AsItIs => {}
            Self::Activated => world.respec(|spec| spec.state = DesiredState::Active),
            Self::Revoked => world.respec(|spec| spec.state = DesiredState::Revoked),
            Self::Deleted => world.delete(),
        }
    }
}

/// What happens, how it ends, and what happens while it does. Then the faults are over.
#[derive(Clone, Debug)]
pub struct History {
    events: Vec<Event>,
    end: End,
    meanwhile: Vec<Event>,
}

/// Any history.
pub fn history() -> impl Strategy<Value = History> {
    let events = |most| prop::collection::vec(event(), 0..most);
    (events(30), end(), events(8)).prop_map(|(events, end, meanwhile)| History { events, end, meanwhile })
}

/// Lets all that happen, with operators that know nothing of each other, and looks whether it ends well.
pub fn run(site: Box<dyn Site>, spec: ApiTokenSpec, history: History) {
    let mut world = World::new(site, spec);
    world.live_through(history.events);
    world.log.push(format!("--- {:?} at {}", history.end, world.now));
    history.end.come(&mut world);
    world.live_through(history.meanwhile);
    world.log.push(format!("--- the faults are over at {}", world.now));
    world.now += SignedDuration::from_secs(601);
    world.settle_overlaps();
    world.check_settled();
    assert!(
        matches!(world.pass(0, 0, None), Passed::Rested(_, false)),
        "what is as declared is left alone:\n{}",
        world.log.join("\n")
    );
}

/// The spec of the ApiToken, for an issuer that can do that.
pub fn spec(can: Capabilities) -> ApiTokenSpec {
    ApiTokenSpec {
        rotation: Some(Box::new(Rotation {
            overlap: hours("15m"),
            ..Default::default()
        })),
        suspend_policy: if can.suspend {
            SuspendPolicy::Disable
        } else {
            SuspendPolicy::Withdraw
        },
        ..Default::default()
    }
}

/// How many histories, where the environment does not say.
pub fn cases(number: u32) -> ProptestConfig {
    ProptestConfig {
        cases: from_environment("PROPTEST_CASES", number),
        max_shrink_iters: from_environment("PROPTEST_MAX_SHRINK_ITERS", 4000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}
