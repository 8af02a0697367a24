//! What a decision is made from: everything that was seen, as plain data.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use zeroize::Zeroize;

use super::plan::Failure;
use crate::{
    api::{
        ApiToken, IssuerRef, IssuerSpec,
        api_token::{Pending, TokenStatus},
        names,
    },
    issuers::IssuedToken,
};

/// Everything that one decision depends on.
pub struct Observed {
    /// The object, as fresh as it is known.
    pub token: Arc<ApiToken>,
    /// Its issuer, or why there is none.
    pub issuer: Result<ObservedIssuer, IssuerProblem>,
    /// Whether the namespace is being deleted.
    pub namespace_ends: bool,
    /// The Secret that the spec names.
    pub secret: ObservedSecret,
    /// Whether an older ApiToken names the same Secret, which none of the two holds yet.
    pub secret_promised_to: Option<String>,
    /// A token that was made and that no status names as current yet.
    pub fresh: Option<IssuedToken>,
    /// What was put right in the Secret in this pass.
    pub repaired: Vec<String>,
    /// The step that failed in this pass.
    pub failure: Option<Failure>,
    /// How long verifiers get to learn of a new hash before consumers see its value.
    pub propagation_delay: SignedDuration,
    /// The time, to the second.
    pub now: Timestamp,
}

impl Observed {
    /// The token that the status names.
    pub fn current(&self) -> Option<&TokenStatus> {
        self.token.status.as_ref()?.token.as_ref()
    }

    /// The record of a token that is on its way.
    pub fn pending(&self) -> Option<&Pending> {
        self.token.status.as_ref()?.pending.as_ref()
    }
}

/// An issuer as the token sees it.
#[derive(Clone, Debug)]
pub struct ObservedIssuer {
    /// Its kind and name.
    pub reference: IssuerRef,
    /// Its spec.
    pub spec: IssuerSpec,
    /// Whether it can be used.
    pub readiness: IssuerReadiness,
    /// Whether it has our finalizer, so that it can't go while the token stands on it.
    pub held: bool,
    /// Whether it allows the token's namespace.
    pub namespace_allowed: bool,
}

/// Whether an issuer can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerReadiness {
    /// Nobody has looked at its present spec yet.
    Unknown,
    /// It can be used.
    Ready,
    /// It can't; the message of its Ready condition.
    NotReady(String),
    /// It is being deleted: its tokens stay, new ones are not made.
    Deleting,
    /// It can't be read, and why: nothing is known of its type and policy.
    Unreadable(String),
}

/// Why a token has no issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerProblem {
    /// The one that is referred to does not exist.
    NotFound(IssuerRef),
    /// None is referred to and none is the default.
    NoDefault,
    /// None is referred to and several are the default: their names.
    SeveralDefaults(Vec<String>),
}

/// The Secret that the spec names.
pub enum ObservedSecret {
    /// Its version is the one that the status names: as it was last found, not read again.
    Unchanged,
    /// It does not exist.
    Absent,
    /// It was read or written in this pass.
    Found(FoundSecret),
}

/// Whose a Secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This ApiToken's (design: owned by its uid; or by a former object of its name; or unowned, with our label and its name).
    Ours,
    /// Somebody else's: never touched.
    Foreign,
}

/// A Secret with its data. It has no `Debug`, and is wiped when dropped.
pub struct FoundSecret {
    object: Box<Secret>,
    /// Another ApiToken that has or had the value that this Secret holds.
    pub value_belongs_to: Option<String>,
}

impl FoundSecret {
    /// Takes a Secret in.
    pub fn new(object: Secret) -> Self {
        Self {
            object: Box::new(object),
            value_belongs_to: None,
        }
    }

    /// The whole object, for writing it back.
    pub fn object(&self) -> &Secret {
        &self.object
    }

    /// The bytes under a key.
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.object.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Its version.
    pub fn resource_version(&self) -> Option<&str> {
        self.object.metadata.resource_version.as_deref()
    }

    /// Whose it is, seen from `token`.
    pub fn ownership(&self, token: &ApiToken) -> Ownership {
        let owners = self.object.metadata.owner_references.as_deref().unwrap_or_default();
        let named = |name: &str| Some(name) == token.metadata.name.as_deref();
        let ours = match owners {
            [] => self.has_our_label() && self.annotation(names::API_TOKEN_ANNOTATION).is_some_and(named),
            owners => owners.iter().any(|owner| {
                Some(owner.uid.as_str()) == token.metadata.uid.as_deref()
                    || (owner.kind == "ApiToken" && owner.api_version.starts_with("apitoken.dev/") && named(&owner.name))
            }),
        };
        if ours { Ownership::Ours } else { Ownership::Foreign }
    }

    fn has_our_label(&self) -> bool {
        let labels = self.object.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(names::MANAGED_BY_LABEL)).map(String::as_str) == Some(names::MANAGER)
    }
}

impl Drop for FoundSecret {
    fn drop(&mut self) {
        wipe(self.object.data.as_mut());
    }
}

/// Overwrites the data of a Secret.
pub fn wipe(data: Option<&mut BTreeMap<String, ByteString>>) {
    for bytes in data.into_iter().flat_map(BTreeMap::values_mut) {
        bytes.0.zeroize();
    }
}
