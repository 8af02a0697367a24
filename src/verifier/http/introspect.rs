//! Introspection by RFC 7662: a service asks for the facts of a token that it was sent.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::Request,
    http::{
        Method, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Shared;
use crate::verifier::{
    callers::CallerError,
    lookup::decision::{Bearer, Denial},
    lookup::presented,
    lookup::question::{Question, QuestionError},
};

/// The longest form that is read: a token and a question in the encoding of forms.
const LONGEST: usize = 8 * presented::LONGEST;
/// How long a form may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);
const FORM: &str = "application/x-www-form-urlencoded";

/// Why an introspection is not answered.
#[derive(Debug, thiserror::Error)]
enum IntrospectError {
    #[error("use POST")]
    Method,
    #[error("send a form: Content-Type {FORM}")]
    ContentType,
    #[error("the form is longer than {LONGEST} bytes, was cut or took too long")]
    Body,
    #[error("{0} is to be given once")]
    Once(&'static str),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Caller(#[from] CallerError),
    #[error("the API server was not heard for too long")]
    Stale,
}

/// Answers one request.
pub async fn answer(shared: &Shared, request: Request) -> Response {
    match facts(shared, request).await {
        Ok(facts) => axum::Json(facts).into_response(),
        Err(error) => refused(&error),
    }
}

async fn facts(shared: &Shared, request: Request) -> Result<Value, IntrospectError> {
    if request.method() != Method::POST {
        return Err(IntrospectError::Method);
    }
    // Who may not ask is told so before anything of the question is read.
    let caller = shared.callers.authenticate(request.headers()).await?;
    let (question, token) = form(request).await?;
    shared.callers.permit(&caller, question.issuer.as_ref()).await?;
    match shared.verifier.verify(&question, Some(token.as_bytes())) {
        Ok(bearer) => Ok(active(&bearer)),
        Err(Denial::Stale) => Err(IntrospectError::Stale),
        // RFC 7662 section 2.2: why it is not active is not told.
        Err(_) => Ok(json!({ "active": false })),
    }
}

async fn form(request: Request) -> Result<(Question, Zeroizing<String>), IntrospectError> {
    let type_ = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|type_| type_.to_str().ok())
        .unwrap_or_default();
    if !type_.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM) {
        return Err(IntrospectError::ContentType);
    }
    let body = timeout(ARRIVAL, to_bytes(request.into_body(), LONGEST)).await;
    let body = body.map_err(|_| IntrospectError::Body)?.map_err(|_| IntrospectError::Body)?;
    let mut token = None;
    let mut asked = Vec::new();
    for (name, value) in url::form_urlencoded::parse(&body) {
        match name.as_ref() {
            "token" if token.is_none() => token = Some(Zeroizing::new(value.into_owned())),
            "token" => return Err(IntrospectError::Once("token")),
            "issuer" | "scope" | "audience" | "namespace" => asked.push((name, value)),
            // Others may be sent, and mean nothing here (RFC 6749 section 3.2).
            _ => {}
        }
    }
    let token = token.ok_or(IntrospectError::Once("token"))?;
    Ok((Question::from_pairs(asked)?, token))
}

/// RFC 7662 section 2.2.
fn active(bearer: &Bearer) -> Value {
    let second = |at: Option<Timestamp>| at.map(Timestamp::as_second);
    let token = bearer.token();
    let facts = json!({
        "active": true,
        "token_type": "Bearer",
        "iss": bearer.record.terms.issuer.to_string(),
        "sub": bearer.subject(),
        "account": token.map(|token| &*token.account),
        "jti": token.map(|token| &*token.id),
        "scope": bearer.scopes.join(" "),
        "aud": bearer.audiences,
        "iat": second(token.and_then(|token| token.issued_at)),
        "exp": second(token.and_then(|token| token.ends_at)),
    });
    match facts {
        Value::Object(facts) => facts.into_iter().filter(|(_, fact)| !fact.is_null()).collect(),
        other => other,
    }
}

fn refused(error: &IntrospectError) -> Response {
    let (status, code) = match error {
        IntrospectError::Method => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
        IntrospectError::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
        IntrospectError::Body | IntrospectError::Once(_) | IntrospectError::Question(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        IntrospectError::Caller(CallerError::Unknown) => (StatusCode::UNAUTHORIZED, "invalid_client"),
        IntrospectError::Caller(CallerError::Forbidden) => (StatusCode::FORBIDDEN, "access_denied"),
        IntrospectError::Caller(CallerError::TooMany) => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
        IntrospectError::Caller(CallerError::Unavailable) | IntrospectError::Stale => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
    };
    let body = json!({ "error": code, "error_description": error.to_string() });
    let mut response = (status, axum::Json(body)).into_response();
    let header = match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer realm=\"apitoken\"")),
        StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
        _ => None,
    };
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}
