//! Wavefront's token API.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Behaviour, Now, Operation, Reply, Request};

/// A service account.
pub const ACCOUNT: &str = "sa::ci";
/// Another one.
pub const ANOTHER: &str = "sa::deploy";
/// The user whose credentials these are.
pub const USER: &str = "ops@example.com";
/// A credential that may do anything.
pub const CREDENTIAL: &str = "5d1f30c8-7c47-4f0b-9a0e-3f2c6f1d7b11";
/// One that may not see the tokens of all accounts.
pub const NARROW: &str = "0b7e4c62-91d3-4c6f-8f6e-aa01c53d9e24";
/// One that may only read.
pub const READER: &str = "c2a98f10-3b5e-4d77-b1c4-6e0d2f98a735";

/// How many tokens an account may have.
pub const QUOTA: usize = 20;

/// The vendor.
#[derive(Clone)]
pub struct Wavefront {
    /// Whether errors come with the HTTP status 200.
    pub errors_in_success: bool,
    /// Whether somebody else makes a token together with each that is made.
    pub race: Option<Race>,
    /// The service accounts that there are.
    pub accounts: Vec<String>,
    /// Service accounts that are deactivated.
    pub inactive: Vec<String>,
    now: Now,
    tokens: Vec<Token>,
    made: u64,
}

/// Somebody else's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    /// Whether it is made first.
    pub first: bool,
    /// Its name.
    pub name: Option<&'static str>,
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its value, which is its id too.
    pub value: String,
    /// Its name.
    pub name: Option<String>,
    /// Owning account.
    pub account: String,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// A refusal: a status, and what is said of it.
type Refused = (u16, String);

impl Wavefront {
    /// One with no tokens but the credentials.
    pub fn new(now: Now) -> Self {
        let mut vendor = Self {
            errors_in_success: false,
            race: None,
            accounts: [ACCOUNT, ANOTHER].map(str::to_owned).to_vec(),
            inactive: Vec::new(),
            now,
            tokens: Vec::new(),
            made: 0,
        };
        for value in [CREDENTIAL, NARROW, READER] {
            let token = vendor.token(value.to_owned(), USER, Some("a credential".to_owned()));
            vendor.tokens.push(token);
        }
        vendor
    }

    /// All tokens but the credentials.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        let credentials = [CREDENTIAL, NARROW, READER];
        self.tokens.iter().filter(move |token| !credentials.contains(&token.value.as_str()))
    }

    /// Whether it has that token.
    pub fn has(&self, value: &str) -> bool {
        self.tokens.iter().any(|token| token.value == value)
    }

    /// Changes a token as somebody else would.
    pub fn token_mut(&mut self, value: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.value == value).unwrap()
    }

    /// Somebody else makes a token. Gives its value.
    pub fn plant(&mut self, account: &str, name: Option<&str>) -> String {
        self.made += 1;
        let digest: String = Sha256::digest(self.made.to_be_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let parts = [&digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..32]];
        let token = self.token(parts.join("-"), account, name.map(str::to_owned));
        self.tokens.push(token.clone());
        token.value
    }

    /// The credential counts no more, but those tokens that it made.
    pub fn retire(&mut self) {
        self.tokens.retain(|token| token.value != CREDENTIAL);
    }

    /// Somebody removes the token with that value.
    pub fn remove(&mut self, value: &str) {
        self.tokens.retain(|token| token.value != value);
    }

    /// Fills an account.
    pub fn fill(&mut self, account: &str) {
        while self.of(account).len() < QUOTA {
            self.plant(account, Some("somebody else's"));
        }
    }

    fn token(&self, value: String, account: &str, name: Option<String>) -> Token {
        Token {
            value,
            name,
            account: account.to_owned(),
            last_used_at: None,
            created_at: self.now(),
        }
    }

    fn of(&self, account: &str) -> Vec<&Token> {
        self.tokens.iter().filter(|token| token.account == account).collect()
    }

    /// The credential, where it may do that.
    fn authorize(&self, operation: &str, request: &Request) -> Result<(), Refused> {
        let Some(credential) = request.credential() else {
            return Err((401, "no token".to_owned()));
        };
        if !self.tokens.iter().any(|token| token.value == credential) {
            return Err((401, format!("{credential} is no token")));
        }
        let may = match credential {
            NARROW => !matches!(operation, "list_all" | "revoke"),
            READER => matches!(operation, "list_all" | "list"),
            _ => true,
        };
        may.then_some(()).ok_or_else(|| (403, format!("{credential} lacks a permission")))
    }

    /// The account that a path names. The vendor makes its name lower case.
    fn account(&self, named: Option<&str>) -> Result<String, Refused> {
        let Some(named) = named else {
            return Ok(USER.to_owned());
        };
        let account = named.to_lowercase();
        let known = self.accounts.contains(&account);
        known
            .then_some(account)
            .ok_or_else(|| (404, format!("there is no account {named}")))
    }

    fn create(&mut self, named: Option<&str>, request: &Request) -> Result<Value, Refused> {
        let account = self.account(named)?;
        let name = match named {
            None if request.body.is_empty() => None,
            None => return Err((400, "a body is not expected".to_owned())),
            Some(_) => Some(texts(request, ["tokenName"])?.remove(0)),
        };
        let theirs = self.race;
        if let Some(Race { first: true, name }) = theirs {
            self.plant(&account, name);
        }
        let known: Vec<&str> = self.of(&account).iter().map(|token| token.value.as_str()).collect();
        if known.len() >= QUOTA {
            return Err((400, format!("too many tokens: {}", known.join(", "))));
        }
        self.plant(&account, name.as_deref());
        if let Some(Race { first: false, name }) = theirs {
            self.plant(&account, name);
        }
        self.list(&account)
    }

    fn list(&self, account: &str) -> Result<Value, Refused> {
        Ok(self.of(account).into_iter().map(|token| self.shown(token)).collect())
    }

    fn find(&mut self, account: &str, value: &str) -> Result<&mut Token, Refused> {
        let mut tokens = self.tokens.iter_mut();
        let found = tokens.find(|token| token.account == account && token.value == value);
        found.ok_or_else(|| (404, format!("{account} has no token {value}")))
    }

    fn rename(&mut self, named: Option<&str>, value: &str, request: &Request) -> Result<Value, Refused> {
        let account = self.account(named)?;
        let [id, name] = texts(request, ["tokenID", "tokenName"])?.try_into().unwrap();
        if id != value {
            return Err((400, format!("{id} is not {value}")));
        }
        self.find(&account, value)?.name = Some(name);
        let renamed = self.find(&account, value)?.clone();
        Ok(self.shown(&renamed))
    }

    fn delete(&mut self, named: Option<&str>, value: &str) -> Result<Value, Refused> {
        let account = self.account(named)?;
        self.find(&account, value)?;
        self.tokens.retain(|token| token.value != value);
        self.list(&account)
    }

    fn revoke(&mut self, request: &Request) -> Result<Value, Refused> {
        let value = texts(request, ["tokenID"])?.remove(0);
        let at = self.tokens.iter().position(|token| token.value == value);
        let token = self.tokens.remove(at.ok_or_else(|| (404, format!("there is no token {value}")))?);
        Ok(self.shown(&token))
    }

    fn kind(&self, account: &str) -> &'static str {
        match account {
            USER => "USER_ACCOUNT",
            account if self.inactive.iter().any(|inactive| inactive == account) => "INACTIVE_SERVICE_ACCOUNT",
            _ => "SERVICE_ACCOUNT",
        }
    }

    /// A token as its account shows it.
    fn shown(&self, token: &Token) -> Value {
        let mut shown = json!({
            "tokenID": token.value,
            "account": token.account,
            "accountType": self.kind(&token.account),
            "dateGenerated": token.created_at.as_millisecond(),
            "lastUsed": token.last_used_at.map_or(0, |at| at.as_millisecond()),
        });
        if let Some(name) = &token.name {
            shown["tokenName"] = json!(name);
        }
        shown
    }

    /// A token as the customer's list shows it.
    fn model(&self, token: &Token) -> Value {
        let created = token.created_at.as_millisecond();
        json!({
            "id": token.value,
            "name": token.name,
            "account": token.account,
            "accountType": self.kind(&token.account),
            "customer": "example",
            "createdEpochMillis": created,
            "dateGenerated": created,
            "lastUsed": token.last_used_at.map_or(0, |at| at.as_millisecond()),
        })
    }

    fn act(&mut self, operation: &str, request: &Request) -> Result<Value, Refused> {
        self.authorize(operation, request)?;
        let parts = request.parts();
        let (named, value) = match &parts[3..] {
            ["customertokens", ..] | [] => (None, None),
            ["serviceaccount", account] => (Some(*account), None),
            ["serviceaccount", account, value] => (Some(*account), Some(*value)),
            [value, ..] => (None, Some(*value)),
        };
        match (operation, value) {
            ("list_all", _) => Ok(self.tokens.iter().map(|token| self.model(token)).collect()),
            ("revoke", _) => self.revoke(request),
            ("list", _) => self.list(&self.account(named)?),
            ("create", _) => self.create(named, request),
            ("update", Some(value)) => self.rename(named, value, request),
            ("delete", Some(value)) => self.delete(named, value),
            _ => Err((405, "there is no such method".to_owned())),
        }
    }
}

impl Behaviour for Wavefront {
    fn operation(&self, request: &Request) -> Option<Operation> {
        let parts = request.parts();
        let within = parts.strip_prefix(&["api", "v2", "apitoken"])?;
        let (name, template) = match (request.method.as_str(), within) {
            ("GET", ["customertokens"]) => ("list_all", "/api/v2/apitoken/customertokens"),
            ("PUT", ["customertokens", "revoke"]) => ("revoke", "/api/v2/apitoken/customertokens/revoke"),
            ("GET", []) => ("list", "/api/v2/apitoken"),
            ("POST", []) => ("create", "/api/v2/apitoken"),
            ("PUT", [_]) => ("update", "/api/v2/apitoken/{id}"),
            ("DELETE", [_]) => ("delete", "/api/v2/apitoken/{id}"),
            ("GET", ["serviceaccount", _]) => ("list", "/api/v2/apitoken/serviceaccount/{id}"),
            ("POST", ["serviceaccount", _]) => ("create", "/api/v2/apitoken/serviceaccount/{id}"),
            ("PUT", ["serviceaccount", _, _]) => ("update", "/api/v2/apitoken/serviceaccount/{id}/{token}"),
            ("DELETE", ["serviceaccount", _, _]) => ("delete", "/api/v2/apitoken/serviceaccount/{id}/{token}"),
            _ => return None,
        };
        Some(Operation {
            name,
            template,
            document: None,
        })
    }

    fn answer(&mut self, operation: &'static str, request: &Request) -> Reply {
        match self.act(operation, request) {
            Ok(response) => enveloped(200, &json!({ "result": "OK", "message": "", "code": 200 }), Some(response)),
            Err((code, message)) => {
                let status = if self.errors_in_success { 200 } else { code };
                enveloped(status, &json!({ "result": "ERROR", "message": message, "code": code }), None)
            }
        }
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// What stands behind the account is a value.
    fn shown(&self, request: &Request) -> String {
        let parts = request.parts();
        let template = self.operation(request).map(|operation| operation.template).unwrap_or_default();
        let account = parts.get(4).filter(|_| template.contains("serviceaccount")).unwrap_or(&"");
        format!(
            "{} {}",
            request.method,
            template.replace("serviceaccount/{id}", &format!("serviceaccount/{account}"))
        )
    }
}

fn enveloped(status: u16, said: &Value, response: Option<Value>) -> Reply {
    let mut body = json!({ "status": said });
    if let Some(response) = response {
        body["response"] = response;
    }
    Reply::json(status, &body)
}

/// The texts of the body: JSON that says so, with these fields and no others, none of them empty.
fn texts<const N: usize>(request: &Request, fields: [&str; N]) -> Result<Vec<String>, Refused> {
    let Some(Value::Object(body)) = request.json() else {
        return Err((400, "the body is no JSON object".to_owned()));
    };
    let body: Map<String, Value> = body;
    let found = fields.iter().filter_map(|field| body.get(*field)?.as_str());
    let found: Vec<String> = found.filter(|text| !text.is_empty()).map(str::to_owned).collect();
    if found.len() < N || body.len() > N {
        return Err((400, format!("the body must have {fields:?}, and no more")));
    }
    Ok(found)
}
