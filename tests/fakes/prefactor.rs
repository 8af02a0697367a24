//! Prefactor's token API. What its documentation leaves open can be set.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Behaviour, Now, Operation, Reply, Request};

/// The account of the credential.
pub const ACCOUNT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// Another account that the credential reaches.
pub const OTHER_ACCOUNT: &str = "1f2e3d4c5b6a79880716253443526170";
/// The one environment, in each account.
pub const ENVIRONMENT: &str = "2233445566778899aabbccddeeff0011";
/// The one agent, in each account.
pub const AGENT: &str = "3a3b3c3d3e3f40414243444546474849";
/// A credential that may do anything.
pub const CREDENTIAL: &str = "eyJhbGciOiJIUzI1NiJ9.operator.7d41aa02";
/// One that may only read.
pub const READER: &str = "eyJhbGciOiJIUzI1NiJ9.reader.91be3f55";

/// When a token ends for which nobody says when.
const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
const LONGEST_KEY: usize = 64;

/// The vendor.
#[derive(Clone)]
pub struct Prefactor {
    /// The status of each error; else one that goes with it.
    pub error_status: Option<u16>,
    /// The most that it lists at once, whatever is asked.
    pub longest_page: usize,
    /// Whether the last page has no `next_page_offset` at all.
    pub ends_without_offset: bool,
    /// Whether the network delivers each change of a state twice, and what it answers to the second is seen.
    pub delivers_twice: bool,
    /// Whether it answers a removal with nothing.
    pub removes_silently: bool,
    /// Whether it tells which agent a token is for.
    pub shows_agents: bool,
    /// Whether it lists the tokens of all accounts, whichever is asked for.
    pub lists_all_accounts: bool,
    /// It asks for fewer calls, with so many milliseconds to wait.
    pub asks_for_peace: Option<u64>,
    /// Tokens that somebody removes once the next page is read.
    pub vanishing: Vec<String>,
    /// How many tokens somebody makes once the next page is read.
    pub appearing: usize,
    /// Whether the credential counts no more, but those tokens that it made.
    pub retired: bool,
    now: Now,
    tokens: Vec<Token>,
    /// The keys that calls came with.
    pub keys: Vec<String>,
    made: u64,
}

/// A token.
#[derive(Clone)]
#[allow(missing_docs, reason = "they are the vendor's words")]
pub struct Token {
    pub id: String,
    pub value: String,
    pub account_id: String,
    pub token_scope: String,
    pub environment_id: Option<String>,
    pub agent_id: Option<String>,
    pub status: String,
    pub expires_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub inserted_at: Timestamp,
    pub created_by_admin_user_id: Option<String>,
}

/// A refusal: code, message, and what is wrong with which field.
struct Refused(&'static str, String, Option<&'static str>);

impl Prefactor {
    /// One without tokens.
    pub fn new(now: Now) -> Self {
        Self {
            error_status: None,
            longest_page: 100,
            ends_without_offset: false,
            delivers_twice: false,
            removes_silently: false,
            shows_agents: false,
            lists_all_accounts: false,
            asks_for_peace: None,
            vanishing: Vec::new(),
            appearing: 0,
            retired: false,
            now,
            tokens: Vec::new(),
            keys: Vec::new(),
            made: 0,
        }
    }

    /// Its tokens that work or are held back.
    pub fn live(&self) -> Vec<&Token> {
        let now = self.now();
        let lives = |token: &&Token| token.status != "revoked" && token.expires_at > now;
        self.tokens.iter().filter(lives).collect()
    }

    /// All of its tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// A token, to be changed as somebody else would.
    pub fn token(&mut self, id: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.id == id).unwrap()
    }

    /// A person makes a token for the whole account.
    pub fn plant(&mut self) -> String {
        let token = self.add(&json!({ "token_scope": "account" }), ACCOUNT.to_owned(), None);
        token.created_by_admin_user_id = Some("90909090909090909090909090909090".to_owned());
        token.id.clone()
    }

    /// The credential is among its tokens from now on.
    pub fn show_credential(&mut self) -> String {
        let id = self.plant();
        CREDENTIAL.clone_into(&mut self.token(&id).value);
        id
    }

    /// Somebody removes a token.
    pub fn remove(&mut self, id: &str) {
        self.tokens.retain(|token| token.id != id);
    }

    fn add(&mut self, details: &Value, account_id: String, expires_at: Option<Timestamp>) -> &mut Token {
        self.made += 1;
        let now = Timestamp::from_second(self.now().as_second()).unwrap();
        let digest: String = Sha256::digest(self.made.to_be_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let field = |name: &str| details[name].as_str().map(str::to_owned);
        self.tokens.push(Token {
            id: digest[..32].to_owned(),
            value: format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", &digest[32..48], &digest[48..]),
            account_id,
            token_scope: field("token_scope").unwrap(),
            environment_id: field("environment_id"),
            agent_id: field("agent_id"),
            status: "active".to_owned(),
            expires_at: expires_at.unwrap_or(now + DEFAULT_LIFETIME),
            last_used_at: None,
            inserted_at: now,
            created_by_admin_user_id: None,
        });
        self.tokens.last_mut().unwrap()
    }

    fn create(&mut self, request: &Request) -> Result<Reply, Refused> {
        let body = fields(request.json(), &["details"])?;
        let known = ["token_scope", "account_id", "environment_id", "agent_id", "expires_at"];
        let details = fields(body.get("details").cloned(), &known)?;
        let needed = match details.get("token_scope").and_then(Value::as_str) {
            Some("account") => None,
            Some("environment") => Some("environment_id"),
            Some("agent_deployment") => Some("agent_id"),
            _ => return Err(invalid("token_scope")),
        };
        if let Some(needed) = needed.filter(|needed| !details.contains_key(*needed)) {
            return Err(invalid(needed));
        }
        let account = account(details.get("account_id").and_then(Value::as_str))?;
        for (name, there) in [("environment_id", ENVIRONMENT), ("agent_id", AGENT)] {
            if details.get(name).is_some_and(|id| id != there) {
                return Err(not_found());
            }
        }
        let end = details.get("expires_at").map(|end| self.end(end)).transpose()?;
        let token = self.add(&Value::Object(details), account.to_owned(), end).clone();
        Ok(Reply::json(
            200,
            &json!({ "status": "success", "details": self.shown(&token), "token": token.value }),
        ))
    }

    /// To the second, and to come.
    fn end(&self, end: &Value) -> Result<Timestamp, Refused> {
        let end: Option<Timestamp> = end.as_str().and_then(|end| end.parse().ok());
        let end = end.filter(|end| *end > self.now() && end.subsec_nanosecond() == 0);
        end.ok_or_else(|| invalid("expires_at"))
    }

    fn list(&mut self, request: &Request) -> Result<Reply, Refused> {
        let known = ["pagination[offset]", "pagination[page_size]", "account_id", "sorting"];
        if request.query.iter().any(|(name, _)| !known.contains(&name.as_str())) || request.parameter("sorting") != Some("-inserted_at") {
            return Err(Refused("bad_request", "the query is not known".to_owned(), None));
        }
        let number = |name: &str| request.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let offset = number("pagination[offset]").ok_or_else(|| invalid("pagination"))?;
        let size = number("pagination[page_size]").filter(|size| (1..=100).contains(size));
        let size = size.ok_or_else(|| invalid("pagination"))?.min(self.longest_page);
        let account = account(request.parameter("account_id"))?;
        let listed = |token: &&Token| self.lists_all_accounts || token.account_id == account;
        let mut tokens: Vec<&Token> = self.tokens.iter().rev().filter(listed).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.inserted_at));
        let summaries: Vec<Value> = tokens.iter().skip(offset).take(size).map(|token| self.shown(token)).collect();
        let mut pagination = json!({ "offset": offset, "page_size": size, "next_page_offset": null });
        if offset + size < tokens.len() {
            pagination["next_page_offset"] = json!(offset + size);
        } else if self.ends_without_offset {
            pagination = json!({ "offset": offset, "page_size": size });
        }
        for id in std::mem::take(&mut self.vanishing) {
            self.remove(&id);
        }
        for _ in 0..std::mem::take(&mut self.appearing) {
            self.plant();
        }
        let body = json!({ "status": "success", "summaries": summaries, "pagination": pagination, "sorting": "-inserted_at" });
        Ok(Reply::json(200, &body))
    }

    fn deliver(&mut self, id: &str, action: &'static str, request: &Request) -> Result<Reply, Refused> {
        if self.delivers_twice {
            self.switch(id, action, request)?;
        }
        self.switch(id, action, request)
    }

    fn switch(&mut self, id: &str, action: &'static str, request: &Request) -> Result<Reply, Refused> {
        let body = fields(request.json(), &["idempotency_key"])?;
        if let Some(key) = body.get("idempotency_key") {
            self.remember(key)?;
        }
        let (allowed, becomes): (&[&str], _) = match action {
            "suspend" => (&["active"], "suspended"),
            "activate" => (&["suspended"], "active"),
            _ => (&["active", "suspended"], "revoked"),
        };
        let now = self.now();
        let token = self.find(id)?;
        let is_over = token.expires_at <= now && action != "revoke";
        if !allowed.contains(&token.status.as_str()) || is_over {
            return Err(wrong_state(action));
        }
        token.status = becomes.to_owned();
        let token = token.clone();
        Ok(Reply::json(200, &json!({ "status": "success", "details": self.shown(&token) })))
    }

    fn remember(&mut self, key: &Value) -> Result<(), Refused> {
        let key = key
            .as_str()
            .filter(|key| key.len() <= LONGEST_KEY)
            .ok_or_else(|| invalid("idempotency_key"))?;
        if self.keys.iter().any(|known| known == key) {
            return Err(Refused("idempotency_key_already_used", "the key was used".to_owned(), None));
        }
        self.keys.push(key.to_owned());
        Ok(())
    }

    fn delete(&mut self, id: &str) -> Result<Reply, Refused> {
        if self.find(id)?.status != "revoked" {
            return Err(wrong_state("delete"));
        }
        self.remove(id);
        Ok(match self.removes_silently {
            true => Reply::empty(204),
            false => Reply::json(200, &json!({ "status": "success" })),
        })
    }

    fn find(&mut self, id: &str) -> Result<&mut Token, Refused> {
        self.tokens.iter_mut().find(|token| token.id == id).ok_or_else(not_found)
    }

    fn shown(&self, token: &Token) -> Value {
        let works = token.expires_at > self.now();
        let mut shown = json!({
            "type": "api_token",
            "id": token.id,
            "account_id": token.account_id,
            "environment_id": token.environment_id,
            "created_by_admin_user_id": token.created_by_admin_user_id,
            "token_scope": token.token_scope,
            "status": token.status,
            "expires_at": token.expires_at.to_string(),
            "last_used_at": token.last_used_at.map(|at| at.to_string()),
            "inserted_at": token.inserted_at.to_string(),
            "updated_at": token.inserted_at.to_string(),
            "available_actions": {
                "activate": token.status == "suspended" && works,
                "delete": token.status == "revoked",
                "revoke": token.status != "revoked",
                "suspend": token.status == "active" && works,
            },
        });
        if self.shows_agents {
            shown["agent_id"] = json!(token.agent_id);
        }
        shown
    }

    fn act(&mut self, operation: &'static str, request: &Request) -> Result<Reply, Refused> {
        let works = |value: &str| self.live().iter().any(|token| token.status == "active" && token.value == value);
        match request.credential() {
            Some(CREDENTIAL) if !self.retired => {}
            Some(value) if works(value) => {}
            Some(READER) if request.method == "GET" => {}
            Some(READER) => return Err(Refused("not_permitted", "you may not change api tokens".to_owned(), None)),
            Some(_) => return Err(Refused("bad_authtoken", "the token is not valid".to_owned(), None)),
            None => return Err(Refused("not_authenticated", "there is no token".to_owned(), None)),
        }
        let parts = request.parts();
        match (operation, parts.get(3)) {
            ("list", _) => self.list(request),
            ("create", _) => self.create(request),
            ("get", Some(id)) => {
                let token = self.find(id)?.clone();
                Ok(Reply::json(200, &json!({ "status": "success", "details": self.shown(&token) })))
            }
            ("delete", Some(id)) => self.delete(id),
            (action, Some(id)) => self.deliver(id, action, request),
            _ => Err(not_found()),
        }
    }

    fn refusal(&self, Refused(code, message, field): Refused) -> Reply {
        let status = self.error_status.unwrap_or(match code {
            "bad_authtoken" | "not_authenticated" => 401,
            "not_permitted" => 403,
            "not_found" => 404,
            "invalid_action" => 409,
            "validation_errors" => 422,
            _ => 400,
        });
        let mut body = json!({ "status": "error", "code": code, "message": message });
        if let Some(field) = field {
            body["errors"] = json!({ field: ["is invalid"] });
        }
        Reply::json(status, &body)
    }
}

impl Behaviour for Prefactor {
    fn operation(&self, request: &Request) -> Option<Operation> {
        let parts = request.parts();
        let name = match (request.method.as_str(), parts.strip_prefix(&["api", "v1", "api_token"])?) {
            ("GET", []) => "list",
            ("POST", []) => "create",
            ("GET", [_]) => "get",
            ("DELETE", [_]) => "delete",
            ("POST", [_, "suspend"]) => "suspend",
            ("POST", [_, "activate"]) => "activate",
            ("POST", [_, "revoke"]) => "revoke",
            _ => return None,
        };
        Some(Operation {
            name,
            template: "",
            document: None,
        })
    }

    fn answer(&mut self, operation: &'static str, request: &Request) -> Reply {
        if let Some(peace) = self.asks_for_peace {
            let body = json!({ "status": "error", "code": "too_many_requests", "message": "slow down", "retry_after_ms": peace });
            return Reply::json(self.error_status.unwrap_or(429), &body);
        }
        self.act(operation, request).unwrap_or_else(|refused| self.refusal(refused))
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }
}

/// The account of the credential where none is asked for.
fn account(asked: Option<&str>) -> Result<&'static str, Refused> {
    match asked {
        None | Some(ACCOUNT) => Ok(ACCOUNT),
        Some(OTHER_ACCOUNT) => Ok(OTHER_ACCOUNT),
        Some(_) => Err(not_found()),
    }
}

/// An object with no other fields than these, and without nulls.
fn fields(body: Option<Value>, known: &[&str]) -> Result<Map<String, Value>, Refused> {
    let Some(Value::Object(body)) = body else {
        return Err(Refused("bad_request", "there is no JSON object".to_owned(), None));
    };
    let odd = body.iter().find(|(name, value)| !known.contains(&name.as_str()) || value.is_null());
    match odd {
        Some((odd, _)) => Err(Refused("bad_request", format!("{odd} is not known, or null"), None)),
        None => Ok(body),
    }
}

fn invalid(field: &'static str) -> Refused {
    Refused("validation_errors", "some fields are not valid".to_owned(), Some(field))
}

fn wrong_state(action: &str) -> Refused {
    Refused("invalid_action", format!("{action} is not available"), None)
}

fn not_found() -> Refused {
    Refused("not_found", "there is no such thing".to_owned(), None)
}
