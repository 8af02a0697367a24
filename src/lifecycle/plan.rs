//! What was decided: steps to take now, or the status to write and when to look again.

use jiff::Timestamp;

use super::observed::{FoundSecret, Observed};
use crate::api::ApiTokenStatus;

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
    /// Have the issuer make a token.
    IssueToken {
        /// Number of the try, the last part of the built-in issuer's ids.
        attempt: i64,
    },
    /// Create the Secret, which did not exist.
    CreateSecret(FoundSecret),
    /// Replace the Secret that was read, under its uid and version.
    UpdateSecret {
        /// The Secret as it is to be.
        secret: FoundSecret,
        /// What is put right, for people: keys, labels, annotations.
        changes: Vec<String>,
    },
    /// Delete the Secret that was read, under its uid and version.
    DeleteSecret {
        /// Its uid.
        uid: Option<String>,
        /// Its version.
        resource_version: Option<String>,
    },
    /// Read the Secret, because what is known of it does not suffice.
    ReadSecret,
}

impl Step {
    /// The step's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::IssueToken { .. } => "issue",
            Self::CreateSecret(_) => "create_secret",
            Self::UpdateSecret { .. } => "update_secret",
            Self::DeleteSecret { .. } => "delete_secret",
            Self::ReadSecret => "read_secret",
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

/// How a step failed. All failures are tried again, later and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed and what to do, without any value.
    pub message: String,
}
