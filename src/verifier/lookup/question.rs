//! What is asked of a token beside whether it works: written by whoever protects a service, never by its callers.

use crate::api::{IssuerId, IssuerIdError};

/// The longest question that is read.
const LONGEST: usize = 4096;

/// What the bearer must be able to do. The default asks for a working token of the default issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Whose token it must be; nothing: the default ClusterTokenIssuer's.
    pub issuer: Option<IssuerId>,
    /// Scopes that it must have, all of them.
    pub scopes: Vec<String>,
    /// The service that it must be for.
    pub audience: Option<String>,
    /// The namespace that its ApiToken must be in.
    pub namespace: Option<String>,
}

/// Why a question can't be answered. The texts say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// It is too long.
    #[error("the question is longer than {LONGEST} bytes")]
    TooLong,
    /// A parameter stands there twice, so that nobody can tell which one counts.
    #[error("{0} is given more than once: give it once")]
    Repeated(&'static str),
    /// A parameter that is not known: ignoring it would let through what it was to keep out.
    #[error("unknown parameter: write issuer, scope, audience or namespace")]
    Unknown,
    /// The issuer is none.
    #[error(transparent)]
    Issuer(#[from] IssuerIdError),
    /// A scope can't be one (RFC 6749 section 3.3).
    #[error("scope: write scopes of RFC 6749 section 3.3, separated by one space")]
    Scope,
    /// The question in a path is not encoded as it must be.
    #[error("the question in the path is not base64url without padding")]
    Encoding,
    /// A parameter has no value.
    #[error("{0} is empty: give it a value, or leave it away")]
    Empty(&'static str),
}

impl Question {
    /// Reads `issuer=...&scope=...&audience=...&namespace=...` in the encoding of HTML forms.
    ///
    /// # Errors
    /// Where it is not clear what is asked.
    pub fn from_query(query: &str) -> Result<Self, QuestionError> {
        if query.len() > LONGEST {
            return Err(QuestionError::TooLong);
        }
        Self::from_pairs(url::form_urlencoded::parse(query.as_bytes()))
    }

    /// Reads pairs of names and values.
    ///
    /// # Errors
    /// Where it is not clear what is asked.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, QuestionError> {
        let (mut issuer, mut scope, mut audience, mut namespace) = (None, None, None, None);
        for (name, value) in pairs {
            let (name, place) = match name.as_ref() {
                "issuer" => ("issuer", &mut issuer),
                "scope" => ("scope", &mut scope),
                "audience" => ("audience", &mut audience),
                "namespace" => ("namespace", &mut namespace),
                _ => return Err(QuestionError::Unknown),
            };
            if value.as_ref().is_empty() {
                return Err(QuestionError::Empty(name));
            }
            if place.replace(value.as_ref().to_owned()).is_some() {
                return Err(QuestionError::Repeated(name));
            }
        }
        Ok(Self {
            issuer: issuer.map(|issuer| issuer.parse()).transpose()?,
            scopes: scope.as_deref().map(scopes).transpose()?.unwrap_or_default(),
            audience,
            namespace,
        })
    }
}

/// Scopes in the form of RFC 6749 section 3.3.
fn scopes(text: &str) -> Result<Vec<String>, QuestionError> {
    let is_scope = |scope: &str| !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
    let scopes: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if scopes.iter().all(|scope| is_scope(scope)) {
        Ok(scopes)
    } else {
        Err(QuestionError::Scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_what_the_token_must_have() {
        let asked = Question::from_query("issuer=TokenIssuer%2Fshop%2Fown&scope=orders%3Aread+orders:write&audience=shop&namespace=shop");
        let expected = Question {
            issuer: Some("TokenIssuer/shop/own".parse().unwrap()),
            scopes: vec!["orders:read".into(), "orders:write".into()],
            audience: Some("shop".into()),
            namespace: Some("shop".into()),
        };
        assert_eq!(asked, Ok(expected));
        assert_eq!(Question::from_query(""), Ok(Question::default()));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (query, expected) in [
            ("scope=a&scope=b", QuestionError::Repeated("scope")),
            (
                "issuer=ClusterTokenIssuer/a&issuer=ClusterTokenIssuer/a",
                QuestionError::Repeated("issuer"),
            ),
            ("scpoe=a", QuestionError::Unknown),
            ("Scope=a", QuestionError::Unknown),
            ("=a", QuestionError::Unknown),
            ("issuer=builtin", QuestionError::Issuer(IssuerIdError)),
            ("scope=", QuestionError::Empty("scope")),
            ("audience", QuestionError::Empty("audience")),
            ("scope=a++b", QuestionError::Scope),
            ("scope=a%22b", QuestionError::Scope),
            ("scope=a%0Ab", QuestionError::Scope),
            (&format!("audience={}", "a".repeat(LONGEST)), QuestionError::TooLong),
        ] {
            assert_eq!(Question::from_query(query), Err(expected), "{query}");
        }
    }
}
