//! What comes in, and what goes out.

use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A call.
pub struct Request {
    /// Its method, such as `GET`.
    pub method: String,
    /// The parts of its path, decoded.
    pub segments: Vec<String>,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// A call as it stands on the wire.
    pub fn new(method: &str, uri: &Uri, headers: HeaderMap, body: Vec<u8>) -> Self {
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8().unwrap().into_owned();
        Self {
            method: method.to_owned(),
            segments: uri.path().split('/').skip(1).map(decoded).collect(),
            query: url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            headers,
            body,
        }
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// The parts of its path, to be matched.
    pub fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A parameter of its query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the caller proves itself with, in whichever header.
    pub fn credential(&self) -> Option<&str> {
        let bearer = self.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let own = ["api-token", "x-auth-token"].into_iter().find_map(|name| self.header(name));
        own.or(bearer)
    }

    /// Its body, where it is JSON and says so.
    pub fn json(&self) -> Option<Value> {
        let kind = self.header("content-type")?.split(';').next()?;
        (kind.trim() == "application/json").then(|| serde_json::from_slice(&self.body).ok())?
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, beside those that the frame adds.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// With a JSON text.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string()).with("content-type", "application/json; charset=utf-8")
    }

    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self::bytes(status, "")
    }

    /// With whatever.
    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
