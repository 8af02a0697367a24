//! Tokens at an issuer that no ApiToken accounts for: which of them are ours, and what becomes of them.
//!
//! A token is ours by the marker in its name and by nothing else. What nobody can tell is left alone.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    marker::Marker,
    observed::Terms,
    plan::{Orphan, OrphanReason},
    schedule,
};
use crate::{
    api::issuer::{self, OrphanPolicy},
    issuers::{ListedState, ListedToken},
};

/// What ApiTokens show of an entry younger than this may be older than the entry.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);

/// What the ApiTokens of the cluster account for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Ids of the tokens that ApiTokens have or had.
    pub ids: BTreeSet<String>,
    /// The same of ApiTokens that are being deleted, and may have written them down already.
    pub going: BTreeSet<String>,
    /// The part of each ApiToken's uid that stands in markers.
    pub uids: BTreeSet<String>,
}

impl Holdings {
    /// Whether an ApiToken has or had the token.
    pub fn accounts_for(&self, id: &str) -> bool {
        self.ids.contains(id) || self.going.contains(id)
    }
}

/// Tokens that bear our marker, and whose ApiToken is gone.
pub fn strays(view: &[ListedToken], holdings: &Holdings, terms: &Terms) -> Vec<Orphan> {
    let live = view.iter().filter(|token| token.state != ListedState::Revoked);
    live.filter(|token| !holdings.ids.contains(&token.id) && !holdings.going.contains(&token.id))
        .filter(|token| is_ours(token, holdings, terms))
        .map(found)
        .collect()
}

fn is_ours(token: &ListedToken, holdings: &Holdings, terms: &Terms) -> bool {
    let marker = token.name.as_deref().and_then(Marker::in_name);
    marker.is_some_and(|marker| terms.is_ours(&marker) && !holdings.uids.contains(&marker.uid))
}

fn found(token: &ListedToken) -> Orphan {
    Orphan {
        id: token.id.clone(),
        name: token.name.clone(),
        account: token.account.clone(),
        reason: OrphanReason::Found,
    }
}

/// What becomes of an entry of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The token is gone, or an ApiToken accounts for it: the entry goes.
    Leaves,
    /// The entry stays, for people.
    Stays,
    /// The token is to be ended.
    Ends,
}

/// What becomes of an entry, by what the issuer shows.
pub fn fate(entry: &issuer::Orphan, view: &[ListedToken], holdings: &Holdings, policy: OrphanPolicy, now: Timestamp) -> Fate {
    let is_it = |token: &&ListedToken| token.id == entry.id && token.state != ListedState::Revoked;
    if !view.iter().any(|token| is_it(&token)) {
        return Fate::Leaves;
    }
    if holdings.ids.contains(&entry.id) {
        let Time(since) = &entry.since;
        return if schedule::later(*since, SETTLED) <= now {
            Fate::Leaves
        } else {
            Fate::Stays
        };
    }
    match (OrphanReason::named(&entry.reason), policy) {
        (Some(OrphanReason::NotRevoked), _) | (Some(OrphanReason::Found), OrphanPolicy::Revoke) => Fate::Ends,
        _ => Fate::Stays,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            cluster: "0123abcd".into(),
            former_clusters: vec!["99999999".into()],
            propagation_delay: SignedDuration::ZERO,
            poll_interval: SignedDuration::ZERO,
            revoke_deadline: SignedDuration::ZERO,
            observe_only: false,
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn holdings() -> Holdings {
        Holdings {
            ids: ["held".to_owned()].into(),
            going: ["going".to_owned()].into(),
            uids: ["aaaaaaaaaa".to_owned()].into(),
        }
    }

    fn listed(id: &str, name: Option<&str>, state: ListedState) -> ListedToken {
        ListedToken {
            id: id.into(),
            account: None,
            name: name.map(str::to_owned),
            value: None,
            hint: None,
            state,
            created_at: None,
            shown_at: None,
            expires_at: None,
            last_used_at: None,
            fits: true,
            details: Default::default(),
        }
    }

    #[test]
    fn a_stray_bears_our_marker_and_its_object_is_gone() {
        use ListedState::{Active, Revoked, Suspended};
        for (id, name, state, expected, why) in [
            ("t", Some("ci k8s-0123abcd-bbbbbbbbbb-1"), Active, true, "no object has that uid"),
            (
                "t",
                Some("ci k8s-0123abcd-bbbbbbbbbb-1 4711"),
                Suspended,
                true,
                "held back is not ended",
            ),
            ("t", Some("ci k8s-99999999-bbbbbbbbbb-1"), Active, true, "of a former cluster"),
            ("t", Some("ci k8s-0123abcd-bbbbbbbbbb-1"), Revoked, false, "it is ended"),
            ("held", Some("ci k8s-0123abcd-bbbbbbbbbb-1"), Active, false, "an ApiToken has it"),
            (
                "t",
                Some("ci k8s-0123abcd-aaaaaaaaaa-7"),
                Active,
                false,
                "its object lives and looks after it",
            ),
            (
                "going",
                Some("ci k8s-0123abcd-bbbbbbbbbb-1"),
                Active,
                false,
                "its object looks after it to the end",
            ),
            ("t", Some("ci k8s-77777777-bbbbbbbbbb-1"), Active, false, "of another cluster"),
            ("t", Some("somebody's"), Active, false, "not ours"),
            ("t", None, Active, false, "nobody can tell"),
        ] {
            let strays = strays(&[listed(id, name, state)], &holdings(), &terms());
            assert_eq!(!strays.is_empty(), expected, "{why}");
            assert!(strays.iter().all(|stray| stray.id == id && stray.reason == OrphanReason::Found));
        }
    }

    #[test]
    fn an_entry_leaves_with_its_token_and_is_ended_where_that_is_declared() {
        use Fate::{Ends, Leaves, Stays};
        use OrphanPolicy::{Report, Revoke};
        let view = [
            listed("lives", None, ListedState::Active),
            listed("ended", None, ListedState::Revoked),
            listed("held", None, ListedState::Active),
            listed("going", None, ListedState::Active),
        ];
        let settled = Timestamp::UNIX_EPOCH + SETTLED;
        for (id, reason, policy, expected, why) in [
            ("lives", "NotRevoked", Report, Ends, "its end was declared"),
            ("lives", "Found", Report, Stays, "only told of"),
            ("lives", "Found", Revoke, Ends, "the issuer says so"),
            ("lives", "Retained", Revoke, Stays, "its owner said that it stays"),
            ("lives", "Ambiguous", Revoke, Stays, "it may be somebody else's"),
            ("lives", "of another version", Revoke, Stays, "nobody knows what that means"),
            ("ended", "Retained", Report, Leaves, "somebody ended it"),
            ("gone", "NotRevoked", Report, Leaves, "somebody removed it"),
            ("held", "NotRevoked", Revoke, Leaves, "an ApiToken took it over"),
            ("going", "Retained", Revoke, Stays, "its ApiToken goes and has just written it down"),
        ] {
            let entry = issuer::Orphan {
                id: id.into(),
                name: None,
                account: None,
                api_token: None,
                reason: reason.into(),
                since: Time(Timestamp::UNIX_EPOCH),
            };
            assert_eq!(fate(&entry, &view, &holdings(), policy, settled), expected, "{id} {reason}: {why}");
            let young = fate(&entry, &view, &holdings(), policy, Timestamp::UNIX_EPOCH);
            assert_eq!(
                young,
                if id == "held" { Stays } else { expected },
                "{id} {reason}: the stores may lag"
            );
        }
    }
}
