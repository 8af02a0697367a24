//! Which ApiToken has what only one can have: of several that ask at once, the first. So it is with a token that
//! is taken over, and with the one open intent of an issuer whose tokens have no names.
//!
//! The stores show what is recorded; this remembers what is about to be.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;

use crate::api::ApiToken;

/// Who asked first, by what was asked for. At most one entry for each ApiToken that asks.
#[derive(Default)]
pub struct FirstCome {
    first: Mutex<HashMap<String, First>>,
}

struct First {
    uid: String,
    name: String,
}

impl FirstCome {
    /// Asks for it; the name of another ApiToken that asked before.
    pub fn ask(&self, what: &str, token: &ApiToken) -> Option<String> {
        let uid = token.uid().unwrap_or_default();
        let mut asked = self.lock();
        let first = asked.entry(what.to_owned()).or_insert_with(|| First {
            uid: uid.clone(),
            name: format!("{}/{}", token.namespace().unwrap_or_default(), token.name_any()),
        });
        (first.uid != uid).then(|| first.name.clone())
    }

    /// Forgets everything, where deletions may have been missed.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The ApiToken is gone, or needs it no more.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|_, first| first.uid != uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, First>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiTokenSpec;

    fn token(name: &str) -> ApiToken {
        let mut token = ApiToken::new(name, ApiTokenSpec::default());
        token.metadata.namespace = Some("shop".into());
        token.metadata.uid = Some(format!("uid of {name}"));
        token
    }

    #[test]
    fn the_first_that_asks_has_it_until_it_is_gone() {
        let adoptions = FirstCome::default();
        assert_eq!(adoptions.ask("hash", &token("a")), None);
        assert_eq!(adoptions.ask("hash", &token("b")), Some("shop/a".into()));
        assert_eq!(adoptions.ask("hash", &token("a")), None, "again");
        assert_eq!(adoptions.ask("other", &token("b")), None);
        adoptions.forget("uid of a");
        assert_eq!(adoptions.ask("hash", &token("b")), None);
    }
}
