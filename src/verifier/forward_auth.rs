//! Forward authentication: a proxy asks for each request whether it may pass. The same for HTTP and gRPC.

use axum::http::HeaderMap;

use super::{
    Verifier, bearer,
    bearer::Challenge,
    lookup::decision::Bearer,
    lookup::question::{Question, QuestionError},
};

/// What the service behind the proxy is told of a caller.
pub const SUBJECT: &str = "x-auth-subject";
/// See [`SUBJECT`].
pub const ACCOUNT: &str = "x-auth-account";
/// See [`SUBJECT`].
pub const SCOPES: &str = "x-auth-scopes";
/// See [`SUBJECT`].
pub const TOKEN_ID: &str = "x-auth-token-id";

/// Whether the request may pass, and who sends it.
///
/// # Errors
/// What its sender is told.
pub fn authorize(verifier: &Verifier, question: Result<Question, QuestionError>, headers: &HeaderMap) -> Result<Bearer, Challenge> {
    let question = question.map_err(|error| Challenge::bad_request(&error))?;
    let presented = bearer::presented(headers).map_err(|error| Challenge::bad_request(&error))?;
    verifier
        .verify(&question, presented)
        .map_err(|denial| Challenge::denied(denial, &question))
}

/// The headers for the service: always all four, so that what the caller wrote there never stays.
pub fn identity(bearer: &Bearer) -> [(&'static str, String); 4] {
    let (account, id) = bearer.token().map(|token| (&*token.account, &*token.id)).unwrap_or_default();
    [
        (SUBJECT, bearer.subject()),
        (ACCOUNT, account.to_owned()),
        (SCOPES, bearer.scopes.join(" ")),
        (TOKEN_ID, id.to_owned()),
    ]
}
