//! How a call to a vendor fails, and what is known after it.

use std::{error::Error, io};

use jiff::SignedDuration;
use rustls::CertificateError;

use super::resolver::NotPublic;
use crate::issuers::IssuerError;

/// What a call does at the vendor, and so what is known when its answer gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the only kind of call that is repeated in here.
    Read,
    /// It can be repeated, and does the same.
    Change,
    /// It may make a token each time that it is sent.
    Make,
}

/// Why there is no answer that can be used. The texts hold no value, credential or address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The url is none, or one that is not allowed.
    #[error("the url in its spec must be https://<host>, without user name, query and fragment; http is for loopback hosts only")]
    Url,
    /// What is to trust can't be read.
    #[error("the caBundle in its spec holds no certificate that can be read")]
    CaBundle,
    /// The credential can't be sent in a header.
    #[error("the credential is empty or holds characters that no token has")]
    Credential,
    /// An id or account can't stand in a path.
    #[error("an id or account is empty, `.` or `..`")]
    Path,
    /// The body can't be written as JSON.
    #[error("what is asked can't be written as JSON")]
    Body,
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Client,
    /// Calls are held back, or more are waiting than may be sent.
    #[error("calls are held back")]
    HeldBack {
        /// How long no call is sent.
        retry_after: SignedDuration,
    },
    /// The host has an address that it may not have.
    #[error("the host has an address that is not of the public internet")]
    AddressRefused,
    /// The host's name has no address.
    #[error("the host's name can't be resolved")]
    Name,
    /// There is no connection.
    #[error("there is no connection")]
    Connection,
    /// There is no connection in time.
    #[error("there is no connection in time")]
    ConnectionTimeout,
    /// There is a connection, but no TLS over it.
    #[error("there is no TLS connection")]
    Tls,
    /// The certificate is not trusted.
    #[error("{0}")]
    Certificate(CertificateFlaw),
    /// There is no answer in time, or not all of it.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("the connection broke off before the whole answer was there")]
    Cut,
    /// The answer is longer than any that is expected.
    #[error("the answer is too long")]
    TooLong,
    /// The answer points elsewhere; nobody follows.
    #[error("it answers with a redirect (status {0}): correct the url in its spec")]
    Redirect(u16),
    /// The answer is not the JSON that is expected.
    #[error("the answer is not as documented: {kind} at line {line}, column {column}")]
    Json {
        /// What is wrong with it.
        kind: JsonFlaw,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The answer lacks what was asked for.
    #[error("the answer is not as documented: {0}")]
    Unexpected(&'static str),
    /// The status says that it failed, and not that nothing was done.
    #[error("it answers with status {0}")]
    Status(u16),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFlaw {
    /// Nobody vouches for it.
    #[error("its authority is not known")]
    Authority,
    /// Its time is over, or not come.
    #[error("it is expired or not valid yet")]
    Time,
    /// It is another host's.
    #[error("it is for another host")]
    Host,
    /// Something else.
    #[error("it can't be used")]
    Other,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFlaw {
    /// It is no JSON.
    #[error("no JSON")]
    Syntax,
    /// It is JSON of another shape.
    #[error("another shape")]
    Shape,
    /// It ends too early.
    #[error("an early end")]
    End,
}

impl HttpError {
    /// What failed before there was an answer.
    pub(super) fn of_request(error: &reqwest::Error) -> Self {
        if find::<NotPublic>(error).is_some() {
            Self::AddressRefused
        } else if error.is_dns() {
            Self::Name
        } else if error.is_connect() {
            Self::of_connection(error)
        } else {
            Self::of_answer(error)
        }
    }

    /// What failed while the answer came.
    pub(super) fn of_answer(error: &reqwest::Error) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Cut }
    }

    fn of_connection(error: &reqwest::Error) -> Self {
        match find::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(flaw)) => Self::Certificate(flaw.into()),
            Some(_) => Self::Tls,
            None if error.is_timeout() => Self::ConnectionTimeout,
            None => Self::Connection,
        }
    }

    /// What is known after it, for a call that does this.
    pub fn after(self, effect: Effect) -> IssuerError {
        let text = self.to_string();
        match self {
            Self::Url | Self::Path | Self::Body | Self::Client => IssuerError::Refused(text),
            Self::CaBundle | Self::Certificate(_) => IssuerError::CertificateRefused(text),
            Self::Credential => IssuerError::CredentialRefused,
            Self::AddressRefused => IssuerError::AddressRefused,
            Self::Name | Self::Connection | Self::ConnectionTimeout | Self::Tls => IssuerError::Unreachable(text),
            Self::HeldBack { retry_after } => IssuerError::RateLimited {
                retry_after: Some(retry_after),
            },
            Self::Timeout | Self::Cut | Self::TooLong | Self::Redirect(_) | Self::Json { .. } | Self::Unexpected(_) | Self::Status(_) => {
                match effect {
                    Effect::Read | Effect::Change => IssuerError::Unavailable(text),
                    Effect::Make => IssuerError::OutcomeUnknown(text),
                }
            }
        }
    }
}

impl From<&CertificateError> for CertificateFlaw {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::Authority,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Time,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Host,
            _ => Self::Other,
        }
    }
}

impl From<&serde_json::Error> for HttpError {
    /// Without the error's own text, which may repeat what stands in the answer.
    fn from(error: &serde_json::Error) -> Self {
        let kind = match error.classify() {
            serde_json::error::Category::Data => JsonFlaw::Shape,
            serde_json::error::Category::Eof => JsonFlaw::End,
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => JsonFlaw::Syntax,
        };
        Self::Json {
            kind,
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The error of that type among those that led to `error`. What an [`io::Error`] wraps is not its source.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let next: &(dyn Error + 'static) = match wrapped {
        Some(wrapped) => wrapped,
        None => error.source()?,
    };
    find(next)
}

#[cfg(test)]
mod tests {
    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;

    /// No name has an address.
    struct Nobody;

    impl Resolve for Nobody {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async { Err(io::Error::other("no such name").into()) })
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_from_other_failures() {
        let tls = super::super::tls::config(None).unwrap();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Nobody)
            .no_proxy();
        let error = client.build().unwrap().get("https://api.example.com").send().await.unwrap_err();
        assert_eq!(HttpError::of_request(&error), HttpError::Name);
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let inner = io::Error::other(rustls::Error::DecryptError);
        let outer = io::Error::other(inner);
        assert_eq!(find::<rustls::Error>(&outer), Some(&rustls::Error::DecryptError));
        assert!(find::<NotPublic>(&outer).is_none());
    }
}
