//! The verifier over HTTP: `/authorize` for proxies, `/introspect` for services that ask themselves.

mod introspect;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Verifier,
    bearer::Challenge,
    callers::Callers,
    forward_auth,
    lookup::question::{Question, QuestionError},
};

const AUTHORIZE: &str = "/authorize";
/// What stands before a question in the path, and the question before the client's own path.
const AUTHORIZE_PREFIX: &str = "/authorize/p/";
const INTROSPECT: &str = "/introspect";

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// Who decides.
    pub verifier: Arc<Verifier>,
    /// Who may introspect.
    pub callers: Arc<Callers>,
}

/// Answers every path. Proxies put the client's own path behind ours, so no router may read it.
pub fn router(shared: Shared) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let mut response = match request.uri().path() {
        INTROSPECT => introspect::answer(&shared, request).await,
        _ => match question(request.uri()) {
            Some(question) => authorize(&shared.verifier, question, request.headers()),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The question that a path asks; nothing where it asks none. The query counts at exactly `/authorize`: elsewhere the client
/// wrote it.
fn question(uri: &Uri) -> Option<Result<Question, QuestionError>> {
    if uri.path() == AUTHORIZE {
        return Some(Question::from_query(uri.query().unwrap_or_default()));
    }
    let encoded = uri.path().strip_prefix(AUTHORIZE_PREFIX)?.split('/').next()?;
    Some(decoded(encoded))
}

fn decoded(encoded: &str) -> Result<Question, QuestionError> {
    let query = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| QuestionError::Encoding)?;
    let query = String::from_utf8(query).map_err(|_| QuestionError::Encoding)?;
    Question::from_query(&query)
}

fn authorize(verifier: &Verifier, question: Result<Question, QuestionError>, headers: &HeaderMap) -> Response {
    match forward_auth::authorize(verifier, question, headers) {
        Ok(bearer) => accepted(&forward_auth::identity(&bearer)),
        Err(challenge) => challenged(&challenge),
    }
}

/// A header that can't be sent would hide who the caller is.
fn accepted(identity: &[(&'static str, String)]) -> Response {
    let mut response = StatusCode::OK.into_response();
    for (name, value) in identity {
        let Ok(value) = HeaderValue::from_str(value) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        response.headers_mut().insert(*name, value);
    }
    response
}

fn challenged(challenge: &Challenge) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = challenge.status;
    if let Ok(value) = HeaderValue::from_str(&challenge.authenticate)
        && !value.is_empty()
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_protects_a_service_writes_the_question_and_not_its_callers() {
        let encoded = URL_SAFE_NO_PAD.encode("scope=a");
        let asked = Some(Question::from_query("scope=a"));
        for (uri, expected, why) in [
            ("/authorize?scope=a".to_owned(), asked.clone(), "the proxy sets all of it"),
            ("/authorize".to_owned(), Some(Ok(Question::default())), "any working token"),
            (format!("/authorize/p/{encoded}"), asked.clone(), "nothing behind it"),
            (format!("/authorize/p/{encoded}/"), asked.clone(), "the client's root"),
            (format!("/authorize/p/{encoded}/shop?scope=b"), asked.clone(), "the client's query"),
            (
                format!("/authorize/p/{encoded}/../../authorize?scope=b"),
                asked.clone(),
                "the client's path",
            ),
            (format!("/authorize/p/{encoded}//p/x"), asked, "the client's path"),
            (
                "/authorize/p/?scope=b".to_owned(),
                Some(Ok(Question::default())),
                "an empty question",
            ),
            ("/authorize/p/***/x".to_owned(), Some(Err(QuestionError::Encoding)), "no base64url"),
            ("/authorize/p/YQ==/x".to_owned(), Some(Err(QuestionError::Encoding)), "padded"),
            ("/authorize/p".to_owned(), None, "no question"),
            ("/authorize/?scope=a".to_owned(), None, "not exactly /authorize"),
            ("/authorize/x?scope=a".to_owned(), None, "not exactly /authorize"),
            ("//authorize?scope=a".to_owned(), None, "not exactly /authorize"),
            ("/Authorize".to_owned(), None, "another path"),
            ("/".to_owned(), None, "another path"),
        ] {
            assert_eq!(question(&uri.parse().unwrap()), expected, "{why}: {uri}");
        }
    }
}
