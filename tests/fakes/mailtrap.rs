//! Mailtrap's token API.

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Behaviour, Now, Operation, Reply, Request};

/// The account.
pub const ACCOUNT: &str = "3229";
/// A credential that may do anything.
pub const CREDENTIAL: &str = "9c3f1a52e7d04b68a1c5";
/// One that may only read.
pub const READER: &str = "5a0e7742b19f4c3d8e66";

/// How long a token works on that was reset.
const GRACE: SignedDuration = SignedDuration::from_hours(12);
/// When a token ends for which nobody says when.
const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
const LONGEST_NAME: usize = 255;

/// The vendor.
#[derive(Clone)]
pub struct Mailtrap {
    /// Whether a token that has an end can be reset; the vendor's texts say no.
    pub resets_what_expires: bool,
    /// The status with which it refuses to delete a token that is the last of its domain.
    pub keeps_last: Option<u16>,
    /// Whether the credential counts no more, but those tokens that it made.
    pub retired: bool,
    now: Now,
    tokens: Vec<Token>,
    last_id: i64,
}

/// A token.
#[derive(Clone)]
pub struct Token {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What it may do, as it was asked for.
    pub resources: Vec<Value>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    was_reset: bool,
}

/// A refusal.
type Refused = Reply;

impl Mailtrap {
    /// One without tokens.
    pub fn new(now: Now) -> Self {
        Self {
            resets_what_expires: false,
            keeps_last: None,
            retired: false,
            now,
            tokens: Vec::new(),
            last_id: 4000,
        }
    }

    /// Its tokens that work.
    pub fn live(&self) -> Vec<&Token> {
        let now = self.now();
        self.tokens
            .iter()
            .filter(|token| token.expires_at.is_none_or(|end| end > now))
            .collect()
    }

    /// All of its tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Somebody else makes a token.
    pub fn plant(&mut self, name: &str) -> i64 {
        let resources = vec![json!({ "resource_type": "account", "resource_id": 3229, "access_level": 10 })];
        self.add(name.to_owned(), resources, None).id
    }

    /// The credential is among its tokens from now on.
    pub fn show_credential(&mut self) -> i64 {
        let id = self.plant("the operator's");
        CREDENTIAL.clone_into(&mut self.tokens.last_mut().unwrap().value);
        id
    }

    /// Somebody removes a token.
    pub fn remove(&mut self, id: &str) {
        self.tokens.retain(|token| token.id.to_string() != id);
    }

    fn add(&mut self, name: String, resources: Vec<Value>, expires_at: Option<Timestamp>) -> &Token {
        self.last_id += 1;
        let digest = Sha256::digest(self.last_id.to_be_bytes());
        let token = Token {
            id: self.last_id,
            name,
            value: digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
            resources,
            expires_at,
            was_reset: false,
        };
        self.tokens.push(token);
        &self.tokens[self.tokens.len() - 1]
    }

    fn create(&mut self, request: &Request) -> Result<Reply, Refused> {
        let body = fields(request, &["name", "resources", "expires_at"])?;
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || name.chars().count() > LONGEST_NAME {
            return Err(unprocessable("name", "can't be blank"));
        }
        let resources = body.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
        if resources.is_empty() {
            return Err(unprocessable("base", "You must select at least one permission"));
        }
        let short = is_short(request);
        if let Some(odd) = resources.iter().find(|resource| !is_resource(resource, short)) {
            return Err(unprocessable("resources", &format!("{odd} is invalid")));
        }
        let expires_at = self.end(&body)?;
        let token = self.add(name.to_owned(), resources, expires_at);
        Ok(Reply::json(200, &with_value(token)))
    }

    /// The new token has the name of the old one, with its own id behind it.
    fn reset(&mut self, id: &str, request: &Request) -> Result<Reply, Refused> {
        let body = match request.body.is_empty() {
            true => Map::new(),
            false => fields(request, &["expires_at"])?,
        };
        let expires_at = self.end(&body)?;
        let (now, resets_what_expires) = (self.now(), self.resets_what_expires);
        let old = self.find(id)?;
        if old.was_reset || (old.expires_at.is_some() && !resets_what_expires) {
            return Err(unprocessable("base", "Token has already been reset"));
        }
        (old.was_reset, old.expires_at) = (true, Some(now + GRACE));
        let (name, resources) = (old.name.clone(), old.resources.clone());
        let name = format!("{name} {}", self.last_id + 1);
        let new = self.add(name, resources, expires_at);
        Ok(Reply::json(200, &with_value(new)))
    }

    fn delete(&mut self, id: &str) -> Result<Reply, Refused> {
        let id = self.find(id)?.id;
        match self.keeps_last {
            Some(403) => return Err(Reply::json(403, &json!({ "errors": "Access forbidden" }))),
            Some(_) => return Err(unprocessable("base", "Token can't be deleted")),
            None => self.tokens.retain(|token| token.id != id),
        }
        Ok(Reply::empty(204))
    }

    fn find(&mut self, id: &str) -> Result<&mut Token, Refused> {
        let found = self.tokens.iter_mut().find(|token| token.id.to_string() == id);
        found.ok_or_else(not_found)
    }

    /// Absent: as the server has it; null: never; else a time that is to come, at most five years ahead.
    fn end(&self, body: &Map<String, Value>) -> Result<Option<Timestamp>, Refused> {
        let now = self.now();
        match body.get("expires_at") {
            None => Ok(Some(now + DEFAULT_LIFETIME)),
            Some(Value::Null) => Ok(None),
            Some(end) => {
                let end: Option<Timestamp> = end.as_str().and_then(|end| end.parse().ok());
                let latest = now.to_zoned(TimeZone::UTC) + 5.years();
                let end = end.filter(|end| *end > now && *end <= latest.timestamp());
                end.map(Some).ok_or_else(|| unprocessable("expires_at", "is invalid"))
            }
        }
    }

    fn authorize(&self, operation: &str, request: &Request) -> Result<(), Refused> {
        let known = match request.credential() {
            Some(CREDENTIAL) if !self.retired => return Ok(()),
            Some(value) if self.live().iter().any(|token| token.value == value) => return Ok(()),
            Some(READER) => matches!(operation, "list" | "get"),
            _ => return Err(Reply::json(401, &json!({ "error": "Incorrect API token" }))),
        };
        known
            .then_some(())
            .ok_or_else(|| Reply::json(403, &json!({ "errors": "Access forbidden" })))
    }

    fn act(&mut self, operation: &str, request: &Request) -> Result<Reply, Refused> {
        self.authorize(operation, request)?;
        let parts = request.parts();
        let within = match parts.as_slice() {
            ["api", "accounts", ACCOUNT, within @ ..] | ["api", within @ ..] if within.first() == Some(&"api_tokens") => &within[1..],
            _ => return Err(not_found()),
        };
        match (operation, within) {
            ("list", _) => Ok(Reply::json(200, &self.tokens.iter().map(shown).collect())),
            ("create", _) => self.create(request),
            ("reset", [id, ..]) => self.reset(id, request),
            ("delete", [id]) => self.delete(id),
            ("get", [id]) => Ok(Reply::json(200, &shown(self.find(id)?))),
            _ => Err(not_found()),
        }
    }
}

impl Behaviour for Mailtrap {
    fn operation(&self, request: &Request) -> Option<Operation> {
        let parts = request.parts();
        let (method, short) = (request.method.as_str(), is_short(request));
        let within = parts.strip_prefix(&["api"])?;
        let within = if short {
            within
        } else {
            within.strip_prefix(&["accounts"])?.get(1..)?
        };
        let (name, long_template, short_template) = match (method, within) {
            ("GET", ["api_tokens"]) => ("list", "/api/accounts/{account_id}/api_tokens", "/api/api_tokens"),
            ("POST", ["api_tokens"]) => ("create", "/api/accounts/{account_id}/api_tokens", "/api/api_tokens"),
            ("GET", ["api_tokens", _]) => ("get", "/api/accounts/{account_id}/api_tokens/{id}", "/api/api_tokens/{id}"),
            ("DELETE", ["api_tokens", _]) => ("delete", "/api/accounts/{account_id}/api_tokens/{id}", "/api/api_tokens/{id}"),
            ("POST", ["api_tokens", _, "reset"]) => (
                "reset",
                "/api/accounts/{account_id}/api_tokens/{id}/reset",
                "/api/api_tokens/{id}/reset",
            ),
            _ => return None,
        };
        let (template, document) = match short {
            true => (short_template, "mailtrap.yaml"),
            false => (long_template, "mailtrap-with-account-id.yaml"),
        };
        Some(Operation {
            name,
            template,
            document: Some(document),
        })
    }

    fn answer(&mut self, operation: &'static str, request: &Request) -> Reply {
        self.act(operation, request).unwrap_or_else(|refused| refused)
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }
}

fn is_short(request: &Request) -> bool {
    request.segments.get(1).is_some_and(|segment| segment == "api_tokens")
}

/// The body: JSON that says so, with no other fields than these.
fn fields(request: &Request, known: &[&str]) -> Result<Map<String, Value>, Refused> {
    let Some(Value::Object(body)) = request.json() else {
        return Err(unprocessable("base", "the body is no JSON object"));
    };
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(unprocessable(unknown, "is unknown")),
        None => Ok(body),
    }
}

/// The two kinds of paths have words of their own.
fn is_resource(resource: &Value, short: bool) -> bool {
    let words = if short {
        ["sandbox", "domain"]
    } else {
        ["inbox", "sending_domain"]
    };
    let kind = resource["resource_type"].as_str().unwrap_or_default();
    let known = kind == "account" || kind == "project" || words.contains(&kind);
    let level = [json!(10), json!(100)].contains(&resource["access_level"]);
    known && level && resource["resource_id"].is_i64() && resource.as_object().is_some_and(|fields| fields.len() == 3)
}

/// It gives the resources back in an order of its own.
fn shown(token: &Token) -> Value {
    let resources: Vec<&Value> = token.resources.iter().rev().collect();
    json!({
        "id": token.id,
        "name": token.name,
        "last_4_digits": token.value[token.value.len() - 4..],
        "created_by": "ops@example.com",
        "expires_at": token.expires_at.map(|end| end.to_string()),
        "resources": resources,
    })
}

fn with_value(token: &Token) -> Value {
    let mut shown = shown(token);
    shown["token"] = json!(token.value);
    shown
}

fn unprocessable(field: &str, why: &str) -> Refused {
    Reply::json(422, &json!({ "errors": { field: [why] } }))
}

fn not_found() -> Refused {
    Reply::json(404, &json!({ "error": "Not Found" }))
}
