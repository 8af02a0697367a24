//! What must hold, in every state that can be reached.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Mutex,
};

use apitoken_operator::api::{
    ApiTokenStatus,
    api_token::ObservedState,
    conditions::{self, ConditionType},
};
use stateright::Property;

use crate::{
    kept::now,
    sight::{PROPAGATION, Token, Tokens, token_in},
    world::{Action, Answer, Operator, Setting, World},
};

/// Worlds that are known to lead to what is declared.
#[derive(Default)]
pub struct Good(Mutex<HashSet<u64>>);

/// Steps of a run. More than enough: a rotation takes fewer than twenty.
const LONGEST_RUN: usize = 200;
/// Steps of one pass.
const LONGEST_PASS: usize = 64;

pub const ONE_CURRENT: &str = "no token works but the current one, those of an overlap, and that of the attempt under way";
pub const ACCEPTED: &str = "what the Secret holds works, once a token was issued";
pub const OVERLAPS: &str = "a replaced token works as long as declared";
pub const BARRIER: &str = "verifiers have time to learn of a value before consumers see it";
pub const BOUNDED: &str = "there are no more rotations than were asked for";
pub const BOTH_REACH: &str = "with faults gone, two operators reach what is declared";
pub const EACH_REACHES: &str = "with faults gone, whichever operator is left reaches what is declared";

/// All of them.
pub fn all() -> Vec<Property<Setting>> {
    vec![
        Property::always(ONE_CURRENT, one_current),
        Property::always(ACCEPTED, accepted),
        Property::always(OVERLAPS, overlaps),
        Property::always(BARRIER, barrier),
        Property::always(BOUNDED, bounded),
        Property::always(BOTH_REACH, both_reach),
        Property::always(EACH_REACHES, each_reaches),
    ]
}

fn token(hash: Option<&String>) -> Option<Token> {
    hash.map(|hash| Token::with_hash(hash))
}

fn current(status: &ApiTokenStatus) -> Option<Token> {
    token(status.token.as_ref()?.hash.as_ref())
}

/// Replaced tokens, with those whose overlap is over only where they are asked for.
fn previous(status: &ApiTokenStatus, over: bool) -> impl Iterator<Item = Token> {
    let counts = status.previous.iter().filter(move |previous| over || previous.revoke_at.0 > now());
    counts.filter_map(|previous| token(previous.hash.as_ref()))
}

/// At an issuer that others run: what works there. At the built-in one the status says what works.
fn one_current(setting: &Setting, world: &World) -> bool {
    let empty = ApiTokenStatus::default();
    let status = world.status.as_deref().unwrap_or(&empty);
    let known: Tokens = current(status).into_iter().chain(previous(status, true)).collect();
    let attempted = |token: &Token| status.pending.as_ref().is_some_and(|pending| pending.attempt == token.attempt());
    setting.can.local || world.live.iter().all(|token| known.contains(token) || attempted(token))
}

fn accepted(setting: &Setting, world: &World) -> bool {
    let Some(status) = world.status.as_deref().filter(|status| status.state == Some(ObservedState::Active)) else {
        return true;
    };
    let Some(held) = world.secret.as_deref().map(token_in) else {
        return false;
    };
    if !setting.can.local {
        return world.live.contains(&held);
    }
    let coming = status.pending.as_ref().and_then(|pending| token(pending.hash.as_ref()));
    current(status)
        .into_iter()
        .chain(coming)
        .chain(previous(status, false))
        .any(|token| token == held)
}

fn overlaps(setting: &Setting, world: &World) -> bool {
    let status = world.status.as_deref();
    setting.can.local || status.is_none_or(|status| previous(status, false).all(|token| world.live.contains(&token)))
}

fn barrier(_: &Setting, world: &World) -> bool {
    let Some(pending) = world.status.as_deref().and_then(|status| status.pending.as_ref()) else {
        return true;
    };
    let held = world.secret.as_deref().map(token_in);
    let shown = pending.hash.is_some() && token(pending.hash.as_ref()) == held;
    !shown || world.announced.is_some_and(|age| age >= PROPAGATION)
}

fn bounded(_: &Setting, world: &World) -> bool {
    let rotations = world.status.as_deref().and_then(|status| status.rotations);
    rotations.unwrap_or(0) <= i64::from(world.requests)
}

fn both_reach(setting: &Setting, world: &World) -> bool {
    reaches(setting, without_faults(world), &[0, 1])
}

fn without_faults(world: &World) -> World {
    World {
        faults: 0,
        ..world.clone()
    }
}

fn each_reaches(setting: &Setting, world: &World) -> bool {
    [(0, 1), (1, 0)].into_iter().all(|(left, gone)| {
        let mut world = without_faults(world);
        world.operators[gone] = Operator::default();
        reaches(setting, world, &[left])
    })
}

/// Whether a run of these operators without faults ends in what is declared, and stays there.
fn reaches(setting: &Setting, mut world: World, operators: &[usize]) -> bool {
    let mut way = Vec::new();
    while way.len() < LONGEST_RUN {
        let print = print(&world, operators);
        if setting.good.0.lock().unwrap().contains(&print) {
            break;
        }
        way.push(print);
        match onwards(setting, &world, operators) {
            Some(after) => world = after,
            None if is_as_declared(setting, &world) => break,
            None => return false,
        }
    }
    let came_to_an_end = way.len() < LONGEST_RUN;
    setting.good.0.lock().unwrap().extend(way);
    came_to_an_end
}

fn print(world: &World, operators: &[usize]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (world, operators).hash(&mut hasher);
    hasher.finish()
}

/// What happens next where nothing goes wrong; nothing where nothing changes any more. A pass under way
/// goes on, late calls arrive, each operator makes passes until they change nothing, then time passes.
fn onwards(setting: &Setting, world: &World, operators: &[usize]) -> Option<World> {
    let after = |action| setting.after(world, &action).filter(|after| after != world);
    let answer = Answer::Done;
    if let Some(&operator) = operators.iter().find(|operator| world.operators[**operator].pass.is_some()) {
        return after(Action::Step { operator, answer });
    }
    let late = (0..2).find(|operator| world.operators[*operator].late.is_some());
    late.and_then(|operator| after(Action::Arrive(operator)))
        .or_else(|| operators.iter().find_map(|operator| whole_pass(setting, world, *operator)))
        .or_else(|| after(Action::Tick))
}

/// The world after a pass of this operator, where it changes something; in the middle of it where it
/// comes to no end.
fn whole_pass(setting: &Setting, world: &World, operator: usize) -> Option<World> {
    let mut after = setting.after(world, &Action::Begin { operator, polls: true })?;
    for _ in 0..LONGEST_PASS {
        if after.operators[operator].pass.is_none() {
            break;
        }
        let answer = Answer::Done;
        after = setting.after(&after, &Action::Step { operator, answer })?;
    }
    (after != *world).then_some(after)
}

fn is_as_declared(setting: &Setting, world: &World) -> bool {
    let Some(status) = world.status.as_deref() else {
        return false;
    };
    let Some(current) = current(status) else {
        return false;
    };
    let answered = status.last_rotation_request == (world.requests > 0).then(|| world.requests.to_string());
    answered
        && status.pending.is_none()
        && status.previous.is_empty()
        && conditions::is_true(&status.conditions, ConditionType::Ready)
        && world.secret.as_deref().map(token_in) == Some(current)
        && (setting.can.local || world.live == Tokens::from([current]))
}
