//! Tokens in the headers of a request, and what a caller is told who is turned away (RFC 6750).

use axum::http::{HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION};

use super::lookup::{decision::Denial, question::Question};

/// The other place for a token.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SCHEME: &[u8] = b"bearer";

/// There are two tokens, and nobody can tell which one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than one token: send one, as Authorization: Bearer or as X-API-Key")]
pub struct Ambiguous;

/// The token that a request carries; nothing where it carries none.
///
/// # Errors
/// Where there may be two.
pub fn presented(headers: &HeaderMap) -> Result<Option<&[u8]>, Ambiguous> {
    let authorization = only(headers, &AUTHORIZATION)?.and_then(credentials);
    let key = only(headers, &API_KEY)?;
    match (authorization, key) {
        (Some(_), Some(_)) => Err(Ambiguous),
        (token, key) => Ok(token.or(key)),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.as_bytes());
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Ambiguous),
    }
}

/// What follows the scheme `Bearer`, in whatever case (RFC 9110 section 11.1); nothing under another scheme.
pub fn credentials(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_none_or(|next| *next == b' ');
    is_bearer.then(|| rest.trim_ascii())
}

/// What a caller is told who is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Status of the answer.
    pub status: StatusCode,
    /// Header `WWW-Authenticate`; empty where a token would change nothing.
    pub authenticate: String,
}

impl Challenge {
    /// For a token that was turned away (RFC 6750 section 3.1). Only who has a token that works learns what it lacks.
    pub fn denied(denial: Denial, question: &Question) -> Self {
        match denial {
            Denial::Missing => Self::new(StatusCode::UNAUTHORIZED, ""),
            Denial::InsufficientScope => Self::new(
                StatusCode::FORBIDDEN,
                &format!(", error=\"insufficient_scope\", scope=\"{}\"", question.scopes.join(" ")),
            ),
            Denial::Stale => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                authenticate: String::new(),
            },
            _ => Self::new(StatusCode::UNAUTHORIZED, ", error=\"invalid_token\""),
        }
    }

    /// For a request that can't be answered.
    pub fn bad_request(why: &dyn std::error::Error) -> Self {
        let description = format!(", error=\"invalid_request\", error_description=\"{why}\"");
        Self::new(StatusCode::BAD_REQUEST, &description)
    }

    fn new(status: StatusCode, rest: &str) -> Self {
        Self {
            status,
            authenticate: format!("Bearer realm=\"apitoken\"{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_token_counts_wherever_it_stands() {
        for (lines, expected, why) in [
            (&[][..], Ok(None), "none"),
            (&[("authorization", "Bearer abc")], Ok(Some("abc")), "RFC 6750"),
            (&[("authorization", "bEARER   abc")], Ok(Some("abc")), "a scheme has no case"),
            (&[("x-api-key", "abc")], Ok(Some("abc")), "the other place"),
            (&[("authorization", "Basic YTpi")], Ok(None), "another scheme"),
            (
                &[("authorization", "Basic YTpi"), ("x-api-key", "abc")],
                Ok(Some("abc")),
                "another scheme beside a key",
            ),
            (
                &[("authorization", "Bearer")],
                Ok(Some("")),
                "no token after the scheme: a malformed one",
            ),
            (&[("authorization", "Bearerabc")], Ok(None), "another scheme"),
            (
                &[("authorization", "Bearer abc"), ("x-api-key", "abc")],
                Err(Ambiguous),
                "two, though the same",
            ),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Err(Ambiguous),
                "two lines",
            ),
            (
                &[("authorization", "Basic a"), ("authorization", "Bearer b")],
                Err(Ambiguous),
                "two lines",
            ),
            (&[("x-api-key", "a"), ("x-api-key", "b")], Err(Ambiguous), "two keys"),
        ] {
            let expected = expected.map(|token: Option<&str>| token.map(str::as_bytes));
            assert_eq!(presented(&headers(lines)), expected, "{why}: {lines:?}");
        }
    }

    #[test]
    fn only_a_lack_of_scopes_is_told() {
        let question = Question::from_query("scope=a+b").unwrap();
        for denial in Denial::ALL {
            let told = Challenge::denied(denial, &question);
            let (status, authenticate) = match denial {
                Denial::Missing => (401, "Bearer realm=\"apitoken\""),
                Denial::InsufficientScope => (403, "Bearer realm=\"apitoken\", error=\"insufficient_scope\", scope=\"a b\""),
                Denial::Stale => (503, ""),
                _ => (401, "Bearer realm=\"apitoken\", error=\"invalid_token\""),
            };
            assert_eq!(
                (told.status.as_u16(), told.authenticate.as_str()),
                (status, authenticate),
                "{denial:?}"
            );
        }
    }
}
