//! What an operator sees in a pass, and what the real decision makes of it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, OnceLock},
};

use apitoken_operator::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus, IssuerKind, IssuerRef, IssuerSpec, api_token::Rotation, conditions::Reason,
        issuer::BuiltinIssuer, names,
    },
    issuers::{Capabilities, IssuedToken, ListedState, ListedToken, builtin},
    lifecycle::{
        Adoptee, Failure, FailureKind, FoundSecret, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Plan, Step, Terms, decide,
        same_but_for_foreign_changes,
    },
    token_value::TokenValue,
};
use jiff::SignedDuration;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use rand::{SeedableRng, rngs::StdRng};

use crate::kept::{Aged, Kept, OLDEST, age, ago, now, older};

/// One step of the model's clock, in seconds. A call must be sent in the tick of its intent, the Secret
/// be written in that tick or the next, and from the one after that on others take over.
pub const TICK: i64 = 15;
/// How long verifiers get to learn of a new hash.
pub const PROPAGATION: i64 = TICK;
/// How long one call to the issuer may take.
pub const TIMEOUT: i64 = 5;
/// How long a replaced token works on.
pub const OVERLAP: i64 = TICK;
/// From when on others may end what an attempt at the issuer made: `intent::hand_over`.
pub const HAND_OVER: i64 = TIMEOUT + 10 + 15;

const UID: &str = "0123456789ab-cdef";
const CLUSTER: &str = "0123abcd";

/// A token: the number of the attempt and the operator that made it. Its value follows from that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u8);

impl Token {
    const MOST: u8 = u8::MAX;

    /// The token that an operator makes in an attempt.
    pub fn new(attempt: i64, operator: usize) -> Self {
        Self(u8::try_from(attempt * 2).unwrap() + u8::try_from(operator).unwrap())
    }

    /// The attempt that made it.
    pub fn attempt(self) -> i64 {
        i64::from(self.0 / 2)
    }

    fn values() -> &'static [TokenValue] {
        static VALUES: OnceLock<Vec<TokenValue>> = OnceLock::new();
        let make = |seed| builtin::generate(&mut StdRng::seed_from_u64(seed), "apt").unwrap();
        VALUES.get_or_init(|| (0..u64::from(Self::MOST)).map(make).collect())
    }

    fn value(self) -> TokenValue {
        Self::values()[usize::from(self.0)].clone()
    }

    /// The token whose value has that hash.
    pub fn with_hash(hash: &str) -> Self {
        static HASHES: OnceLock<HashMap<String, Token>> = OnceLock::new();
        let all = || Self::values().iter().map(TokenValue::hash).zip((0..).map(Token)).collect();
        HASHES.get_or_init(all)[hash]
    }

    fn id(self) -> String {
        format!("at-issuer-{}", self.0)
    }

    fn with_id(id: &str) -> Self {
        Self(id.rsplit('-').next().unwrap().parse().unwrap())
    }

    fn name(self) -> String {
        format!("shop.ci k8s-{CLUSTER}-0123456789-{}", self.attempt())
    }

    fn listed(self, readable: bool) -> ListedToken {
        ListedToken {
            id: self.id(),
            name: Some(self.name()),
            value: readable.then(|| self.value()),
            hint: None,
            state: ListedState::Active,
            created_at: None,
            shown_at: None,
            expires_at: None,
            last_used_at: None,
            account: None,
            fits: true,
            details: Default::default(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.attempt(), if self.0.is_multiple_of(2) { "a" } else { "b" })
    }
}

/// Tokens that work at the issuer.
pub type Tokens = BTreeSet<Token>;

/// A token that an operator made and holds in its hand, and how many seconds ago.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fresh {
    pub token: Token,
    pub age: i64,
    /// How many seconds ago the API server had taken its announcement.
    pub announced: Option<i64>,
}

/// What a pass knows of the Secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Look {
    Unchanged,
    Absent,
    Found(Kept<Secret>),
}

/// How a step failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The API server did not answer.
    Secret,
    /// The issuer says that it did nothing.
    Refused,
    /// The issuer did not answer.
    Ambiguous,
}

/// What an operator sees in a pass, by the clock of that pass.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    pub status: Option<Kept<ApiTokenStatus>>,
    pub held: bool,
    pub requests: u8,
    pub secret: Look,
    pub view: Option<Tokens>,
    pub polls: bool,
    pub intent: Option<i64>,
    pub fresh: Option<Fresh>,
    pub repaired: bool,
    pub fault: Option<Fault>,
}

/// What the operator does next.
#[derive(Clone)]
pub enum Next {
    AddFinalizer,
    WriteStatus(Kept<ApiTokenStatus>),
    Issue(i64),
    List,
    Create,
    Delete(Token),
    ReadSecret,
    CreateSecret(Kept<Secret>),
    UpdateSecret {
        secret: Kept<Secret>,
        brings_value: bool,
    },
    /// The pass ends with this status, which is written where it changed.
    Rest {
        status: Kept<ApiTokenStatus>,
        changed: bool,
    },
}

impl Seen {
    /// Looks at the clock again.
    pub fn look_at_the_clock(&mut self, seconds: i64) {
        if seconds == 0 {
            return;
        }
        self.status = self.status.as_ref().map(|status| status.aged(seconds));
        if let Look::Found(secret) = &self.secret {
            self.secret = Look::Found(secret.aged(seconds));
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.grow_older(seconds);
        }
    }

    /// Takes in what the issuer holds, as `Observed::sees` does.
    pub fn takes_in(&mut self, view: Tokens) {
        (self.view, self.polls) = (Some(view), false);
        if self.age_of_attempt().is_some() {
            self.secret = Look::Unchanged;
        }
    }

    /// How many seconds ago the attempt in the status began.
    pub fn age_of_attempt(&self) -> Option<i64> {
        let pending = self.status.as_ref()?.pending.as_ref()?;
        Some(age(pending.started_at.0))
    }

    /// What the real decision says.
    pub fn next(&self, can: Capabilities) -> Next {
        let observed = self.observed(can);
        match decide(&observed) {
            Plan::Step(step) => as_next(step),
            Plan::Rest(rest) => {
                let before = observed.status().cloned().unwrap_or_default();
                let unchanged = if self.repaired {
                    before == rest.status
                } else {
                    same_but_for_foreign_changes(&before, &rest.status)
                };
                Next::Rest {
                    status: rest.status.kept(),
                    changed: !unchanged,
                }
            }
        }
    }

    fn observed(&self, can: Capabilities) -> Observed {
        let seconds = SignedDuration::from_secs;
        Observed {
            token: Arc::new(self.object()),
            issuer: Ok(ObservedIssuer {
                reference: IssuerRef {
                    kind: IssuerKind::ClusterTokenIssuer,
                    name: "issuer".into(),
                },
                spec: IssuerSpec {
                    builtin: can.local.then(BuiltinIssuer::default),
                    ..Default::default()
                },
                capabilities: Some(can),
                generation: Some(1),
                credential: None,
                version: "1".into(),
                timeout: seconds(TIMEOUT),
                readiness: IssuerReadiness::Ready,
                held: true,
                namespace_allowed: true,
                busy: false,
            }),
            namespace_ends: false,
            needed_by_others: false,
            secret: self.observed_secret(),
            former_secret: ObservedSecret::Unchanged,
            secret_promised_to: None,
            adoptee: Adoptee::Unread,
            view: self
                .view
                .as_ref()
                .map(|tokens| tokens.iter().map(|token| token.listed(can.readable_value)).collect()),
            ahead: SignedDuration::ZERO,
            shown: None,
            polled_at: Some(if self.polls { ago(1_000_000) } else { now() }),
            others_ids: BTreeSet::new(),
            others_uids: BTreeSet::new(),
            intent_in_hand: self.intent,
            revoked: BTreeSet::new(),
            fresh: self.fresh.map(|fresh| fresh.issued(can)),
            updated: false,
            orphaned: Vec::new(),
            repaired: self.repaired.then(|| "data.token".to_owned()).into_iter().collect(),
            failure: self.fault.map(Fault::failure),
            terms: Terms {
                cluster: CLUSTER.into(),
                former_clusters: Vec::new(),
                propagation_delay: seconds(PROPAGATION),
                poll_interval: seconds(600),
                revoke_deadline: seconds(900),
                observe_only: false,
                started_at: ago(OLDEST),
            },
            now: now(),
        }
    }

    fn object(&self) -> ApiToken {
        let spec = ApiTokenSpec {
            rotation: Some(Box::new(Rotation {
                overlap: Some(format!("{OVERLAP}s").try_into().unwrap()),
                ..Default::default()
            })),
            ..Default::default()
        };
        let mut token = ApiToken::new("ci", spec);
        let metadata = &mut token.metadata;
        metadata.namespace = Some("shop".into());
        metadata.uid = Some(UID.into());
        metadata.generation = Some(1);
        metadata.creation_timestamp = Some(Time(ago(1_000_000)));
        metadata.finalizers = self.held.then(|| vec![names::FINALIZER.to_owned()]);
        if self.requests > 0 {
            let request = (names::ROTATE_REQUESTED_AT_ANNOTATION.to_owned(), self.requests.to_string());
            metadata.annotations = Some([request].into());
        }
        token.status = self.status.as_deref().cloned();
        token
    }

    fn observed_secret(&self) -> ObservedSecret {
        match &self.secret {
            Look::Unchanged => ObservedSecret::Unchanged,
            Look::Absent => ObservedSecret::Absent,
            Look::Found(secret) => ObservedSecret::Found(FoundSecret::new(Secret::clone(secret))),
        }
    }
}

impl Fresh {
    /// A token just made.
    pub fn new(token: Token) -> Self {
        Self {
            token,
            age: 0,
            announced: None,
        }
    }

    /// Seconds pass.
    pub fn grow_older(&mut self, seconds: i64) {
        if seconds > 0 {
            self.age = OLDEST;
        }
        self.announced = self.announced.map(|age| older(age, seconds));
    }

    fn issued(self, can: Capabilities) -> IssuedToken {
        let attempt = self.token.attempt();
        IssuedToken {
            value: self.token.value(),
            id: if can.local {
                format!("0123456789-{attempt}")
            } else {
                self.token.id()
            },
            name: (!can.local).then(|| self.token.name()),
            attempt,
            issued_at: ago(self.age),
            announced_at: self.announced.map(ago),
            expires_at: None,
            details: Default::default(),
        }
    }
}

impl Fault {
    fn failure(self) -> Failure {
        let kind = match self {
            Self::Secret => FailureKind::Secret,
            Self::Refused => FailureKind::Transient {
                reason: Reason::VendorUnavailable,
                retry_after: None,
            },
            Self::Ambiguous => FailureKind::Ambiguous,
        };
        Failure {
            message: format!("{self:?}"),
            kind,
        }
    }
}

fn as_next(step: Step) -> Next {
    match step {
        Step::AddFinalizer => Next::AddFinalizer,
        Step::WriteStatus(status) => Next::WriteStatus(status.kept()),
        Step::IssueToken { attempt } => Next::Issue(attempt),
        Step::ListTokens => Next::List,
        Step::CreateToken => Next::Create,
        Step::DeleteToken { id } => Next::Delete(Token::with_id(&id)),
        Step::ReadSecret => Next::ReadSecret,
        Step::CreateSecret(secret) => Next::CreateSecret(stored(&secret)),
        Step::UpdateSecret { secret, brings_value, .. } => Next::UpdateSecret {
            secret: stored(&secret),
            brings_value,
        },
        step => panic!("nothing in this model asks for {}", step.name()),
    }
}

/// The Secret as the API server keeps it. Its version follows from its value: a write that changes
/// nothing of it is nothing that anybody waits for.
fn stored(secret: &FoundSecret) -> Kept<Secret> {
    let mut object = secret.object().clone();
    object.metadata.uid = Some("secret-uid".into());
    object.metadata.resource_version = Some(format!("{:?}", token_in(&object)));
    object.kept()
}

/// The token whose value a Secret holds.
pub fn token_in(secret: &Secret) -> Token {
    Token::with_hash(&apitoken_operator::token_value::hash(&secret.data.as_ref().unwrap()["token"].0))
}
