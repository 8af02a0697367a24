//! Tokens that were made and announced, and wait to be written to their Secret.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::issuers::IssuedToken;

/// Fresh tokens by the uid of their ApiToken: at most one each. They live in memory only; one that
/// is lost with the program is made again.
#[derive(Default)]
pub struct FreshTokens {
    by_uid: Mutex<HashMap<String, IssuedToken>>,
}

impl FreshTokens {
    /// Takes the token out.
    pub fn take(&self, uid: &str) -> Option<IssuedToken> {
        self.lock().remove(uid)
    }

    /// Keeps the token until the next pass.
    pub fn keep(&self, uid: &str, token: IssuedToken) {
        self.lock().insert(uid.to_owned(), token);
    }

    /// Forgets everything, where deletions may have been missed.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, IssuedToken>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
