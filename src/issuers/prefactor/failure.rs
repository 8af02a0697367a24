//! What an answer means that says that it was not done.
//!
//! The vendor documents words for what went wrong, and no statuses: the word decides, then the status.

use std::time::Duration;

use serde_json::Value;

use super::wire::{Code, ErrorBody};
use crate::issuers::{
    IssuerError,
    http::{Answer, Http},
};

/// The status of an answer without a body (RFC 9110 section 15.3.5).
const NO_CONTENT: u16 = 204;
const BAD_REQUEST: u16 = 400;
const FORBIDDEN: u16 = 403;
/// The status of a call that does not go with the present state (RFC 9110 section 15.5.10).
const CONFLICT: u16 = 409;
/// The status of a call too many (RFC 6585 section 4).
const TOO_MANY_REQUESTS: u16 = 429;

/// An answer that says that it was not done.
pub struct Failure<'a> {
    answer: &'a Answer,
    body: ErrorBody,
}

impl<'a> Failure<'a> {
    /// Nothing where it does not say so. A body may speak of an error under a status that does not.
    pub fn of(answer: &'a Answer) -> Option<Self> {
        let body: ErrorBody = answer.json().unwrap_or_default();
        let failed = !answer.is_success() || body.status == "error";
        failed.then_some(Self { answer, body })
    }

    /// Whether what was asked about is not there. A status alone does not say so: a wrong url has the same one.
    pub fn is_not_found(&self) -> bool {
        self.body.code == Some(Code::NotFound)
    }

    /// Whether the token is not in a state for it.
    pub fn is_wrong_state(&self) -> bool {
        match self.body.code {
            Some(Code::InvalidAction | Code::IdempotencyKeyAlreadyUsed) => true,
            None | Some(Code::Other) => self.answer.status() == CONFLICT,
            Some(_) => false,
        }
    }

    /// The same as an error. Where the vendor asks for peace, its calls are held back.
    pub fn error(&self, http: &Http) -> IssuerError {
        let refused = self.answer.status() < 500;
        if let Some(peace) = self.body.retry_after_ms.as_u64().filter(|_| refused) {
            return http.hold_back(Duration::from_millis(peace));
        }
        if self.answer.status() == TOO_MANY_REQUESTS {
            return self.answer.refusal(None);
        }
        match self.body.code {
            Some(Code::BadAuthtoken | Code::NotAuthenticated) => IssuerError::CredentialRefused,
            Some(Code::NotPermitted) => self.answer.refusal_as(FORBIDDEN, Some(&self.text())),
            Some(
                Code::BadRequest
                | Code::NotImplemented
                | Code::NotFound
                | Code::UnexpectedRefType
                | Code::InvalidAction
                | Code::InvalidValue
                | Code::RequiredValue
                | Code::ValidationErrors,
            ) => self.answer.refusal_as(BAD_REQUEST, Some(&self.text())),
            None | Some(Code::Other) if !self.answer.is_success() => self.answer.refusal(Some(&self.text())),
            None | Some(Code::Other | Code::Unknown | Code::Unexpected | Code::IdempotencyKeyAlreadyUsed) => {
                self.answer.unexpected("it speaks of an error, and not of which")
            }
        }
    }

    /// The message, and what is wrong with each field.
    fn text(&self) -> String {
        let message = self.body.message.as_str().map(str::to_owned);
        let fields = self.body.errors.as_object().into_iter().flatten();
        let fields = fields.map(|(field, flaws)| format!("{field} {}", words(flaws)));
        message.into_iter().chain(fields).collect::<Vec<_>>().join("; ")
    }
}

/// Whether an answer without a failure says that it was done: by its body, or by having none.
pub fn says_done(answer: &Answer) -> bool {
    answer.status() == NO_CONTENT || answer.json::<ErrorBody>().is_ok()
}

/// One text, or several.
fn words(flaws: &Value) -> String {
    let several = flaws.as_array().into_iter().flatten().filter_map(Value::as_str);
    flaws.as_str().into_iter().chain(several).collect::<Vec<_>>().join(", ")
}
