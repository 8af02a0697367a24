//! How vendors are called: one HTTP set-up for all of them.
//!
//! This module owns connections, TLS, time limits, rates, and what is known after a call that failed.
//! It knows no vendor's paths or words, and nothing of Kubernetes; it never logs, and no error of its
//! holds a value, the credential, a body or an address.

mod address;
mod answer;
mod body;
mod call;
mod error;
mod gate;
mod resolver;
mod text;
mod tls;

use std::time::{Duration, Instant};

use reqwest::{
    Client, Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
    redirect::Policy,
};
use url::{Host, Url};
use zeroize::Zeroizing;

use self::{error::HttpError, gate::Gate, resolver::PublicOnly};
use super::{Access, DEFAULT_TIMEOUT, IssuerError, Reach, Seconds};
use crate::{api::IssuerSpec, token_value::TokenValue};

pub use self::{answer::Answer, body::LONGEST_BODY, call::Call, error::Effect, gate::Rate, tls::system as system_tls};

/// A connection is made within this time, and within half of the time for the whole call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is kept for so long: one that the vendor closes in the moment of a call costs that call's answer.
const IDLE: Duration = Duration::from_secs(15);
const USER_AGENT: &str = concat!("apitoken-operator/", env!("CARGO_PKG_VERSION"));

/// In which header the credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialHeader {
    /// `Authorization: Bearer <credential>` (RFC 6750 section 2.1).
    Bearer,
    /// A header of its own, in lower case.
    Named(&'static str),
}

/// With what a vendor is called.
pub struct Settings<'a> {
    /// What stands before the vendor's documented paths.
    pub url: &'a str,
    /// What the operator proves itself with.
    pub credential: &'a TokenValue,
    /// How that is sent.
    pub header: CredentialHeader,
    /// Which addresses the vendor may have.
    pub reach: Reach,
    /// Certificates in PEM to trust beside the system's.
    pub ca_bundle: Option<&'a str>,
    /// How long a call may take, from the first wait to the last byte.
    pub timeout: Duration,
    /// How many calls are sent at most.
    pub rate: Option<Rate>,
    /// Where it is counted how long calls are held back for that.
    pub waited: Seconds,
}

impl<'a> Settings<'a> {
    /// As the issuer's spec says.
    pub fn of(access: &'a Access<'_>, url: &'a str, header: CredentialHeader) -> Self {
        let IssuerSpec {
            ca_bundle,
            timeout,
            rate_limit,
            ..
        } = access.spec;
        Self {
            url,
            credential: &access.credential,
            header,
            reach: access.reach,
            ca_bundle: ca_bundle.as_deref(),
            timeout: timeout
                .as_ref()
                .map_or(DEFAULT_TIMEOUT, |timeout| timeout.as_signed())
                .unsigned_abs(),
            rate: rate_limit.as_ref().map(|limit| Rate {
                requests: usize::try_from(limit.requests).unwrap_or(1),
                per: limit.per.as_signed().unsigned_abs(),
            }),
            waited: access.waited.clone(),
        }
    }
}

/// The way to one vendor, for one issuer. Connections are reused; rates count for all calls together.
pub struct Http {
    client: Client,
    base: Url,
    authorization: (HeaderName, HeaderValue),
    credential: TokenValue,
    timeout: Duration,
    gate: Gate,
    waited: Seconds,
}

impl Http {
    /// Sets it up, without a call.
    ///
    /// # Errors
    /// Where the url is not one that this issuer may have, or the caBundle or the credential can't be used.
    pub fn new(settings: &Settings<'_>) -> Result<Self, IssuerError> {
        Self::set_up(settings).map_err(|error| error.after(Effect::Read))
    }

    fn set_up(settings: &Settings<'_>) -> Result<Self, HttpError> {
        let base = base(settings.url, settings.reach)?;
        Ok(Self {
            client: client(settings, &base)?,
            authorization: authorization(settings.header, settings.credential)?,
            base,
            credential: TokenValue::new(settings.credential.expose().trim()),
            timeout: settings.timeout,
            gate: Gate::new(settings.rate),
            waited: settings.waited.clone(),
        })
    }

    /// A call that reads.
    pub fn get(&self, path: &[&str]) -> Call<'_> {
        Call::new(self, Method::GET, path)
    }

    /// A POST.
    pub fn post(&self, path: &[&str]) -> Call<'_> {
        Call::new(self, Method::POST, path)
    }

    /// A PUT.
    pub fn put(&self, path: &[&str]) -> Call<'_> {
        Call::new(self, Method::PUT, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &[&str]) -> Call<'_> {
        Call::new(self, Method::DELETE, path)
    }

    /// Sends nothing for so long, where the vendor asks for it in another way than HTTP has (RFC 6585 section 4).
    pub fn hold_back(&self, asked: Duration) -> IssuerError {
        let retry_after = call::signed(self.gate.hold_back(Instant::now(), asked));
        HttpError::HeldBack { retry_after }.after(Effect::Read)
    }
}

/// No redirect is followed and nothing is repeated in there: who calls decides.
fn client(settings: &Settings<'_>, base: &Url) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::config(settings.ca_bundle)?)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout / 2))
        .pool_idle_timeout(IDLE);
    if settings.reach == Reach::Public {
        builder = builder.dns_resolver(PublicOnly);
    }
    if settings.reach == Reach::Public || is_loopback(base) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|_| HttpError::Client)
}

/// What people paste often ends in a line break, which is no part of it.
fn authorization(header: CredentialHeader, credential: &TokenValue) -> Result<(HeaderName, HeaderValue), HttpError> {
    let credential = credential.expose().trim();
    if credential.is_empty() || !credential.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HttpError::Credential);
    }
    let (name, value) = match header {
        CredentialHeader::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {credential}"))),
        CredentialHeader::Named(name) => (HeaderName::from_static(name), Zeroizing::new(credential.to_owned())),
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| HttpError::Credential)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The address that paths are put behind. An address that is written as a number is checked here: it is never resolved.
fn base(url: &str, reach: Reach) -> Result<Url, HttpError> {
    let url = Url::parse(url).map_err(|_| HttpError::Url)?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let allowed = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !bare || !allowed {
        return Err(HttpError::Url);
    }
    if reach == Reach::Public && (url.scheme() != "https" || is_special(&url)) {
        return Err(HttpError::AddressRefused);
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the host is written as an address that is not public.
fn is_special(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => !address::is_public(address.into()),
        Some(Host::Ipv6(address)) => !address::is_public(address.into()),
        Some(Host::Domain(_)) | None => false,
    }
}
