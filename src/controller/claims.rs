//! Which ApiTokens name a Secret that has another name than they have.
//!
//! Most name none: their Secret is named like them, and the store of ApiTokens answers for those.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::recent::{Key, key};
use crate::{api::ApiToken, lifecycle::secret};

/// When an ApiToken was created, and its name: the order in which claims count.
pub type Claimant = (Timestamp, String);

/// An index that the watch of ApiTokens keeps.
#[derive(Default)]
pub struct Claims {
    maps: Mutex<Maps>,
}

#[derive(Default)]
struct Maps {
    by_secret: HashMap<Key, BTreeSet<Claimant>>,
    by_token: HashMap<Key, (String, Claimant)>,
}

/// The token as a claimant of its Secret.
pub fn claimant(token: &ApiToken) -> Claimant {
    let created = token.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |Time(at)| *at);
    (created, token.metadata.name.clone().unwrap_or_default())
}

impl Claims {
    /// An ApiToken was seen.
    pub fn insert(&self, token: &ApiToken) {
        let claim = (secret::name(token).to_owned(), claimant(token));
        let mut maps = self.lock();
        let key = key(&token.metadata);
        if maps.by_token.get(&key) == Some(&claim) {
            return;
        }
        maps.remove(&key);
        if claim.0 != key.1 {
            let secret = (key.0.clone(), claim.0.clone());
            maps.by_secret.entry(secret).or_default().insert(claim.1.clone());
            maps.by_token.insert(key, claim);
        }
    }

    /// An ApiToken is gone.
    pub fn remove(&self, token: &Key) {
        self.lock().remove(token);
    }

    /// The ApiTokens of another name that name this Secret.
    pub fn claimants(&self, namespace: &str, secret: &str) -> BTreeSet<Claimant> {
        let maps = self.lock();
        let claimants = maps.by_secret.get(&(namespace.to_owned(), secret.to_owned()));
        claimants.cloned().unwrap_or_default()
    }

    /// Everything was listed anew.
    pub fn replace<'a>(&self, tokens: impl IntoIterator<Item = &'a ApiToken>) {
        *self.lock() = Maps::default();
        tokens.into_iter().for_each(|token| self.insert(token));
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn remove(&mut self, token: &Key) {
        let Some((secret, claimant)) = self.by_token.remove(token) else {
            return;
        };
        let secret = (token.0.clone(), secret);
        if let Some(claimants) = self.by_secret.get_mut(&secret) {
            claimants.remove(&claimant);
            if claimants.is_empty() {
                self.by_secret.remove(&secret);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiTokenSpec;

    fn token(name: &str, secret: Option<&str>, created: i64) -> ApiToken {
        let mut token = ApiToken::new(name, ApiTokenSpec::default());
        token.metadata.namespace = Some("shop".into());
        token.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        token.spec.secret.name = secret.map(str::to_owned);
        token
    }

    fn names(claims: &Claims, secret: &str) -> Vec<String> {
        claims.claimants("shop", secret).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn the_oldest_claimant_comes_first_and_claims_move_with_the_spec() {
        let claims = Claims::default();
        claims.insert(&token("young", Some("s"), 20));
        claims.insert(&token("old", Some("s"), 10));
        claims.insert(&token("s", None, 5));
        assert_eq!(
            names(&claims, "s"),
            ["old", "young"],
            "whose Secret has its own name is not kept here"
        );
        claims.insert(&token("old", Some("other"), 10));
        claims.remove(&("shop".into(), "young".into()));
        assert!(names(&claims, "s").is_empty());
        assert_eq!(names(&claims, "other"), ["old"]);
        claims.insert(&token("old", None, 10));
        assert!(names(&claims, "other").is_empty());
        assert!(claims.claimants("elsewhere", "s").is_empty());
    }
}
