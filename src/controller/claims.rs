//! Which ApiTokens name which Secret.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::recent::{Key, key};
use crate::{api::ApiToken, lifecycle::secret};

/// When an ApiToken was created, and its name: the order in which claims count.
type Claimant = (Timestamp, String);

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

impl Claims {
    /// An ApiToken was seen.
    pub fn insert(&self, token: &ApiToken) {
        let created = token.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |Time(at)| *at);
        let name = token.metadata.name.clone().unwrap_or_default();
        let claim = (secret::name(token).to_owned(), (created, name));
        let mut maps = self.lock();
        let key = key(&token.metadata);
        if maps.by_token.get(&key) == Some(&claim) {
            return;
        }
        maps.remove(&key);
        let secret = (key.0.clone(), claim.0.clone());
        maps.by_secret.entry(secret).or_default().insert(claim.1.clone());
        maps.by_token.insert(key, claim);
    }

    /// An ApiToken is gone.
    pub fn remove(&self, token: &Key) {
        self.lock().remove(token);
    }

    /// The names of the ApiTokens that name this Secret, the oldest first.
    pub fn claimants(&self, namespace: &str, secret: &str) -> Vec<String> {
        let maps = self.lock();
        let claimants = maps.by_secret.get(&(namespace.to_owned(), secret.to_owned()));
        claimants.into_iter().flatten().map(|(_, name)| name.clone()).collect()
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

    #[test]
    fn the_oldest_claimant_comes_first_and_claims_move_with_the_spec() {
        let claims = Claims::default();
        claims.insert(&token("young", Some("s"), 20));
        claims.insert(&token("old", Some("s"), 10));
        claims.insert(&token("s", None, 30));
        assert_eq!(claims.claimants("shop", "s"), ["old", "young", "s"]);
        claims.insert(&token("old", Some("other"), 10));
        claims.remove(&("shop".into(), "young".into()));
        assert_eq!(claims.claimants("shop", "s"), ["s"]);
        assert_eq!(claims.claimants("shop", "other"), ["old"]);
        assert!(claims.claimants("elsewhere", "s").is_empty());
    }
}
