//! The closed lists of condition types and reasons, and how a condition is set.
//!
//! Reasons are an interface: users' alerts and scripts match on them, so none is ever renamed.
//! `docs/conditions.md` is generated from [`Reason::ALL`] and [`ConditionType::ALL`].

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Types of the conditions in `status.conditions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Observed equals desired.
    Ready,
    /// A token was issued.
    Issued,
    /// The Secret holds what the spec declares.
    SecretSynced,
    /// The token works now.
    Active,
    /// Work is going on (kstatus).
    Reconciling,
    /// Only a change by somebody heals it (kstatus).
    Stalled,
    /// The annotation `apitoken.dev/paused` holds back everything but deletion.
    Paused,
}

impl ConditionType {
    /// All types with what `True` means, in the order in which they stand in a status.
    pub const ALL: [(Self, &str); 7] = [
        (
            Self::Ready,
            "What was observed equals what the spec declares; a token that is to be suspended and is suspended is Ready.",
        ),
        (Self::Issued, "A token was issued."),
        (
            Self::SecretSynced,
            "The Secret holds the value and all else that the spec declares.",
        ),
        (
            Self::Active,
            "The token works now; `Unknown` while nobody can ask its vendor, since its issuer is gone.",
        ),
        (
            Self::Reconciling,
            "Work is going on or will be tried again by itself (kstatus: InProgress).",
        ),
        (Self::Stalled, "Nothing happens until somebody changes something (kstatus: Failed)."),
        (
            Self::Paused,
            "The annotation `apitoken.dev/paused` holds back everything but deletion; absent while it does not.",
        ),
    ];

    /// The text in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Issued => "Issued",
            Self::SecretSynced => "SecretSynced",
            Self::Active => "Active",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Paused => "Paused",
        }
    }
}

macro_rules! reasons {
    ($(#[doc = $meaning:literal] $name:ident $(($stalled:ident))?),+ $(,)?) => {
        /// Why a condition has its status: a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The text in `reason`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, in Markdown.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning.trim_ascii(),)+
                }
            }

            /// Whether `Ready=False` for this reason also means `Stalled=True`.
            pub fn stalls(self) -> bool {
                match self {
                    $(Self::$name => false $(|| stringify!($stalled) == "stalled")?,)+
                }
            }
        }
    };
}

reasons! {
    /// All is as declared.
    Ready,
    /// Work is going on; the message says which.
    Progressing,
    /// The object is being deleted.
    Deleting,
    /// The issuer that is referred to does not exist.
    IssuerNotFound,
    /// The issuer exists but can't be used yet.
    IssuerNotReady,
    /// No `issuerRef`, and no ClusterTokenIssuer is the default one.
    NoDefaultIssuer(stalled),
    /// No `issuerRef`, and several ClusterTokenIssuers are annotated as default.
    SeveralDefaultIssuers(stalled),
    /// The ClusterTokenIssuer does not allow this namespace.
    NamespaceNotAllowed(stalled),
    /// The issuer's credential does not exist.
    CredentialNotFound,
    /// The vendor refuses the issuer's credential.
    CredentialRefused,
    /// The issuer's credential lacks a right at the vendor.
    CredentialNotPermitted,
    /// The vendor does not know the account, or not for the issuer's credential.
    AccountNotFound,
    /// The vendor's certificate is not trusted.
    CertificateRefused,
    /// A namespaced issuer leads to an address that is not of the public internet.
    AddressRefused,
    /// The issuer's `policy` forbids it.
    PolicyViolation(stalled),
    /// The issuer does not allow a scope or audience.
    ScopeNotAllowed(stalled),
    /// The issuer does not allow this account.
    AccountNotAllowed(stalled),
    /// `parameters` are of another issuer type.
    ParametersMismatch(stalled),
    /// A template of `secret.template` can't be rendered.
    TemplateInvalid(stalled),
    /// The Secret's name is taken by something that is not ours.
    SecretConflict(stalled),
    /// The issuer has no suspending of its own.
    SuspendNotSupported(stalled),
    /// A declared field that this version does not support yet.
    NotSupported(stalled),
    /// The token that is to be taken over can't be.
    AdoptionFailed(stalled),
    /// The token was taken over without its value: rotate to fill the Secret.
    ValueUnknown,
    /// The vendor's quota of tokens is used up.
    QuotaExceeded,
    /// The vendor asks for fewer calls.
    RateLimited,
    /// The vendor refuses what is asked.
    VendorRefused(stalled),
    /// The vendor can't be reached.
    VendorUnavailable,
    /// It is not known whether a call made a token.
    OutcomeUnknown,
    /// The token's time is over.
    Expired(stalled),
    /// The token works.
    Active,
    /// The token works, its end is near, and nothing rotates it.
    Expiring,
    /// The token was not issued yet, or is not accepted for now.
    Pending,
    /// The token is suspended.
    Suspended,
    /// The token is revoked for good.
    Revoked,
    /// A token was issued.
    Issued,
    /// The Secret is as declared.
    Synced,
    /// The Secret does not exist.
    Missing,
    /// The last write of the Secret failed.
    WriteFailed,
    /// The Secret was removed with its token.
    Removed,
    /// The Secret stays and holds a value that no longer works.
    Ended,
    /// The annotation `apitoken.dev/paused` is set.
    Paused,
}

/// What a condition says of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Self::True } else { Self::False }
    }
}

/// Sets a condition; the transition time moves only where its status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    status: impl Into<Truth>,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = status.into().as_str();
    let existing = conditions.iter().position(|c| c.type_ == type_.as_str());
    let unchanged_since = existing
        .and_then(|at| conditions.get(at))
        .filter(|c| c.status == status)
        .map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: unchanged_since.unwrap_or(Time(now)),
    };
    match existing.and_then(|at| conditions.get_mut(at)) {
        Some(slot) => *slot = condition,
        None => conditions.push(condition),
    }
}

/// Removes a condition.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|c| c.type_ != type_.as_str());
}

/// The condition of that type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether the condition of that type is `True`.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == "True")
}
