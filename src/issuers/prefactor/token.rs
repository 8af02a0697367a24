//! A token as Prefactor shows it, in the words of this project.

use jiff::{SignedDuration, Timestamp};

use super::wire::{Actions, Details, NewToken, Scope, Status};
use crate::{
    api::api_token::AvailableActions,
    issuers::{ListedState, ListedToken, TokenDetails},
};

/// How long after its end a token is still shown as the vendor shows it. The operator ends it by itself at the declared end, which is up
/// to 5 minutes later, by a clock that may be as much behind: till then it must not seem to be ended by somebody else.
const AFTER_THE_END: SignedDuration = SignedDuration::from_mins(10);

impl Details {
    /// The token as it is listed for that account, and for what was asked, if anything was. `now` is the vendor's time.
    pub fn listed(self, account: Option<&str>, asked: Option<&NewToken<'_>>, now: Option<Timestamp>) -> ListedToken {
        let state = self.state(now);
        ListedToken {
            account: account.map(str::to_owned),
            name: None,
            value: None,
            hint: None,
            state,
            created_at: Some(to_second(self.inserted_at)),
            shown_at: now,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            fits: state != ListedState::Revoked && asked.is_none_or(|asked| self.can_be(asked)),
            details: self.told(),
            id: self.id,
        }
    }

    /// Whether it works. The vendor has no word for a token whose time is over: it is ended and still listed, so it is shown as
    /// revoked, and the operator replaces it where the declared end is a later one, or none. A state that this version
    /// does not know counts as there: what seems gone would be replaced.
    pub fn state(&self, now: Option<Timestamp>) -> ListedState {
        match self.status {
            Status::Revoked => ListedState::Revoked,
            _ if self.is_over(now) => ListedState::Revoked,
            Status::Suspended => ListedState::Suspended,
            Status::Active | Status::Other => ListedState::Active,
        }
    }

    fn is_over(&self, now: Option<Timestamp>) -> bool {
        let over = |(end, now): (Timestamp, Timestamp)| now.duration_since(end) > AFTER_THE_END;
        self.expires_at.zip(now).is_some_and(over)
    }

    /// Whether nothing that it shows speaks against being what was asked for.
    fn can_be(&self, asked: &NewToken<'_>) -> bool {
        let ends_as_asked = |end| self.expires_at.map(to_second) == Some(end);
        self.token_scope == Scope::from(asked.token_scope)
            && agrees(asked.account_id, self.account_id.as_deref())
            && agrees(asked.environment_id, self.environment_id.as_deref())
            && agrees(asked.agent_id, self.agent_id.as_deref())
            && asked.expires_at.is_none_or(ends_as_asked)
    }

    /// What it tells for people.
    pub fn told(&self) -> TokenDetails {
        TokenDetails {
            account_type: None,
            created_by: self.created_by_admin_user_id.clone(),
            actions: self.available_actions.map(|actions| self.actions(actions)),
        }
    }

    fn actions(&self, can: Actions) -> AvailableActions {
        AvailableActions {
            activate: can.activate,
            suspend: can.suspend,
            revoke: can.revoke,
            rotate: self.status == Status::Active,
            delete: can.delete,
        }
    }
}

fn agrees(asked: Option<&str>, shown: Option<&str>) -> bool {
    asked.is_none() || shown.is_none() || asked == shown
}

/// Cuts a time to the second, as the vendor keeps times.
pub fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
