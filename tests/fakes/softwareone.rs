//! The API tokens of the SoftwareOne Marketplace.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Behaviour, Now, Operation, Reply, Request};

/// The account.
pub const ACCOUNT: &str = "ACC-1234-5678";
/// Another one that the credential shows.
pub const OTHER_ACCOUNT: &str = "ACC-8765-4321";
/// A module that tokens can have.
pub const MODULE: &str = "MOD-1234";
/// Another one.
pub const OTHER_MODULE: &str = "MOD-5678";
/// A credential that may do anything.
pub const CREDENTIAL: &str = "idt:TKN-9999-0001:4c9d1fe27ab0835611d2";
/// One that may only read.
pub const READER: &str = "idt:TKN-9999-0002:b07e55c1943fda2806e8";

const DOCUMENT: &str = "softwareone-api-tokens.json";
const LONGEST_NAME: usize = 200;
/// Prime to the number of ids, so that all come and not in their order.
const STRIDE: u64 = 70_368_361;

/// The vendor.
#[derive(Clone)]
pub struct Softwareone {
    /// How many tokens a page has at most.
    pub page: usize,
    /// Whether a list tells how many tokens there are.
    pub counts: bool,
    /// Whether deleted tokens are shown, with their state.
    pub shows_deleted: bool,
    /// Whether it leaves out whose a token is.
    pub hides_account: bool,
    /// The status with which it refuses to bring a token to the state that it has.
    pub already: u16,
    /// The status with which it refuses an account that is not there.
    pub no_account: u16,
    /// Whether it refuses to change any token.
    pub stubborn: bool,
    /// Ids of tokens that somebody else deletes, one after each page of a list.
    pub after_a_page: Vec<String>,
    /// How it writes why it refuses.
    pub style: Style,
    /// Whether the credential counts no more, but those tokens that it made.
    pub retired: bool,
    now: Now,
    tokens: Vec<Token>,
    made: u64,
}

/// How a refusal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As problem details.
    Problem,
    /// With `statusCode` and `message`.
    Message,
    /// As a text.
    Text,
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// Its state.
    pub status: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its icon.
    pub icon: Option<String>,
    /// Its value.
    pub value: String,
    /// Its account.
    pub account: String,
    /// Its modules.
    pub modules: Vec<String>,
    /// When it was used last.
    pub last_access_at: Option<Timestamp>,
    made_at: Timestamp,
}

/// A refusal.
struct Refused {
    status: u16,
    field: Option<&'static str>,
    why: String,
}

impl Softwareone {
    /// One without tokens.
    pub fn new(now: Now) -> Self {
        Self {
            page: 100,
            counts: true,
            shows_deleted: false,
            hides_account: false,
            already: 400,
            no_account: 400,
            stubborn: false,
            after_a_page: Vec::new(),
            style: Style::Problem,
            retired: false,
            now,
            tokens: Vec::new(),
            made: 0,
        }
    }

    /// Its tokens that are not deleted.
    pub fn present(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| token.status != "Deleted")
    }

    /// The token with that id.
    pub fn named(&mut self, id: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.id == id).unwrap()
    }

    /// Somebody else makes a token.
    pub fn plant(&mut self, name: &str) -> &mut Token {
        self.add(ACCOUNT, name)
    }

    /// The credential is among its tokens from now on.
    pub fn show_credential(&mut self) -> String {
        let token = self.plant("the operator's");
        CREDENTIAL.clone_into(&mut token.value);
        token.id.clone()
    }

    fn add(&mut self, account: &str, name: &str) -> &mut Token {
        self.made += 1;
        let number = self.made * STRIDE % 100_000_000;
        let id = format!("TKN-{:04}-{:04}", number / 10_000, number % 10_000);
        let digest = Sha256::digest(self.made.to_be_bytes());
        let opaque: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tokens.push(Token {
            value: format!("idt:{id}:{opaque}"),
            id,
            status: "Active".to_owned(),
            name: name.to_owned(),
            description: None,
            icon: None,
            account: account.to_owned(),
            modules: Vec::new(),
            last_access_at: None,
            made_at: (self.now)(),
        });
        let last = self.tokens.len() - 1;
        &mut self.tokens[last]
    }

    fn create(&mut self, request: &Request) -> Result<Reply, Refused> {
        let body = fields(request, &["account", "name", "description", "icon", "modules"])?;
        let name = name(&body)?.ok_or_else(|| invalid("name", "is required"))?;
        let account = only_id(body.get("account")).ok_or_else(|| invalid("account", "is no account"))?;
        if account != ACCOUNT && account != OTHER_ACCOUNT {
            return Err(Refused {
                status: self.no_account,
                ..invalid("account", "is not there")
            });
        }
        let changes = Changes::of(&body)?;
        let token = self.add(&account, &name);
        changes.apply(token);
        let id = token.id.clone();
        Ok(Reply::json(201, &self.shown(self.find(&id)?, false)))
    }

    fn update(&mut self, id: &str, request: &Request) -> Result<Reply, Refused> {
        let body = fields(request, &["name", "description", "icon", "modules"])?;
        let (name, changes) = (name(&body)?, Changes::of(&body)?);
        let token = self.changeable(id)?;
        if let Some(name) = name {
            token.name = name;
        }
        changes.apply(token);
        Ok(Reply::json(200, &self.shown(self.find(id)?, false)))
    }

    fn switch(&mut self, id: &str, request: &Request, status: &str) -> Result<Reply, Refused> {
        if !request.body.is_empty() {
            return Err(refused(400, "there is a body"));
        }
        let already = self.already;
        let token = self.changeable(id)?;
        if token.status == status {
            return Err(refused(already, &format!("the token is {status} already")));
        }
        status.clone_into(&mut token.status);
        Ok(Reply::json(200, &self.shown(self.find(id)?, false)))
    }

    fn delete(&mut self, id: &str) -> Result<Reply, Refused> {
        "Deleted".clone_into(&mut self.changeable(id)?.status);
        Ok(Reply::empty(204))
    }

    fn get(&self, id: &str) -> Result<Reply, Refused> {
        let shown = self.tokens.iter().find(|token| token.id == id && self.shows(token));
        let token = shown.ok_or_else(|| refused(404, "there is no such token"))?;
        Ok(Reply::json(200, &self.shown(token, false)))
    }

    /// A query of RQL, of which only this much is known.
    fn list(&self, request: &Request) -> Result<Reply, Refused> {
        let known = ["limit", "offset", "order", "select"];
        let names: BTreeSet<&str> = request.query.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() != request.query.len() || names.iter().any(|name| !known.contains(name)) {
            return Err(refused(400, "the query has an unknown expression"));
        }
        let number = |name, default| match request.parameter(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(refused(400, "limit and offset are numbers")),
        };
        let (limit, offset): (usize, usize) = (number("limit", 1000)?, number("offset", 0)?);
        let mut tokens: Vec<&Token> = self.tokens.iter().filter(|token| self.shows(token)).collect();
        match request.parameter("order") {
            Some("id") => tokens.sort_by(|one, other| one.id.cmp(&other.id)),
            None => {}
            Some(_) => return Err(refused(400, "the order has an unknown field")),
        }
        let with_audit = match request.parameter("select") {
            None => false,
            Some("+audit") => true,
            Some(_) => return Err(refused(400, "the selection has an unknown field")),
        };
        let limit = limit.min(self.page);
        let page = tokens.iter().skip(offset).take(limit);
        let mut pagination = json!({ "offset": offset, "limit": limit });
        if self.counts {
            pagination["total"] = json!(tokens.len());
        }
        let data: Vec<Value> = page.map(|token| self.shown(token, with_audit)).collect();
        Ok(Reply::json(200, &json!({ "$meta": { "pagination": pagination }, "data": data })))
    }

    fn shows(&self, token: &Token) -> bool {
        self.shows_deleted || token.status != "Deleted"
    }

    fn find(&self, id: &str) -> Result<&Token, Refused> {
        let found = self.tokens.iter().find(|token| token.id == id && token.status != "Deleted");
        found.ok_or_else(|| refused(404, "there is no such token"))
    }

    fn changeable(&mut self, id: &str) -> Result<&mut Token, Refused> {
        if self.stubborn {
            return Err(refused(400, "the token stays as it is"));
        }
        let found = self.tokens.iter_mut().find(|token| token.id == id && token.status != "Deleted");
        found.ok_or_else(|| refused(404, "there is no such token"))
    }

    /// What is not there is absent.
    fn shown(&self, token: &Token, with_audit: bool) -> Value {
        let module = |id: &String| json!({ "id": id, "name": "Example" });
        let mut shown = json!({
            "id": token.id,
            "status": token.status,
            "name": token.name,
            "token": token.value,
            "modules": token.modules.iter().map(module).collect::<Vec<_>>(),
        });
        let last_access_at = token.last_access_at.map(|at| at.to_string());
        let optional = [
            ("description", &token.description),
            ("icon", &token.icon),
            ("lastAccessAt", &last_access_at),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                shown[name] = json!(value);
            }
        }
        if !self.hides_account {
            shown["account"] = json!({ "id": token.account, "name": "Example", "type": "Vendor", "status": "Active" });
        }
        if with_audit {
            let by = json!({ "id": "USR-1234-5678", "name": "Ops" });
            shown["audit"] = json!({ "created": { "at": token.made_at.to_string(), "by": by } });
        }
        shown
    }

    fn authorize(&self, request: &Request) -> Result<(), Refused> {
        let works = |value: &str| self.present().any(|token| token.status == "Active" && token.value == value);
        match request.credential() {
            Some(CREDENTIAL) if !self.retired => Ok(()),
            Some(READER) if request.method == "GET" => Ok(()),
            Some(READER) => Err(refused(403, "the token lacks a module")),
            Some(value) if works(value) => Ok(()),
            _ => Err(refused(401, "who are you")),
        }
    }

    fn act(&mut self, operation: &str, request: &Request) -> Result<Reply, Refused> {
        self.authorize(request)?;
        let parts = request.parts();
        match (operation, parts.get(4).copied().unwrap_or_default()) {
            ("list", _) => {
                let reply = self.list(request);
                if let Some(removed) = self.after_a_page.pop() {
                    "Deleted".clone_into(&mut self.named(&removed).status);
                }
                reply
            }
            ("create", _) => self.create(request),
            ("get", id) => self.get(id),
            ("update", id) => self.update(id, request),
            ("suspend", id) => self.switch(id, request, "Disabled"),
            ("activate", id) => self.switch(id, request, "Active"),
            ("delete", id) => self.delete(id),
            _ => Err(refused(404, "there is nothing")),
        }
    }

    fn written(&self, refused: Refused) -> Reply {
        let Refused { status, field, why } = refused;
        match (self.style, field) {
            (Style::Problem, None) => problem(json!({ "title": "Refused", "status": status, "detail": why })),
            (Style::Problem, Some(field)) => problem(json!({ "title": "Refused", "status": status, "errors": { field: [why] } })),
            (Style::Message, _) => Reply::json(status, &json!({ "statusCode": status, "message": why })),
            (Style::Text, _) => Reply::bytes(status, why),
        }
    }
}

impl Behaviour for Softwareone {
    fn operation(&self, request: &Request) -> Option<Operation> {
        let parts = request.parts();
        let below = parts.strip_prefix(&["public", "v1", "accounts", "api-tokens"])?;
        let (name, template) = match (request.method.as_str(), below) {
            ("GET", []) => ("list", "/public/v1/accounts/api-tokens"),
            ("POST", []) => ("create", "/public/v1/accounts/api-tokens"),
            ("GET", [_]) => ("get", "/public/v1/accounts/api-tokens/{id}"),
            ("PUT", [_]) => ("update", "/public/v1/accounts/api-tokens/{id}"),
            ("DELETE", [_]) => ("delete", "/public/v1/accounts/api-tokens/{id}"),
            ("POST", [_, "disable"]) => ("suspend", "/public/v1/accounts/api-tokens/{id}/disable"),
            ("POST", [_, "enable"]) => ("activate", "/public/v1/accounts/api-tokens/{id}/enable"),
            _ => return None,
        };
        // How a credential is refused does not stand there, and not all refusals are written as it has them.
        let is_documented = self.authorize(request).is_ok() && self.style == Style::Problem;
        Some(Operation {
            name,
            template,
            document: is_documented.then_some(DOCUMENT),
        })
    }

    fn answer(&mut self, operation: &'static str, request: &Request) -> Reply {
        self.act(operation, request).unwrap_or_else(|refused| self.written(refused))
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }
}

/// What a body changes beside the name.
struct Changes {
    description: Option<Option<String>>,
    icon: Option<Option<String>>,
    modules: Option<Vec<String>>,
}

impl Changes {
    fn of(body: &Map<String, Value>) -> Result<Self, Refused> {
        let text = |name| body.get(name).map(|text| text.as_str().map(str::to_owned));
        let modules = body.get("modules").map(modules).transpose()?;
        Ok(Self {
            description: text("description"),
            icon: text("icon"),
            modules,
        })
    }

    fn apply(self, token: &mut Token) {
        token.description = self.description.unwrap_or(token.description.take());
        token.icon = self.icon.unwrap_or(token.icon.take());
        token.modules = self.modules.unwrap_or(std::mem::take(&mut token.modules));
    }
}

/// An empty list is refused.
fn modules(list: &Value) -> Result<Vec<String>, Refused> {
    let ids = list
        .as_array()
        .map(|list| list.iter().map(|module| only_id(Some(module))).collect());
    let known = |id: &String| id == MODULE || id == OTHER_MODULE;
    let modules: Option<Vec<String>> = ids.flatten();
    let usable = modules.filter(|modules| !modules.is_empty() && modules.iter().all(known));
    usable.ok_or_else(|| invalid("modules", "are empty or unknown"))
}

fn name(body: &Map<String, Value>) -> Result<Option<String>, Refused> {
    let Some(name) = body.get("name") else { return Ok(None) };
    let name = name.as_str().unwrap_or_default();
    let allowed = |one: char| one.is_ascii_alphanumeric() || " .'\"-".contains(one);
    let fits = (1..=LONGEST_NAME).contains(&name.chars().count()) && name.chars().all(allowed) && name.trim() == name;
    fits.then(|| Some(name.to_owned()))
        .ok_or_else(|| invalid("name", "has characters or a length that no name has"))
}

/// The id of an object that has nothing else.
fn only_id(object: Option<&Value>) -> Option<String> {
    let object = object?.as_object().filter(|fields| fields.len() == 1)?;
    object.get("id")?.as_str().map(str::to_owned)
}

/// The body: JSON that says so, with no other fields than these.
fn fields(request: &Request, known: &[&str]) -> Result<Map<String, Value>, Refused> {
    let Some(Value::Object(body)) = request.json() else {
        return Err(refused(400, "the body is no JSON object"));
    };
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(refused(400, &format!("{unknown} is unknown"))),
        None => Ok(body),
    }
}

fn refused(status: u16, why: &str) -> Refused {
    Refused {
        status,
        field: None,
        why: why.to_owned(),
    }
}

fn invalid(field: &'static str, why: &str) -> Refused {
    Refused {
        field: Some(field),
        ..refused(400, why)
    }
}

fn problem(mut body: Value) -> Reply {
    body["type"] = json!("https://tools.ietf.org/html/rfc9110");
    body["traceId"] = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00");
    let status = body["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    Reply::bytes(status.unwrap_or(400), body.to_string()).with("content-type", "application/problem+json")
}
