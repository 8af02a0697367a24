//! Who may introspect: a caller proves itself with a ServiceAccount token for our own audience, and needs the right to
//! `create` `introspections.apitoken.dev`. The API server answers for both; its answers are kept for a minute.
//!
//! Nothing here grows with strangers: what can't be a ServiceAccount token for us is turned away before the API server is
//! asked, and how often it is asked is bounded.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing::warn;

use super::bearer;
use crate::api::{self, IssuerId};

/// The longest time for which an answer of the API server counts.
const KEPT: Duration = Duration::from_secs(60);
/// For how long it counts that somebody is unknown or may not.
const KEPT_REFUSAL: Duration = Duration::from_secs(5);
/// Answers that are kept at most, of each kind.
const MOST_KEPT: usize = 4096;
/// How long the API server may take to answer.
const CALL: Duration = Duration::from_secs(5);
/// Questions to the API server in one second, for all callers together.
const REVIEWS_PER_SECOND: u32 = 100;
/// Introspections in one second, for each caller.
const PER_CALLER_AND_SECOND: u32 = 1000;
/// A longer one is no ServiceAccount token.
const LONGEST: usize = 16 * 1024;

/// Why a caller gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// It does not prove who it is.
    #[error("send a ServiceAccount token for this verifier's audience as Authorization: Bearer")]
    Unknown,
    /// It may not.
    #[error("not allowed to create introspections.apitoken.dev")]
    Forbidden,
    /// It asks too often.
    #[error("too many introspections: ask again in a second, and keep answers for some seconds")]
    TooMany,
    /// The API server does not say who it is.
    #[error("who asks can't be found out now: ask again")]
    Unavailable,
}

/// Who introspects.
pub enum Caller {
    /// Anybody, in a trusted network.
    Anybody,
    /// Somebody the API server knows.
    Known(Box<UserInfo>),
}

/// Who may introspect.
pub enum Callers {
    /// Anybody who reaches the address.
    Anybody,
    /// Who the API server lets.
    Reviewed(Box<Reviews>),
}

impl Callers {
    /// Who sent these headers.
    ///
    /// # Errors
    /// Where it does not prove who it is, or that can't be found out.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, CallerError> {
        match self {
            Self::Anybody => Ok(Caller::Anybody),
            Self::Reviewed(reviews) => {
                let authorization = headers.get(AUTHORIZATION).ok_or(CallerError::Unknown)?;
                let token = bearer::credentials(authorization.as_bytes()).ok_or(CallerError::Unknown)?;
                let user = reviews.user(token).await?;
                Ok(Caller::Known(Box::new(user)))
            }
        }
    }

    /// Whether the caller may ask for tokens of that issuer; nothing: the default one.
    ///
    /// # Errors
    /// Where it may not, or that can't be found out.
    pub async fn permit(&self, caller: &Caller, issuer: Option<&IssuerId>) -> Result<(), CallerError> {
        match (self, caller) {
            (Self::Reviewed(reviews), Caller::Known(user)) => {
                let namespace = issuer.map(|issuer| issuer.namespace.clone()).unwrap_or_default();
                reviews.permit(user, namespace).await
            }
            _ => Ok(()),
        }
    }
}

/// Answers of the API server, and how often it was asked.
pub struct Reviews {
    client: Client,
    audience: String,
    users: Kept<[u8; 32], Option<UserInfo>>,
    rights: Kept<(String, String), bool>,
    asked: Mutex<Second>,
    callers: Mutex<HashMap<String, Second>>,
}

impl Reviews {
    /// Asks that API server about tokens for that audience.
    pub fn new(client: Client, audience: String) -> Self {
        Self {
            client,
            audience,
            users: Kept::default(),
            rights: Kept::default(),
            asked: Mutex::default(),
            callers: Mutex::default(),
        }
    }

    async fn user(&self, token: &[u8]) -> Result<UserInfo, CallerError> {
        let token = std::str::from_utf8(token).map_err(|_| CallerError::Unknown)?;
        let left = self.left(token).ok_or(CallerError::Unknown)?;
        let key = Sha256::digest(token.as_bytes()).into();
        let user = match self.users.get(&key) {
            Some(user) => user,
            None => {
                let user = self.review(token).await?;
                let kept = if user.is_some() { KEPT.min(left) } else { KEPT_REFUSAL };
                self.users.keep(key, user.clone(), kept);
                user
            }
        };
        let user = user.ok_or(CallerError::Unknown)?;
        self.count(user.username.as_deref().unwrap_or_default())?;
        Ok(user)
    }

    /// How long the token is still good for, as it says itself; nothing where it can't be one for us. What it says is
    /// only believed once the API server has said that it is genuine.
    fn left(&self, token: &str) -> Option<Duration> {
        let payload = token.split('.').nth(1).filter(|_| token.len() <= LONGEST)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let is_for_us = claims.aud.contains(&self.audience);
        let left = claims.exp.checked_sub(Timestamp::now().as_second())?;
        let left = u64::try_from(left).ok().filter(|left| is_for_us && *left > 0)?;
        Some(Duration::from_secs(left))
    }

    async fn review(&self, token: &str) -> Result<Option<UserInfo>, CallerError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![self.audience.clone()]),
            },
            ..Default::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let status = self
            .ask(api.create(&PostParams::default(), &review))
            .await?
            .status
            .unwrap_or_default();
        let is_for_us = status.audiences.is_some_and(|audiences| audiences.contains(&self.audience));
        let genuine = status.authenticated == Some(true) && is_for_us;
        Ok(status.user.filter(|_| genuine))
    }

    async fn permit(&self, user: &UserInfo, namespace: String) -> Result<(), CallerError> {
        let key = (user.username.clone().unwrap_or_default(), namespace);
        let allowed = match self.rights.get(&key) {
            Some(allowed) => allowed,
            None => {
                let allowed = self.may(user, &key.1).await?;
                self.rights.keep(key, allowed, if allowed { KEPT } else { KEPT_REFUSAL });
                allowed
            }
        };
        if allowed { Ok(()) } else { Err(CallerError::Forbidden) }
    }

    async fn may(&self, user: &UserInfo, namespace: &str) -> Result<bool, CallerError> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                groups: user.groups.clone(),
                uid: user.uid.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(api::GROUP.to_owned()),
                    resource: Some("introspections".to_owned()),
                    verb: Some("create".to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = self.ask(api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn ask<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallerError> {
        if !lock(&self.asked).count(REVIEWS_PER_SECOND) {
            return Err(CallerError::Unavailable);
        }
        match timeout(CALL, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                warn!(%error, "can't find out who introspects: see whether the verifier's ServiceAccount has the chart's role");
                Err(CallerError::Unavailable)
            }
            Err(_) => Err(CallerError::Unavailable),
        }
    }

    /// Counts one more introspection of a caller that the API server knows.
    fn count(&self, caller: &str) -> Result<(), CallerError> {
        let mut callers = lock(&self.callers);
        if callers.len() >= MOST_KEPT && !callers.contains_key(caller) {
            callers.clear();
        }
        let counted = callers.entry(caller.to_owned()).or_default().count(PER_CALLER_AND_SECOND);
        if counted { Ok(()) } else { Err(CallerError::TooMany) }
    }
}

/// What a ServiceAccount token says of itself.
#[derive(Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
}

/// How much was done in one second.
#[derive(Default)]
struct Second {
    began: Option<Instant>,
    count: u32,
}

impl Second {
    /// Counts one more; false where there were `most` in this second.
    fn count(&mut self, most: u32) -> bool {
        if self.began.is_none_or(|began| began.elapsed() >= Duration::from_secs(1)) {
            (self.began, self.count) = (Some(Instant::now()), 0);
        }
        self.count += 1;
        self.count <= most
    }
}

/// Answers that count for a while, at most [`MOST_KEPT`].
struct Kept<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let kept = lock(&self.0);
        let (value, until) = kept.get(key)?;
        (*until > Instant::now()).then(|| value.clone())
    }

    /// Where there is no room, what is over goes, else everything: it is only asked for again.
    fn keep(&self, key: K, value: V, kept_for: Duration) {
        let now = Instant::now();
        let mut kept = lock(&self.0);
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (_, until)| *until > now);
        }
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, (value, now + kept_for));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_kept_are_bounded_and_end() {
        let kept = Kept::default();
        for key in 0..MOST_KEPT + 1 {
            kept.keep(key, key, KEPT);
        }
        assert!(lock(&kept.0).len() <= MOST_KEPT);
        assert_eq!(kept.get(&MOST_KEPT), Some(MOST_KEPT));
        kept.keep(0, 0, Duration::ZERO);
        assert_eq!(kept.get(&0), None);
    }

    #[test]
    fn no_more_than_so_many_in_a_second() {
        let mut second = Second::default();
        let counted = (0..5).filter(|_| second.count(3)).count();
        assert_eq!(counted, 3);
        second.began = Instant::now().checked_sub(Duration::from_secs(1));
        assert!(second.count(3));
    }
}
