//! What a decision is made from: everything that was seen, as plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use zeroize::Zeroize;

use super::{
    marker::Marker,
    plan::{Failure, Orphan},
    schedule, secret,
};
use crate::{
    api::{
        ApiToken, ApiTokenStatus, IssuerRef, IssuerSpec,
        api_token::{ObservedState, Pending, PreviousToken, TokenStatus},
        names,
    },
    issuers::{Capabilities, IssuedToken, ListedState, ListedToken, TokenDetails},
    token_value::{self, TokenValue},
};

/// By how much an issuer's list may be behind what was made there.
const LAG: SignedDuration = SignedDuration::from_mins(1);

/// Everything that one decision depends on.
pub struct Observed {
    /// The object, as fresh as it is known.
    pub token: Arc<ApiToken>,
    /// Its issuer, or why there is none.
    pub issuer: Result<ObservedIssuer, IssuerProblem>,
    /// Whether the namespace is being deleted.
    pub namespace_ends: bool,
    /// Whether other ApiTokens stand on an issuer that is asked with this token, where this one is being deleted.
    pub needed_by_others: bool,
    /// The Secret that the spec names.
    pub secret: ObservedSecret,
    /// The Secret that the status names, where the spec names another one by now.
    pub former_secret: ObservedSecret,
    /// Whether an older ApiToken names the same Secret, which none of the two holds yet.
    pub secret_promised_to: Option<String>,
    /// What `spec.adopt.secretRef` names.
    pub adoptee: Adoptee,
    /// What the issuer holds, where it was asked in this pass.
    pub view: Option<Vec<ListedToken>>,
    /// How far the issuer's clock is ahead of ours, by what it showed in this pass.
    pub ahead: SignedDuration,
    /// The current token in a list that was asked for by another, and that shows all as recorded.
    pub shown: Option<ListedToken>,
    /// When the issuer was asked last.
    pub polled_at: Option<Timestamp>,
    /// Ids of tokens that other ApiTokens have or had at this issuer, where that can matter.
    pub others_ids: BTreeSet<String>,
    /// The uids of other ApiTokens, as markers have them, where a token may be taken over.
    pub others_uids: BTreeSet<String>,
    /// The try whose intent was written in this pass, and which nobody has made yet.
    pub intent_in_hand: Option<i64>,
    /// A token that was made and that no status names as current yet.
    pub fresh: Option<IssuedToken>,
    /// Tokens that were revoked in this pass.
    pub revoked: BTreeSet<String>,
    /// Whether the issuer was told name, description and parameters in this pass.
    pub updated: bool,
    /// Tokens that were written down in the issuer's ledger in this pass.
    pub orphaned: Vec<Orphan>,
    /// What was put right in the Secret in this pass.
    pub repaired: Vec<String>,
    /// The step that failed in this pass.
    pub failure: Option<Failure>,
    /// What the operator was told at its start.
    pub terms: Terms,
    /// The time, to the second.
    pub now: Timestamp,
}

/// What the operator was told at its start.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The first 8 hex digits of this cluster's id, by which its tokens are known at a vendor.
    pub cluster: String,
    /// The same of the clusters whose tokens count as this one's.
    pub former_clusters: Vec<String>,
    /// How long verifiers get to learn of a new hash before consumers see its value.
    pub propagation_delay: SignedDuration,
    /// How often an issuer is asked whether a token is still what we think.
    pub poll_interval: SignedDuration,
    /// How long a token that goes may resist being ended before it is written down as an orphan.
    pub revoke_deadline: SignedDuration,
    /// Whether nothing is changed at any issuer that others run.
    pub observe_only: bool,
    /// When the operator started.
    pub started_at: Timestamp,
}

impl Terms {
    /// Whether a token with that marker was made for this cluster.
    pub fn is_ours(&self, marker: &Marker) -> bool {
        self.cluster == marker.cluster || self.former_clusters.contains(&marker.cluster)
    }
}

/// How far a clock is ahead of ours that showed a whole second at some moment between these two. An answer that came late says
/// nothing of a clock that may be as ours is.
fn ahead(shown_at: Timestamp, asked_at: Timestamp, answered_at: Timestamp) -> SignedDuration {
    let may_be_ours = asked_at <= schedule::later(shown_at, SignedDuration::from_secs(1)) && shown_at <= answered_at;
    if may_be_ours {
        SignedDuration::ZERO
    } else {
        shown_at.duration_since(answered_at)
    }
}

impl Observed {
    /// What stands in the status.
    pub fn status(&self) -> Option<&ApiTokenStatus> {
        self.token.status.as_ref()
    }

    /// The token that the status names.
    pub fn current(&self) -> Option<&TokenStatus> {
        self.status()?.token.as_ref()
    }

    /// Tokens that were replaced and are still recorded.
    pub fn previous(&self) -> &[PreviousToken] {
        self.status().map(|status| status.previous.as_slice()).unwrap_or_default()
    }

    /// The record of a token that is on its way.
    pub fn pending(&self) -> Option<&Pending> {
        self.status()?.pending.as_deref()
    }

    /// What the issuer can do; nothing where there is none, or one of a type that is not known.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.issuer.as_ref().ok()?.capabilities
    }

    /// Whether tokens are made at somebody else's, so that calls can fail and tokens be left behind.
    ///
    /// Where the issuer is not known any more, the finalizer tells.
    pub fn is_remote(&self) -> bool {
        self.capabilities()
            .map_or_else(|| self.is_held(), |capabilities| !capabilities.local)
    }

    /// Whether the ApiToken has our finalizer.
    pub fn is_held(&self) -> bool {
        let finalizers = self.token.metadata.finalizers.as_deref().unwrap_or_default();
        finalizers.iter().any(|finalizer| finalizer == names::FINALIZER)
    }

    /// Whether the ApiToken is being deleted.
    pub fn is_going(&self) -> bool {
        self.token.metadata.deletion_timestamp.is_some()
    }

    /// Whether the status names the token as one that was replaced.
    pub fn was_replaced(&self, token: &ListedToken) -> bool {
        self.previous().iter().any(|previous| previous.id.as_deref() == Some(&token.id))
    }

    /// Where the Secret of that name is kept: it is the declared one, or the one that a value moves from.
    pub fn secret_named(&mut self, name: &str) -> &mut ObservedSecret {
        if name == secret::name(&self.token) {
            &mut self.secret
        } else {
            &mut self.former_secret
        }
    }

    /// The token with that id, where the issuer was asked and shows it.
    pub fn listed(&self, id: &str) -> Option<&ListedToken> {
        self.view.as_ref()?.iter().find(|token| token.id == id)
    }

    /// Takes in what the issuer holds. Where the list is behind, what the status names counts as there. Whoever wrote the intent may have
    /// written its Secret since this pass began, so what was seen of the Secrets counts no more.
    pub fn sees(&mut self, mut view: Vec<ListedToken>, now: Timestamp) {
        let shown_at = view.iter().filter_map(|token| token.shown_at).max();
        self.ahead = shown_at.map_or(SignedDuration::ZERO, |shown_at| ahead(shown_at, self.now, now));
        if self.is_behind(&view, now) {
            let hidden = self.named_by_status().filter(|token| view.iter().all(|shown| shown.id != token.id));
            view.extend(hidden.collect::<Vec<_>>());
        }
        self.view = Some(view);
        self.polled_at = Some(now);
        if self.pending().is_some() {
            self.secret = ObservedSecret::Unchanged;
            self.former_secret = ObservedSecret::Unchanged;
        }
    }

    /// When a token was made, by our clock, where the issuer tells.
    pub fn made_at(&self, token: &ListedToken) -> Option<Timestamp> {
        let created_at = token.created_at?;
        Some(created_at.checked_sub(self.ahead).unwrap_or(created_at))
    }

    /// Whether a list may be older than the current token, and so than those that this one replaced.
    fn is_behind(&self, view: &[ListedToken], now: Timestamp) -> bool {
        self.current().is_some_and(|token| {
            let is_young = token.issued_at.as_ref().is_some_and(|Time(made)| now < schedule::later(*made, LAG));
            is_young && view.iter().all(|shown| Some(&shown.id) != token.id.as_ref())
        })
    }

    /// The tokens that the status names, as the issuer would show them.
    fn named_by_status(&self) -> impl Iterator<Item = ListedToken> {
        let is_suspended = self.status().is_some_and(|status| status.state == Some(ObservedState::Suspended));
        let state = if is_suspended {
            ListedState::Suspended
        } else {
            ListedState::Active
        };
        let listed = move |id: &Option<String>, account: &Option<String>| {
            Some(ListedToken {
                id: id.clone()?,
                account: account.clone(),
                name: None,
                value: None,
                hint: None,
                state,
                created_at: None,
                shown_at: None,
                expires_at: None,
                last_used_at: None,
                fits: true,
                details: TokenDetails::default(),
            })
        };
        let current = self.current().and_then(|token| {
            Some(ListedToken {
                name: token.name.clone(),
                expires_at: token.expires_at.as_ref().map(|Time(at)| *at),
                ..listed(&token.id, &token.account)?
            })
        });
        let previous = self.previous().iter().filter_map(move |token| listed(&token.id, &token.account));
        current.into_iter().chain(previous)
    }

    /// Whether the status speaks of the present spec.
    pub fn is_of_this_generation(&self) -> bool {
        self.status()
            .is_some_and(|status| status.observed_generation == self.token.metadata.generation)
    }

    /// An annotation of the ApiToken.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.token.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// What `spec.adopt.secretRef` names.
pub enum Adoptee {
    /// Nobody has looked yet.
    Unread,
    /// There is no such Secret or key, or what stands there is no text; why, for people.
    Unusable(String),
    /// The value, and another ApiToken that has or had it.
    Found {
        /// The value.
        value: TokenValue,
        /// The other ApiToken, in words that the owner of this one may read.
        belongs_to: Option<String>,
    },
}

/// An issuer as the token sees it.
#[derive(Clone, Debug)]
pub struct ObservedIssuer {
    /// Its kind and name.
    pub reference: IssuerRef,
    /// Its spec.
    pub spec: IssuerSpec,
    /// What it can do; nothing where this version knows no such type.
    pub capabilities: Option<Capabilities>,
    /// metadata.generation of its spec.
    pub generation: Option<i64>,
    /// Its credential, where it was opened with one.
    pub credential: Option<CredentialTraits>,
    /// Changes whenever the issuer or its credential does.
    pub version: String,
    /// How long one call to it may take.
    pub timeout: SignedDuration,
    /// Whether it can be used.
    pub readiness: IssuerReadiness,
    /// Whether it has our finalizer, so that it can't go while the token stands on it.
    pub held: bool,
    /// Whether it allows the token's namespace.
    pub namespace_allowed: bool,
    /// Whether another ApiToken has an open intent here, where that excludes this one's.
    pub busy: bool,
}

/// By what the issuer's own credential is known among the tokens that it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialTraits {
    /// Hash of its value.
    pub hash: String,
    /// The last characters of its value.
    pub hint: String,
}

impl CredentialTraits {
    /// Those of that value.
    pub fn of(value: &TokenValue) -> Self {
        Self {
            hash: value.hash(),
            hint: value.hint(),
        }
    }
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
    /// The ClusterTokenIssuer that is referred to, or the default one, can't be seen: the operator works in one namespace only.
    OutOfReach(Option<String>),
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
    /// This ApiToken's: owned by its uid; or by a former object of its name; or with our label and its name, and unowned, or named
    /// by its status and owned by no other ApiToken.
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

    /// The value with that hash, under whatever key.
    pub fn value_with_hash(&self, hash: &str) -> Option<TokenValue> {
        let mut values = self.object.data.iter().flatten().map(|(_, bytes)| bytes.0.as_slice());
        let bytes = values.find(|bytes| token_value::hash(bytes) == hash)?;
        std::str::from_utf8(bytes).ok().map(TokenValue::new)
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether it is being deleted, and only a finalizer keeps it.
    pub fn is_going(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Its version.
    pub fn resource_version(&self) -> Option<&str> {
        self.object.metadata.resource_version.as_deref()
    }

    /// Whose it is, seen from `token`.
    pub fn ownership(&self, token: &ApiToken) -> Ownership {
        let owners = self.object.metadata.owner_references.as_deref().unwrap_or_default();
        let named = |name: &str| Some(name) == token.metadata.name.as_deref();
        let marked = self.has_our_label() && self.annotation(names::API_TOKEN_ANNOTATION).is_some_and(named);
        let is_api_token = |owner: &OwnerReference| owner.kind == "ApiToken" && owner.api_version.starts_with("apitoken.dev/");
        let owned = owners
            .iter()
            .any(|owner| Some(owner.uid.as_str()) == token.metadata.uid.as_deref() || (is_api_token(owner) && named(&owner.name)));
        // Whoever gives a Secret that we wrote an owner wants it collected with that one, no more.
        let recorded = token.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        let written = recorded.is_some_and(|recorded| Some(&recorded.name) == self.object.metadata.name.as_ref());
        let unowned = owners.is_empty() || (written && !owners.iter().any(is_api_token));
        if owned || (marked && unowned) {
            Ownership::Ours
        } else {
            Ownership::Foreign
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_secret_is_overwritten() {
        let mut data = BTreeMap::from([("token".to_owned(), ByteString(b"hunter2".to_vec()))]);
        wipe(Some(&mut data));
        assert!(data.values().all(|bytes| bytes.0.iter().all(|byte| *byte == 0)));
    }
}
