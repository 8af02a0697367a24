//! The world of the model: API server, issuer and two operators, and everything that can happen.
//!
//! An action is one call to the API server or to the issuer with its effect and answer; what an
//! operator does between two calls nobody sees. A write under a version succeeds where nobody wrote
//! since, so that instead of versions it is kept whether what a pass saw is still current.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use apitoken_operator::{api::ApiTokenStatus, issuers::Capabilities, lifecycle::TIME_TO_CALL};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use stateright::{Model, Property};

use crate::{
    kept::{Kept, Memo, OLDEST, age, older},
    properties,
    sight::{Fault, Fresh, HAND_OVER, Look, Next, Seen, TICK, Token, Tokens, token_in},
};

/// What is checked.
#[derive(Default)]
pub struct Setting {
    pub can: Capabilities,
    /// Rotations that are asked for, one after the other.
    pub requests: u8,
    /// Crashes, lost answers and lost calls in one history.
    pub faults: u8,
    /// Histories with more attempts are not followed.
    pub most_attempts: i64,
    /// Whether the bounds on time that the design rests on may be broken.
    pub any_pace: bool,
    /// Whether time may pass, and others act, between a last look at the ApiToken and the call after it.
    pub slow_after_look: bool,
    /// What is wrong with the operators.
    pub planted: Option<Planted>,
    pub plans: Memo<Seen, Next>,
    pub good: properties::Good,
}

/// A bug that the checker must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// The status names the new token before the Secret holds it.
    PromotesBeforeTheSecret,
    /// The old token is ended before the Secret holds the new one.
    EndsTheOldFirst,
    /// Writes are forced over those of others.
    IgnoresConflicts,
    /// The issuer is called before the intent is written.
    CallsWithoutIntent,
    /// The Secret gets a value that verifiers had no time to learn.
    LeavesVerifiersNoTime,
}

/// Everything that there is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub status: Option<Kept<ApiTokenStatus>>,
    pub held: bool,
    pub requests: u8,
    pub secret: Option<Kept<Secret>>,
    pub live: Tokens,
    /// How many seconds ago verifiers could begin to learn of the coming value.
    pub announced: Option<i64>,
    /// Crashes, lost answers and lost calls that may still happen.
    pub faults: u8,
    pub operators: [Operator; 2],
}

/// One operator.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Operator {
    pub pass: Option<Pass>,
    /// What it remembers from one pass to the next.
    pub memory: Option<Fresh>,
    /// A call to the issuer that nobody waits for any more.
    pub late: Option<Late>,
}

/// A call that may still make this token, for an attempt that began so many seconds ago.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Late {
    token: Token,
    age: i64,
}

/// A pass under way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pass {
    pub seen: Seen,
    /// How many seconds ago it looked at the clock.
    pub lag: i64,
    token_is_current: bool,
    secret_is_current: bool,
    /// Whether the last look before a token is ended showed nothing new.
    checked: bool,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A user asks for another rotation.
    Request,
    /// Time passes.
    Tick,
    /// An operator begins a pass; it may be time to ask the issuer for its tokens.
    Begin { operator: usize, polls: bool },
    /// An operator takes its next step.
    Step { operator: usize, answer: Answer },
    /// An operator ends and begins anew.
    Crash(usize),
    /// A late call arrives.
    Arrive(usize),
    /// A late call never arrives.
    Vanish(usize),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and answered.
    Done,
    /// It is done, and the answer is lost.
    Lost,
    /// It is not done.
    Failed,
    /// It is not answered, and may arrive later.
    Late,
}

impl Setting {
    /// A world in which nothing was done yet.
    pub fn beginning(&self) -> World {
        World {
            status: None,
            held: false,
            requests: 0,
            secret: None,
            live: Tokens::new(),
            announced: None,
            faults: self.faults,
            operators: Default::default(),
        }
    }

    /// What an operator does next, by the real decision or as planted.
    pub fn next(&self, seen: &Seen) -> Next {
        self.plans.get(seen, || match self.planted {
            Some(planted) => planted.next(seen, self.can),
            None => seen.next(self.can),
        })
    }

    /// What an operator would do, up to the next call that shows. A pass that can only meet a conflict has
    /// no effect any more: it ends at once.
    fn settle(&self, world: &mut World, operator: usize) {
        while let Some(pass) = &mut world.operators[operator].pass {
            let written = match self.next(&pass.seen) {
                Next::Issue(attempt) => {
                    pass.seen.fresh = Some(Fresh::new(self.token(attempt, operator)));
                    continue;
                }
                Next::Rest { status, changed: false } => Some(status),
                Next::Rest { status, .. } if self.is_stale(pass) => Some(status),
                Next::WriteStatus(_) | Next::AddFinalizer if self.is_stale(pass) => None,
                _ if self.looks_before(pass) && self.is_stale(pass) => None,
                Next::Create if pass.age_of_attempt().is_none_or(|age| age > TIME_TO_CALL.as_secs()) => None,
                _ => return,
            };
            world.operators[operator].end(self, written.as_deref());
        }
    }

    /// Whether a last look at the ApiToken comes before the next step.
    fn looks_before(&self, pass: &Pass) -> bool {
        let issued = pass.seen.status.as_ref().is_some_and(|status| status.token.is_some());
        let looks = match self.next(&pass.seen) {
            Next::Delete(_) => true,
            Next::UpdateSecret { brings_value, .. } => brings_value,
            Next::CreateSecret(_) => issued,
            _ => false,
        };
        looks && !pass.checked
    }

    fn is_stale(&self, pass: &Pass) -> bool {
        !pass.token_is_current && self.planted != Some(Planted::IgnoresConflicts)
    }

    /// Whether tokens of one attempt may be of two operators. Not at an issuer that others run, unless a
    /// bug is planted.
    fn tells_operators(&self) -> bool {
        self.can.local || self.planted.is_some()
    }

    /// The token of an attempt.
    fn token(&self, attempt: i64, operator: usize) -> Token {
        Token::new(attempt, if self.tells_operators() { operator } else { 0 })
    }

    /// The world after an action; nothing where it can't happen.
    pub fn after(&self, before: &World, action: &Action) -> Option<World> {
        let mut world = before.clone();
        match *action {
            Action::Request => world.request(),
            Action::Tick => world.pass_time(),
            Action::Begin { operator, polls } => world.begin(self, operator, polls),
            Action::Step { operator, answer } => {
                if answer != Answer::Done {
                    world.faults -= 1;
                }
                world.step(self, operator, answer)?;
            }
            Action::Crash(operator) => {
                let crashed = &mut world.operators[operator];
                (crashed.pass, crashed.memory) = (None, None);
                world.faults -= 1;
            }
            Action::Arrive(operator) => world.live.extend(world.operators[operator].late.take().map(|late| late.token)),
            Action::Vanish(operator) => world.operators[operator].late = None,
        }
        for operator in 0..2 {
            self.settle(&mut world, operator);
        }
        Some(world)
    }

    fn may_tick(&self, world: &World) -> bool {
        self.any_pace || world.operators.iter().all(|operator| self.has_time(operator))
    }

    /// Whether an operator keeps the bounds of the design if time passes now: its late call arrives,
    /// and the Secret with the token of an attempt is written, before others may end that attempt.
    fn has_time(&self, operator: &Operator) -> bool {
        let due = |age: i64| age < HAND_OVER && age + TICK >= HAND_OVER;
        let late = operator.late.is_some_and(|late| due(late.age));
        let write = operator.pass.as_ref().is_some_and(|pass| {
            let writes = matches!(self.next(&pass.seen), Next::CreateSecret(_) | Next::UpdateSecret { .. });
            writes && pass.age_of_attempt().is_some_and(due)
        });
        self.can.local || !(late || write)
    }

    fn ignores_conflicts(&self) -> bool {
        self.planted == Some(Planted::IgnoresConflicts)
    }
}

impl World {
    fn request(&mut self) {
        self.requests += 1;
        self.token_was_written(None);
    }

    /// Nobody else's look at the ApiToken is current any more.
    fn token_was_written(&mut self, by: Option<usize>) {
        for (operator, state) in self.operators.iter_mut().enumerate() {
            if let Some(pass) = state.pass.as_mut().filter(|_| Some(operator) != by) {
                pass.token_is_current = false;
            }
        }
    }

    fn secret_was_written(&mut self, by: usize) {
        for (operator, state) in self.operators.iter_mut().enumerate() {
            if let Some(pass) = &mut state.pass {
                pass.secret_is_current = operator == by;
            }
        }
    }

    /// Time passes.
    fn pass_time(&mut self) {
        self.status = self.status.as_ref().map(|status| status.aged(TICK));
        self.secret = self.secret.as_ref().map(|secret| secret.aged(TICK));
        self.announced = self.announced.map(|age| older(age, TICK));
        for operator in &mut self.operators {
            if let Some(fresh) = &mut operator.memory {
                fresh.grow_older(TICK);
            }
            if let Some(late) = &mut operator.late {
                late.age = older(late.age, TICK);
            }
            if let Some(pass) = &mut operator.pass {
                pass.lag = older(pass.lag, TICK);
            }
        }
    }

    /// An operator gathers what there is.
    fn begin(&mut self, setting: &Setting, operator: usize, polls: bool) {
        let fresh = self.operators[operator].memory.take();
        self.operators[operator].pass = Some(Pass {
            seen: Seen {
                status: self.status.clone(),
                held: self.held,
                requests: self.requests,
                secret: self.gathered_secret(),
                view: None,
                polls,
                intent: None,
                fresh,
                repaired: false,
                fault: None,
            },
            lag: 0,
            token_is_current: true,
            secret_is_current: true,
            checked: false,
        });
        let seen = &mut self.pass(operator).seen;
        seen.polls = false;
        // A pass that asks the issuer anyway is the same whether it is time to or not.
        if polls && !matches!(setting.next(seen), Next::List) {
            self.pass(operator).seen.polls = true;
        }
    }

    fn gathered_secret(&self) -> Look {
        let recorded = self
            .status
            .as_ref()
            .and_then(|status| status.secret_ref.as_ref()?.resource_version.clone());
        match &self.secret {
            Some(secret) if recorded.is_some() && secret.metadata.resource_version == recorded => Look::Unchanged,
            _ => self.read_secret(0),
        }
    }

    fn read_secret(&self, lag: i64) -> Look {
        self.secret.as_ref().map_or(Look::Absent, |secret| Look::Found(secret.aged(-lag)))
    }

    /// An operator makes its next call.
    fn step(&mut self, setting: &Setting, operator: usize, answer: Answer) -> Option<()> {
        let pass = self.operators[operator].pass.as_ref()?;
        if setting.slow_after_look && setting.looks_before(pass) {
            return self.last_look(setting, operator, answer);
        }
        self.pass(operator).checked = false;
        let pass = self.pass(operator).clone();
        match setting.next(&pass.seen) {
            Next::WriteStatus(status) => self.write_status(setting, operator, &status, false, answer),
            Next::Rest { status, .. } => self.write_status(setting, operator, &status, true, answer),
            Next::AddFinalizer => self.add_finalizer(setting, operator, answer),
            Next::List => self.list(operator, answer),
            Next::Create => self.create(setting, operator, answer),
            Next::Delete(token) => self.delete(operator, token, answer),
            Next::ReadSecret => self.look_at_secret(operator, answer),
            Next::CreateSecret(secret) => {
                let fits = self.secret.is_none();
                self.write_secret(operator, &secret, fits, false, answer)
            }
            Next::UpdateSecret { secret, .. } => {
                let fits = pass.secret_is_current || setting.ignores_conflicts();
                self.write_secret(operator, &secret, fits, true, answer)
            }
            Next::Issue(_) => None,
        }
    }

    fn pass(&mut self, operator: usize) -> &mut Pass {
        self.operators[operator].pass.as_mut().unwrap()
    }

    fn write_status(
        &mut self,
        setting: &Setting,
        operator: usize,
        status: &Kept<ApiTokenStatus>,
        last: bool,
        answer: Answer,
    ) -> Option<()> {
        let named = last.then_some(&**status);
        let lag = self.pass(operator).lag;
        let withheld = setting.planted == Some(Planted::CallsWithoutIntent) && !last && status.pending.is_some();
        if answer != Answer::Failed && !withheld {
            let coming = |status: &ApiTokenStatus| status.pending.as_ref().and_then(|pending| pending.hash.clone());
            if coming(status) != self.status.as_deref().and_then(coming) {
                self.announced = coming(status).map(|_| 0);
            }
            self.status = Some(status.aged(lag));
            self.token_was_written(Some(operator));
        }
        if last || answer != Answer::Done {
            self.operators[operator].end(setting, named);
            return Some(());
        }
        let seen = &mut self.pass(operator).seen;
        let attempt = |status: &ApiTokenStatus| status.pending.as_ref().map(|pending| pending.attempt);
        if attempt(status) != seen.status.as_deref().and_then(attempt) {
            seen.intent = attempt(status);
        }
        seen.status = Some(status.clone());
        Some(())
    }

    fn add_finalizer(&mut self, setting: &Setting, operator: usize, answer: Answer) -> Option<()> {
        if answer != Answer::Failed {
            self.held = true;
            self.token_was_written(Some(operator));
        }
        match answer {
            Answer::Done => self.pass(operator).seen.held = true,
            _ => self.operators[operator].end(setting, None),
        }
        Some(())
    }

    fn list(&mut self, operator: usize, answer: Answer) -> Option<()> {
        let view = self.live.clone();
        let pass = self.pass(operator);
        pass.look_at_the_clock();
        match answer {
            Answer::Done => pass.seen.takes_in(view),
            Answer::Failed => pass.seen.fault = Some(Fault::Ambiguous),
            Answer::Lost | Answer::Late => return None,
        }
        Some(())
    }

    fn create(&mut self, setting: &Setting, operator: usize, answer: Answer) -> Option<()> {
        let pass = self.pass(operator);
        let age = pass.age_of_attempt()?;
        let token = setting.token(pass.seen.status.as_ref()?.pending.as_ref()?.attempt, operator);
        pass.look_at_the_clock();
        match answer {
            Answer::Done => pass.seen.fresh = Some(Fresh::new(token)),
            Answer::Lost | Answer::Late => pass.seen.fault = Some(Fault::Ambiguous),
            Answer::Failed => pass.seen.fault = Some(Fault::Refused),
        }
        match answer {
            Answer::Done | Answer::Lost => assert!(self.live.insert(token), "no attempt is made twice"),
            Answer::Late => self.operators[operator].late = Some(Late { token, age }),
            Answer::Failed => {}
        }
        Some(())
    }

    fn last_look(&mut self, setting: &Setting, operator: usize, answer: Answer) -> Option<()> {
        match answer {
            Answer::Done => self.pass(operator).checked = true,
            Answer::Failed => self.operators[operator].end(setting, None),
            Answer::Lost | Answer::Late => return None,
        }
        Some(())
    }

    fn delete(&mut self, operator: usize, token: Token, answer: Answer) -> Option<()> {
        let pass = self.pass(operator);
        pass.look_at_the_clock();
        match answer {
            Answer::Done => _ = pass.seen.view.get_or_insert_default().remove(&token),
            Answer::Lost | Answer::Failed => pass.seen.fault = Some(Fault::Ambiguous),
            Answer::Late => return None,
        }
        if answer != Answer::Failed {
            self.live.remove(&token);
        }
        Some(())
    }

    fn look_at_secret(&mut self, operator: usize, answer: Answer) -> Option<()> {
        let found = self.read_secret(self.operators[operator].pass.as_ref()?.lag);
        let pass = self.pass(operator);
        match answer {
            Answer::Done => (pass.seen.secret, pass.secret_is_current) = (found, true),
            Answer::Failed => pass.seen.fault = Some(Fault::Secret),
            Answer::Lost | Answer::Late => return None,
        }
        Some(())
    }

    fn write_secret(&mut self, operator: usize, secret: &Kept<Secret>, fits: bool, replaces: bool, answer: Answer) -> Option<()> {
        let lag = self.pass(operator).lag;
        if answer != Answer::Failed && fits {
            self.secret = Some(secret.aged(lag));
            self.secret_was_written(operator);
        }
        if answer == Answer::Done {
            self.pass(operator).seen.repaired |= replaces;
            if !fits {
                return self.look_at_secret(operator, answer);
            }
            self.pass(operator).seen.secret = Look::Found(secret.clone());
            return Some(());
        }
        self.pass(operator).seen.fault = Some(Fault::Secret);
        (answer != Answer::Lost || fits).then_some(())
    }
}

impl Pass {
    /// How many seconds ago the attempt began that the pass knows of.
    fn age_of_attempt(&self) -> Option<i64> {
        Some(self.seen.age_of_attempt()? + self.lag)
    }

    fn look_at_the_clock(&mut self) {
        self.seen.look_at_the_clock(self.lag);
        self.lag = 0;
    }
}

impl Operator {
    /// The pass ends, with the status that it decided on: a token that no status names yet is remembered,
    /// and where it was just announced, since when.
    fn end(&mut self, setting: &Setting, written: Option<&ApiTokenStatus>) {
        let Some(pass) = self.pass.take() else { return };
        let Some(fresh) = pass.seen.fresh else { return };
        let status = written.or(pass.seen.status.as_deref());
        let is_fresh = |hash: Option<&String>| hash.is_some_and(|hash| Token::with_hash(hash) == fresh.token);
        let announced = is_fresh(status.and_then(|status| status.pending.as_ref()?.hash.as_ref()));
        let named = is_fresh(status.and_then(|status| status.token.as_ref()?.hash.as_ref()));
        let ended = pass.seen.view.is_some_and(|view| !view.contains(&fresh.token));
        if announced || (!setting.can.local && !named && !ended) {
            let mut fresh = fresh;
            fresh.grow_older(pass.lag);
            let before = pass.seen.status.as_deref();
            let is_new = !is_fresh(before.and_then(|status| status.pending.as_ref()?.hash.as_ref()));
            if written.is_some_and(|written| before != Some(written)) {
                fresh.announced = fresh.announced.filter(|_| !is_new).or(Some(0));
            }
            self.memory = Some(fresh);
        }
    }
}

impl Planted {
    fn next(self, seen: &Seen, can: Capabilities) -> Next {
        let right = seen.next(can);
        let (Next::CreateSecret(secret) | Next::UpdateSecret { secret, .. }) = &right else {
            return match self {
                Self::LeavesVerifiersNoTime => hurried(seen, can),
                _ => right,
            };
        };
        let current = seen
            .status
            .as_ref()
            .and_then(|status| status.token.as_ref()?.hash.as_deref())
            .map(Token::with_hash);
        match (self, current) {
            (Self::PromotesBeforeTheSecret, Some(current)) if current != token_in(secret) => {
                let secret = Look::Found(secret.clone());
                Seen { secret, ..seen.clone() }.next(can)
            }
            (Self::EndsTheOldFirst, Some(current)) if seen.view.as_ref().is_some_and(|view| view.contains(&current)) => {
                Next::Delete(current)
            }
            _ => right,
        }
    }
}

/// The decision as it would be a little later.
fn hurried(seen: &Seen, can: Capabilities) -> Next {
    let mut later = seen.clone();
    later.look_at_the_clock(TICK);
    later.next(can)
}

impl Model for Setting {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.beginning()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let issued = world.status.as_ref().is_some_and(|status| status.token.is_some());
        if issued && world.requests < self.requests {
            actions.push(Action::Request);
        }
        if self.may_tick(world) {
            actions.push(Action::Tick);
        }
        for operator in 0..2 {
            self.actions_of(operator, world, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.after(world, &action)
            .map(|after| self.arranged(after))
            .filter(|after| after != world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    fn within_boundary(&self, world: &World) -> bool {
        let attempts = world.status.as_ref().and_then(|status| status.attempts);
        attempts.unwrap_or(0) <= self.most_attempts
    }
}

impl Setting {
    /// Where no token tells which operator made it, the two operators are alike: one order counts.
    fn arranged(&self, mut world: World) -> World {
        if !self.tells_operators() {
            world.operators.sort_by_cached_key(|operator| {
                let mut hasher = DefaultHasher::new();
                operator.hash(&mut hasher);
                hasher.finish()
            });
        }
        world
    }

    fn actions_of(&self, operator: usize, world: &World, actions: &mut Vec<Action>) {
        let state = &world.operators[operator];
        if state.late.is_some() {
            actions.extend([Action::Arrive(operator), Action::Vanish(operator)]);
        }
        let step = |answer| Action::Step { operator, answer };
        match &state.pass {
            None => {
                actions.push(Action::Begin { operator, polls: false });
                actions.extend((!self.can.local).then_some(Action::Begin { operator, polls: true }));
            }
            Some(_) => actions.push(step(Answer::Done)),
        }
        if world.faults == 0 {
            return;
        }
        if state.pass.is_some() || state.memory.is_some() {
            actions.push(Action::Crash(operator));
        }
        if let Some(pass) = &state.pass {
            actions.extend([Answer::Lost, Answer::Failed].map(step));
            actions.extend(matches!(self.next(&pass.seen), Next::Create).then(|| step(Answer::Late)));
        }
    }
}

fn seconds_ago(at: Timestamp) -> String {
    match age(at) {
        OLDEST.. => "long ago".to_owned(),
        age => format!("{}s", -age),
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.as_deref().map(show_status);
        let secret = self.secret.as_deref().map(token_in);
        write!(
            formatter,
            "{} | asked {} | Secret {secret:?} | live {:?} | {:?} | {:?}",
            status.unwrap_or_default(),
            self.requests,
            self.live,
            self.operators[0],
            self.operators[1]
        )
    }
}

fn show_status(status: &ApiTokenStatus) -> String {
    let token = |hash: &Option<String>| hash.as_deref().map(Token::with_hash);
    let current = status.token.as_ref().map(|current| token(&current.hash));
    let previous: Vec<_> = status
        .previous
        .iter()
        .map(|previous| (token(&previous.hash), seconds_ago(previous.revoke_at.0)))
        .collect();
    let pending = status
        .pending
        .as_ref()
        .map(|pending| (pending.attempt, token(&pending.hash), seconds_ago(pending.started_at.0)));
    let rotations = status.rotations.unwrap_or(0);
    format!("current {current:?} previous {previous:?} pending {pending:?} rotations {rotations}")
}

impl fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = self.pass.as_ref().map(|pass| {
            let status = pass.seen.status.as_deref().map(show_status);
            format!(
                "pass({}s ago, sees {}, fresh {:?})",
                pass.lag,
                status.unwrap_or_default(),
                pass.seen.fresh
            )
        });
        write!(
            formatter,
            "{} memory {:?} late {:?}",
            pass.unwrap_or_default(),
            self.memory,
            self.late
        )
    }
}
