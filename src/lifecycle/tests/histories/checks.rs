//! What must never happen, and what must hold once the faults are over.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    site::Kept,
    world::{Passed, World},
};
use crate::{
    api::{
        ApiTokenStatus,
        api_token::{DesiredState, ObservedState},
        names,
    },
    issuers::ListedState,
    lifecycle::secret,
    token_value,
};

impl World {
    /// The hashes of bare values of ours in the Secrets that consumers may read: the declared one and
    /// the one that a value moves from.
    fn held(&self) -> Vec<String> {
        let object = self.object();
        let recorded = object.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        let names: BTreeSet<&str> = recorded
            .map(|recorded| recorded.name.as_str())
            .into_iter()
            .chain([secret::name(object)])
            .collect();
        let values = names
            .into_iter()
            .filter_map(|name| self.secrets.get(name))
            .flat_map(|secret| secret.data.iter().flatten());
        let bare = values
            .filter(|(key, _)| *key != names::PREVIOUS_TOKEN_KEY)
            .map(|(_, value)| token_value::hash(&value.0));
        bare.filter(|hash| self.made.iter().any(|(_, made)| made == hash)).collect()
    }

    /// Whether the value is on its way to another Secret.
    fn moves(&self) -> bool {
        let object = self.object();
        let recorded = object.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        recorded.is_some_and(|recorded| recorded.name != secret::name(object))
    }

    fn keeps_tokens_live(&self) -> bool {
        let object = self.object();
        let state = object.status.as_ref().and_then(|status| status.state);
        let ended = matches!(state, Some(ObservedState::Expired | ObservedState::Revoked));
        object.spec.state == DesiredState::Active && object.metadata.deletion_timestamp.is_none() && !ended
    }

    /// Tokens of others are as they were, and while a token of the built-in issuer is to be live, the value that consumers read is
    /// accepted.
    pub fn check(&self) {
        self.check_others();
        let status = self.status();
        if self.moves() || !self.keeps_tokens_live() {
            return;
        }
        let Some(current) = status.token.as_ref().filter(|_| !self.lost) else {
            return;
        };
        let now = self.now;
        let hashes = [
            current.hash.clone(),
            status.pending.as_ref().and_then(|pending| pending.hash.clone()),
        ];
        let previous = status
            .previous
            .iter()
            .filter(|previous| previous.revoke_at.0 > now)
            .map(|previous| previous.hash.clone());
        let accepted: Vec<String> = hashes.into_iter().chain(previous).flatten().collect();
        assert!(
            !self.site.issuer().capabilities().local || self.held().iter().all(|held| accepted.contains(held)),
            "the Secret holds what nobody accepts:\n{}",
            self.log.join("\n")
        );
    }

    /// Nobody touches the token of another.
    fn check_others(&self) {
        let tokens = self.site.tokens();
        for (id, before) in &self.others {
            let now = tokens.iter().find(|kept| kept.id == *id).map(|kept| &kept.details);
            assert_eq!(now, Some(before), "the token of another was touched:\n{}", self.log.join("\n"));
        }
    }

    /// The issuer is never told to end what the Secret holds, nor what is another's.
    pub fn check_end(&self, id: &str) {
        assert!(
            !self.others.contains_key(id),
            "ends a token that is not ours:\n{}",
            self.log.join("\n")
        );
        let current = self.status().token;
        let overdue = current.is_some_and(|token| token.expires_at.is_some_and(|Time(end)| end <= self.now));
        let held = self.held();
        let mut live = self.live().into_iter();
        let is_held = live.any(|kept| kept.id == id && held.contains(&kept.hash));
        assert!(
            !is_held || !self.keeps_tokens_live() || overdue,
            "ends {id}, which the Secret holds:\n{}",
            self.log.join("\n")
        );
    }

    /// No rotation without a cause.
    pub fn check_rotation(&self, after: &ApiTokenStatus) {
        let before = self.status();
        if after.rotations == before.rotations {
            return;
        }
        let reason = after.last_rotation_reason.as_deref().unwrap_or_default();
        let issued_at = before
            .token
            .as_ref()
            .and_then(|token| token.issued_at.as_ref())
            .map_or(self.now, |Time(at)| *at);
        let age = self.now.duration_since(issued_at);
        let early = match reason {
            // The shortest span of the histories, less a tenth, less a second.
            "Interval" | "BeforeExpiry" => age < SignedDuration::from_secs(30 * 60 * 9 / 10 - 1),
            "Requested" => after.last_rotation_request == before.last_rotation_request,
            _ => false,
        };
        assert!(!early, "a rotation without a cause ({reason}):\n{}", self.log.join("\n"));
        assert_eq!(after.rotations.unwrap_or(0), before.rotations.unwrap_or(0) + 1);
    }

    /// Lets one operator work alone, without faults, until nothing is left to do.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..80 {
            let passed = self.pass(0, 0, None);
            quiet = match passed {
                Passed::Rested(_, false) => quiet + 1,
                _ => 0,
            };
            let wait = match passed {
                Passed::Rested(Some(at), _) => at.duration_since(self.now),
                _ => SignedDuration::from_secs(1),
            };
            // Nothing was written, and nothing is due soon: it has come to rest.
            if quiet > 0 && (self.gone || wait > SignedDuration::from_secs(65) || matches!(passed, Passed::Rested(None, _))) {
                return;
            }
            self.now += wait.clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(60));
        }
        let ready = self.status().conditions.into_iter().map(|condition| condition.message);
        panic!(
            "does not come to rest at {}: {:?}\n{}",
            self.now,
            ready.collect::<Vec<_>>(),
            self.log.join("\n")
        );
    }

    /// Lets the overlaps come to their ends.
    pub fn settle_overlaps(&mut self) {
        for _ in 0..8 {
            self.settle();
            match self.status().previous.iter().map(|previous| previous.revoke_at.0).max() {
                Some(end) if !self.gone => self.now = self.now.max(end) + SignedDuration::from_secs(1),
                _ => return,
            }
        }
        panic!("its overlaps never end:\n{}", self.log.join("\n"));
    }

    /// Whether all is as the spec declares it.
    pub fn check_settled(&self) {
        let told = self.log.join("\n");
        self.check_others();
        let status = self.status();
        let keeps_one = !self.gone && matches!(status.state, Some(ObservedState::Active | ObservedState::Suspended));
        let current = status.token.as_ref().filter(|_| keeps_one).and_then(|token| token.id.clone());
        let is_known = |kept: &Kept| Some(&kept.id) == current.as_ref() || self.ledger.iter().any(|orphan| orphan.id == kept.id);
        let live = self.live();
        let unknown: Vec<&String> = live.iter().filter(|kept| !is_known(kept)).map(|kept| &kept.id).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "nobody accounts for it:\n{told}");
        if self.gone {
            return;
        }
        match (self.object().spec.state, status.state) {
            (DesiredState::Revoked, state) => assert_eq!(state, Some(ObservedState::Revoked), "{told}"),
            (DesiredState::Suspended, state) => {
                let is_off = matches!(state, Some(ObservedState::Suspended | ObservedState::Expired));
                assert!(is_off, "{state:?}:\n{told}");
            }
            (DesiredState::Active, Some(ObservedState::Expired)) => {}
            (DesiredState::Active, state) => {
                assert_eq!(state, Some(ObservedState::Active), "{told}");
                assert!(status.pending.is_none(), "{told}");
                let hash = status.token.as_ref().and_then(|token| token.hash.clone()).unwrap_or_default();
                assert!(self.held().contains(&hash), "the Secret does not hold the token:\n{told}");
                let works = live.iter().any(|kept| kept.hash == hash && kept.state == ListedState::Active);
                assert!(works || self.site.issuer().capabilities().local, "the token does not work:\n{told}");
            }
        }
    }

    /// Tokens at the issuer that are not another's, and work or are held back.
    fn live(&self) -> Vec<Kept> {
        self.site.tell_time(self.now);
        let tokens = self.site.tokens().into_iter();
        let is_live = |kept: &Kept| kept.state != ListedState::Revoked && !self.others.contains_key(&kept.id);
        tokens.filter(is_live).collect()
    }
}
