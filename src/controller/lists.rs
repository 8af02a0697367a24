//! Lists of an issuer's tokens that many ApiTokens share: when all of them are due for a look, the issuer is
//! asked once.
//!
//! A shared list holds no values, and serves to see that all is as recorded. Whatever is to be changed is
//! decided from a list of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::IssuerId,
    issuers::{IssuerError, ListedToken},
};

/// A list may be so much older than the look that it serves, as a share of the time between two looks.
const AGE_SHARE: i32 = 10;
/// The most of it.
const OLDEST: SignedDuration = SignedDuration::from_mins(1);

/// What an issuer showed, and when it was asked.
#[derive(Clone)]
pub struct SharedList {
    /// When it was asked.
    pub at: Timestamp,
    /// Its tokens, without their values.
    pub tokens: Arc<Vec<ListedToken>>,
}

/// One account of an issuer.
type Account = (IssuerId, Option<String>);
type Slot = Arc<tokio::sync::Mutex<Option<SharedList>>>;

/// The last list of each account that was looked at.
#[derive(Default)]
pub struct Lists {
    slots: Mutex<HashMap<Account, Slot>>,
}

impl Lists {
    /// A list that is young enough: the last one, or one that is asked for now. Who comes meanwhile waits for it.
    ///
    /// # Errors
    /// Where the issuer is asked and fails.
    pub async fn recent<F>(&self, account: Account, interval: SignedDuration, now: Timestamp, ask: F) -> Result<SharedList, IssuerError>
    where
        F: Future<Output = Result<Vec<ListedToken>, IssuerError>>,
    {
        let slot = self.slot(account);
        let mut last = slot.lock().await;
        let oldest = (interval / AGE_SHARE).min(OLDEST);
        if let Some(list) = last.as_ref().filter(|list| now.duration_since(list.at) <= oldest) {
            return Ok(list.clone());
        }
        let tokens = ask.await?;
        let tokens = tokens.into_iter().map(|token| ListedToken { value: None, ..token }).collect();
        let list = SharedList {
            at: now,
            tokens: Arc::new(tokens),
        };
        *last = Some(list.clone());
        Ok(list)
    }

    /// Forgets the lists of all other issuers.
    pub fn keep_only(&self, ids: &HashSet<IssuerId>) {
        self.lock().retain(|(id, _), _| ids.contains(id));
    }

    fn slot(&self, account: Account) -> Slot {
        self.lock().entry(account).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::api::{IssuerKind, IssuerRef};

    fn account(name: &str) -> Account {
        let reference = IssuerRef {
            kind: IssuerKind::TokenIssuer,
            name: name.into(),
        };
        (IssuerId::new(&reference, "shop"), None)
    }

    #[tokio::test]
    async fn an_issuer_is_asked_once_for_all_who_look_at_about_the_same_time() {
        let (lists, asked) = (Lists::default(), AtomicUsize::new(0));
        let interval = SignedDuration::from_mins(10);
        let look = async |name: &str, second: i64| {
            let now = Timestamp::from_second(second).unwrap();
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(Vec::new())
            };
            lists.recent(account(name), interval, now, ask).await.unwrap().at.as_second()
        };
        let (first, second) = tokio::join!(look("a", 1000), look("a", 1010));
        assert_eq!((first, second, asked.load(Ordering::Relaxed)), (1000, 1000, 1));
        assert_eq!((look("a", 1060).await, asked.load(Ordering::Relaxed)), (1000, 1));
        assert_eq!((look("a", 1061).await, asked.load(Ordering::Relaxed)), (1061, 2), "too old");
        assert_eq!((look("b", 1061).await, asked.load(Ordering::Relaxed)), (1061, 3), "another issuer");
    }

    #[tokio::test]
    async fn a_list_that_failed_is_asked_for_again() {
        let lists = Lists::default();
        let now = Timestamp::UNIX_EPOCH;
        let fails = async { Err(IssuerError::CredentialRefused) };
        assert!(lists.recent(account("a"), SignedDuration::from_mins(10), now, fails).await.is_err());
        let answers = async { Ok(Vec::new()) };
        assert!(
            lists
                .recent(account("a"), SignedDuration::from_mins(10), now, answers)
                .await
                .is_ok()
        );
    }
}
