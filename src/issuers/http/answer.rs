//! What a vendor answers.

use std::time::{Duration, SystemTime};

use httpdate::parse_http_date;
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, HeaderName, RETRY_AFTER},
};
use serde::de::DeserializeOwned;

use super::{
    body::Body,
    error::{Effect, HttpError},
    text::presentable,
};
use crate::{issuers::IssuerError, token_value::TokenValue};

/// How long calls are held back where the vendor asks for fewer, and says no time.
const SHORT_PEACE: Duration = Duration::from_secs(5);

/// An answer with whatever status but a redirect.
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) date: Option<Timestamp>,
    pub(super) held_back: Option<SignedDuration>,
    pub(super) body: Body,
    pub(super) effect: Effect,
    /// What its texts must not show.
    pub(super) secrets: Vec<TokenValue>,
}

impl Answer {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status says that it was done (2xx).
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The vendor's time when it answered, to the second.
    pub fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// Where it is not of that shape. The error says where, and repeats nothing of it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, IssuerError> {
        let read = serde_json::from_slice(self.body.as_bytes());
        read.map_err(|error| HttpError::from(&error).after(self.effect))
    }

    /// The error of an answer that says that it was done, and lacks what was asked for.
    pub fn unexpected(&self, why: &'static str) -> IssuerError {
        HttpError::Unexpected(why).after(self.effect)
    }

    /// The error that the status speaks of, with what the vendor writes of it.
    pub fn refusal(&self, message: Option<&str>) -> IssuerError {
        self.refusal_by(self.status, message)
    }

    /// The same for a vendor that may say its status in the body, whatever stands before it.
    pub fn refusal_as(&self, status: u16, message: Option<&str>) -> IssuerError {
        self.refusal_by(StatusCode::from_u16(status).unwrap_or(self.status), message)
    }

    fn refusal_by(&self, status: StatusCode, message: Option<&str>) -> IssuerError {
        let said = message.map(|message| presentable(message, &self.secrets));
        let said = said.filter(|said| !said.is_empty());
        let reason = said.unwrap_or_else(|| format!("status {}, without a reason", status.as_u16()));
        match status {
            StatusCode::UNAUTHORIZED => IssuerError::CredentialRefused,
            StatusCode::FORBIDDEN => IssuerError::NotPermitted(reason),
            StatusCode::TOO_MANY_REQUESTS => IssuerError::RateLimited {
                retry_after: self.held_back,
            },
            StatusCode::REQUEST_TIMEOUT => HttpError::Status(status.as_u16()).after(self.effect),
            status if status.is_client_error() => IssuerError::Refused(reason),
            _ => HttpError::Status(status.as_u16()).after(self.effect),
        }
    }

    /// Whether the same call may well be answered otherwise a moment later.
    pub(super) fn is_passing(&self) -> bool {
        let passing = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        self.held_back.is_none() && passing.contains(&self.status)
    }
}

/// How long the vendor asks to be left alone, if it does (RFC 9110 section 10.2.3, RFC 6585 section 4).
pub fn asked_peace(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(retry_after(headers, now).unwrap_or(SHORT_PEACE)),
        StatusCode::SERVICE_UNAVAILABLE => retry_after(headers, now),
        _ => None,
    }
}

/// In seconds or as a date; a date counts from the vendor's own time, where it says it.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text(headers, &RETRY_AFTER)?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let at = parse_http_date(text).ok()?;
    let now = time(headers).unwrap_or(now);
    Some(at.duration_since(now).unwrap_or_default())
}

/// The vendor's time (RFC 9110 section 6.6.1).
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::try_from(time(headers)?).ok()
}

fn time(headers: &HeaderMap) -> Option<SystemTime> {
    parse_http_date(text(headers, &DATE)?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
