//! What was decided: steps to take now, or the status to write and when to look again.

use jiff::{SignedDuration, Timestamp};

use super::observed::{FoundSecret, Observed};
use crate::{
    api::{ApiTokenStatus, conditions::Reason},
    issuers::IssuerError,
};

/// What is to be done next.
pub enum Plan {
    /// Take this step, then decide again from what it showed.
    Step(Step),
    /// Nothing is left to do in this pass.
    Rest(Box<Rest>),
}

impl Plan {
    /// The end of a pass that changes nothing.
    pub fn unchanged(observed: &Observed, look_again_at: Option<Timestamp>) -> Self {
        Self::Rest(Box::new(Rest {
            status: observed.token.status.clone().unwrap_or_default(),
            look_again_at,
            notices: Vec::new(),
        }))
    }
}

/// One thing to do; each is safe to repeat.
pub enum Step {
    /// Have our finalizer on the ApiToken.
    AddFinalizer,
    /// Let the ApiToken go.
    RemoveFinalizer,
    /// Write the status before going on, under the version that was read.
    WriteStatus(Box<ApiTokenStatus>),
    /// Make a value of the built-in issuer.
    IssueToken {
        /// Number of the try, the last part of the built-in issuer's ids.
        attempt: i64,
    },
    /// Ask the issuer for its tokens.
    ListTokens,
    /// Have the issuer make the token that the intent describes.
    CreateToken,
    /// Have the issuer replace the token with that id in place.
    ResetToken {
        /// Id of the token that is replaced.
        base: String,
    },
    /// Have the issuer hold a token back.
    SuspendToken {
        /// Its id.
        id: String,
    },
    /// Have the issuer let a token work again.
    ActivateToken {
        /// Its id.
        id: String,
    },
    /// Have the issuer change name, description and parameters of a token.
    UpdateToken {
        /// Its id.
        id: String,
        /// The name that it is to have.
        name: String,
    },
    /// Have the issuer end a token, which stays listed.
    RevokeToken {
        /// Its id.
        id: String,
    },
    /// Have the issuer remove a token.
    DeleteToken {
        /// Its id.
        id: String,
    },
    /// Write tokens down in the issuer's ledger.
    EnterLedger(Vec<Orphan>),
    /// Create the Secret, which did not exist.
    CreateSecret(FoundSecret),
    /// Replace the Secret that was read, under its uid and version.
    UpdateSecret {
        /// The Secret as it is to be.
        secret: FoundSecret,
        /// What is put right, for people: keys, labels, annotations.
        changes: Vec<String>,
        /// Whether it gets a value that it did not hold.
        brings_value: bool,
    },
    /// Delete the Secret that was read, under its uid and version.
    DeleteSecret(SecretVersion),
    /// Read the Secret, because what is known of it does not suffice.
    ReadSecret,
    /// Read the Secret that the status names and the spec no more.
    ReadFormerSecret,
    /// Read the Secret whose value is to be taken over.
    ReadAdoptee,
}

/// Which Secret exactly is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretVersion {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
}

impl SecretVersion {
    /// The one that was found.
    pub fn of(found: &FoundSecret) -> Self {
        Self {
            name: found.object().metadata.name.clone().unwrap_or_default(),
            uid: found.object().metadata.uid.clone(),
            resource_version: found.resource_version().map(str::to_owned),
        }
    }
}

/// A token that stays at its issuer with nobody to account for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Id at the issuer.
    pub id: String,
    /// Name at the issuer.
    pub name: Option<String>,
    /// Owning account; nothing for the issuer's own.
    pub account: Option<String>,
    /// Why it stays.
    pub reason: OrphanReason,
}

/// Why a token stays at its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanReason {
    /// Declared so: it is never ended by us.
    Retained,
    /// It could not be ended in time.
    NotRevoked,
    /// It may be ours or not: nobody can tell.
    Ambiguous,
    /// It bears our marker, and its ApiToken is gone.
    Found,
}

impl OrphanReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Retained, Self::NotRevoked, Self::Ambiguous, Self::Found];

    /// The reason with that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retained => "Retained",
            Self::NotRevoked => "NotRevoked",
            Self::Ambiguous => "Ambiguous",
            Self::Found => "Found",
        }
    }
}

impl Step {
    /// The step's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "add_finalizer",
            Self::RemoveFinalizer => "remove_finalizer",
            Self::WriteStatus(_) => "write_status",
            Self::IssueToken { .. } => "issue",
            Self::ListTokens => "list_tokens",
            Self::CreateToken => "create_token",
            Self::ResetToken { .. } => "reset_token",
            Self::SuspendToken { .. } => "suspend_token",
            Self::ActivateToken { .. } => "activate_token",
            Self::UpdateToken { .. } => "update_token",
            Self::RevokeToken { .. } => "revoke_token",
            Self::DeleteToken { .. } => "delete_token",
            Self::EnterLedger(_) => "enter_ledger",
            Self::CreateSecret(_) => "create_secret",
            Self::UpdateSecret { .. } => "update_secret",
            Self::DeleteSecret(_) => "delete_secret",
            Self::ReadSecret => "read_secret",
            Self::ReadFormerSecret => "read_former_secret",
            Self::ReadAdoptee => "read_adoptee",
        }
    }
}

/// The end of a pass.
pub struct Rest {
    /// The status to write, where it differs from what stands there.
    pub status: ApiTokenStatus,
    /// When to look again, if nothing happens before.
    pub look_again_at: Option<Timestamp>,
    /// What to tell the user, once the status is written.
    pub notices: Vec<Notice>,
}

/// One Event for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something is wrong.
    pub warning: bool,
    /// One word, in the form of a condition's reason.
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
}

/// How a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed and what to do, without any value.
    pub message: String,
    /// Where it failed, and so what is known after it.
    pub kind: FailureKind,
}

/// What is known after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The Secret was not read or written: tried again, later and later.
    Secret,
    /// The issuer did not do it: tried again, later and later, and not before it asks for.
    Transient {
        /// Reason of the condition Ready.
        reason: Reason,
        /// How long the issuer asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// The issuer refuses it: tried again after a change of spec, issuer or credential.
    Permanent {
        /// Reason of the condition Ready.
        reason: Reason,
    },
    /// Nobody knows whether the issuer did it.
    Ambiguous,
    /// The ledger was not written: tried again, later and later.
    Ledger,
}

impl Failure {
    /// The same, to be tried again all the same.
    pub fn retried(self) -> Self {
        let kind = match self.kind {
            FailureKind::Permanent { reason } => FailureKind::Transient { reason, retry_after: None },
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// A failure about a Secret.
    pub fn of_secret(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind: FailureKind::Secret,
        }
    }
}

impl From<&IssuerError> for Reason {
    fn from(error: &IssuerError) -> Self {
        match error {
            IssuerError::CredentialMissing(_) => Self::CredentialNotFound,
            IssuerError::CredentialRefused => Self::CredentialRefused,
            IssuerError::NotPermitted(_) => Self::CredentialNotPermitted,
            IssuerError::AccountNotFound => Self::AccountNotFound,
            IssuerError::CertificateRefused(_) => Self::CertificateRefused,
            IssuerError::AddressRefused => Self::AddressRefused,
            IssuerError::Unreachable(_) | IssuerError::Unavailable(_) => Self::VendorUnavailable,
            IssuerError::RateLimited { .. } => Self::RateLimited,
            IssuerError::QuotaExceeded => Self::QuotaExceeded,
            IssuerError::Refused(_) => Self::VendorRefused,
            IssuerError::OutcomeUnknown(_) => Self::OutcomeUnknown,
        }
    }
}

impl From<IssuerError> for Failure {
    fn from(error: IssuerError) -> Self {
        let reason = Reason::from(&error);
        let kind = match &error {
            IssuerError::OutcomeUnknown(_) => FailureKind::Ambiguous,
            IssuerError::RateLimited { retry_after } => FailureKind::Transient {
                reason,
                retry_after: *retry_after,
            },
            IssuerError::CredentialRefused
            | IssuerError::NotPermitted(_)
            | IssuerError::AccountNotFound
            | IssuerError::AddressRefused
            | IssuerError::Refused(_) => FailureKind::Permanent { reason },
            IssuerError::CredentialMissing(_)
            | IssuerError::Unreachable(_)
            | IssuerError::CertificateRefused(_)
            | IssuerError::Unavailable(_)
            | IssuerError::QuotaExceeded => FailureKind::Transient { reason, retry_after: None },
        };
        Self {
            message: error.to_string(),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_all_the_same_is_refused_for_the_same_reason() {
        let failure = Failure {
            message: "it refuses: change it".to_owned(),
            kind: FailureKind::Permanent {
                reason: Reason::VendorRefused,
            },
        };
        let retried = Failure {
            kind: FailureKind::Transient {
                reason: Reason::VendorRefused,
                retry_after: None,
            },
            ..failure.clone()
        };
        assert_eq!(failure.retried(), retried);
        assert_eq!(Failure::of_secret("x").retried(), Failure::of_secret("x"));
    }

    #[test]
    fn the_words_of_the_ledger_stay_the_same() {
        for (reason, word) in [
            (OrphanReason::Retained, "Retained"),
            (OrphanReason::NotRevoked, "NotRevoked"),
            (OrphanReason::Ambiguous, "Ambiguous"),
            (OrphanReason::Found, "Found"),
        ] {
            assert_eq!(reason.as_str(), word);
        }
    }
}
