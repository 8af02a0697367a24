//! One call to a vendor: put together, sent, and sent again where that does no harm.

use std::time::{Duration, Instant, SystemTime};

use jiff::SignedDuration;
use reqwest::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{
    Http,
    answer::{Answer, asked_peace, date},
    body::Body,
    error::{Effect, HttpError},
    gate::Closed,
};
use crate::{issuers::IssuerError, token_value::TokenValue};

/// How long after a read that failed the same is asked again: so often, and no oftener.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// What part of a call's time may pass before it is sent.
const PATIENCE: u32 = 4;

/// A call that is not sent yet.
#[must_use = "it does nothing until it is sent"]
pub struct Call<'a> {
    http: &'a Http,
    method: Method,
    url: Result<Url, HttpError>,
    body: Option<Result<Vec<u8>, HttpError>>,
    secrets: Vec<TokenValue>,
}

impl<'a> Call<'a> {
    pub(super) fn new(http: &'a Http, method: Method, path: &[&str]) -> Self {
        Self {
            http,
            method,
            url: under(&http.base, path),
            body: None,
            secrets: vec![http.credential.clone()],
        }
    }

    /// With a parameter in the query, encoded as forms are.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// With this as its body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).map_err(|_| HttpError::Body));
        self
    }

    /// With a value in its path or body, which no error is to show.
    pub fn carrying(mut self, value: &TokenValue) -> Self {
        self.secrets.push(value.clone());
        self
    }

    /// Sends it and takes in the answer, whatever its status, within the issuer's time limit. A read that finds no connection, or
    /// a server that is away for a moment, is sent up to twice more.
    ///
    /// # Errors
    /// Where there is no whole answer, or it is a redirect, or the vendor's calls are held back. What is known then depends on
    /// `effect`: of a call that may make a token, and may have arrived, the outcome is unknown.
    pub async fn send(self, effect: Effect) -> Result<Answer, IssuerError> {
        let answer = timeout(self.http.timeout, self.try_and_repeat(effect)).await;
        answer.unwrap_or(Err(HttpError::Timeout)).map_err(|error| error.after(effect))
    }

    async fn try_and_repeat(&self, effect: Effect) -> Result<Answer, HttpError> {
        for pause in PAUSES {
            let outcome = self.send_once(effect).await;
            if effect != Effect::Read || !is_passing(&outcome) {
                return outcome;
            }
            sleep(pause).await;
        }
        self.send_once(effect).await
    }

    async fn send_once(&self, effect: Effect) -> Result<Answer, HttpError> {
        let request = self.request()?;
        let Http {
            client,
            gate,
            timeout,
            waited,
            ..
        } = self.http;
        let wait = gate.enter(Instant::now(), *timeout / PATIENCE)?;
        waited.inc_by(wait.as_secs_f64());
        sleep(wait).await;
        gate.is_open(Instant::now())?;
        let response = client.execute(request).await.map_err(|error| HttpError::of_request(&error))?;
        let (status, headers) = (response.status(), response.headers());
        if status.is_redirection() {
            return Err(HttpError::Redirect(status.as_u16()));
        }
        let peace = asked_peace(status, headers, SystemTime::now());
        Ok(Answer {
            status,
            date: date(headers),
            held_back: peace.map(|asked| signed(gate.hold_back(Instant::now(), asked))),
            body: Body::read(response).await?,
            effect,
            secrets: self.secrets.clone(),
        })
    }

    fn request(&self) -> Result<Request, HttpError> {
        let mut request = Request::new(self.method.clone(), self.url.clone()?);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(self.http.authorization.0.clone(), self.http.authorization.1.clone());
        if let Some(body) = &self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone()?.into());
        }
        Ok(request)
    }
}

/// Whether the same read may well succeed a moment later.
fn is_passing(outcome: &Result<Answer, HttpError>) -> bool {
    match outcome {
        Ok(answer) => answer.is_passing(),
        Err(error) => matches!(
            error,
            HttpError::Name | HttpError::Connection | HttpError::ConnectionTimeout | HttpError::Cut
        ),
    }
}

/// The address of that path under the base. An id is one segment, whatever it holds; those that would lead to another path are
/// refused.
fn under(base: &Url, path: &[&str]) -> Result<Url, HttpError> {
    if path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return Err(HttpError::Path);
    }
    let mut url = base.clone();
    let mut segments = url.path_segments_mut().map_err(|()| HttpError::Url)?;
    segments.pop_if_empty().extend(path);
    drop(segments);
    Ok(url)
}

impl From<Closed> for HttpError {
    fn from(Closed(wait): Closed) -> Self {
        Self::HeldBack { retry_after: signed(wait) }
    }
}

/// The same span; one beyond all bounds is the longest there is.
pub fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}
