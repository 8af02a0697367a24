//! What goes over the wire, by the vendor's OpenAPI document; of the answers only what is used.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{issuers::TokenRequest, token_value::TokenValue};

/// What every value begins with.
const VALUE: &str = "idt:";

/// What a token is made of.
#[derive(Serialize)]
pub struct NewToken<'a> {
    /// The account that owns it.
    pub account: Id<'a>,
    /// The rest.
    #[serde(flatten)]
    pub properties: Properties<'a>,
}

/// What can be changed of a token; what is left out stays as it is.
#[derive(Serialize)]
pub struct Properties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    /// Sources differ on whether an empty list is taken, so none is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<Id<'a>>,
}

impl<'a> Properties<'a> {
    /// As the request has them.
    pub fn of(request: &'a TokenRequest) -> Self {
        let parameters = request.parameters.as_ref().and_then(|parameters| parameters.softwareone.as_ref());
        let modules = parameters.into_iter().flat_map(|parameters| &parameters.modules);
        Self {
            name: request.name.as_deref(),
            description: request.description.as_deref(),
            icon: parameters.and_then(|parameters| parameters.icon.as_deref()),
            modules: modules.map(|id| Id { id }).collect(),
        }
    }
}

/// A thing by its id.
#[derive(Serialize)]
pub struct Id<'a> {
    /// The id, such as `ACC-1234-5678`.
    pub id: &'a str,
}

/// Some of the tokens.
#[derive(Deserialize)]
pub struct Page {
    #[serde(rename = "$meta", default)]
    meta: Meta,
    data: Vec<Token>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pagination {
    total: Option<usize>,
}

impl Page {
    /// How many tokens there are on all pages, where it is told.
    pub fn total(&self) -> Option<usize> {
        self.meta.pagination.total
    }

    /// The tokens behind the one with that id, with which the page has to begin; nothing where it does not.
    pub fn behind(self, last: Option<&str>) -> Option<Vec<Token>> {
        let mut tokens = self.data.into_iter();
        let joins = last.is_none_or(|last| tokens.next().is_some_and(|first| first.id == last));
        joins.then(|| tokens.collect())
    }
}

/// A token as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id, such as `TKN-1234-5678`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether it works.
    #[serde(default)]
    pub status: Status,
    token: Option<TokenValue>,
    account: Option<Account>,
    last_access_at: Option<String>,
    audit: Option<Audit>,
}

/// The states of a token. The vendor's document doesn't say which there are, so that others may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Status {
    /// It works.
    Active,
    /// It is held back.
    Disabled,
    /// It is gone, though it may be shown for a while.
    Deleted,
    /// A state that is not known here.
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Account {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Audit {
    created: Option<Event>,
}

#[derive(Deserialize)]
struct Event {
    at: Option<String>,
    by: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    id: Option<String>,
    name: Option<String>,
}

impl Token {
    /// Its value.
    pub fn value(&self) -> Option<&TokenValue> {
        self.token.as_ref().filter(|value| !value.expose().is_empty())
    }

    /// Id of the account that owns it.
    pub fn account(&self) -> Option<&str> {
        self.account.as_ref()?.id.as_deref()
    }

    /// Kind of that account, such as `Vendor`.
    pub fn account_type(&self) -> Option<String> {
        self.account.as_ref()?.kind.clone()
    }

    /// When it was used last.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        time(self.last_access_at.as_deref())
    }

    /// When it was made.
    pub fn created_at(&self) -> Option<Timestamp> {
        time(self.created()?.at.as_deref())
    }

    /// Who made it: a name, or else an id.
    pub fn created_by(&self) -> Option<String> {
        let by = self.created()?.by.as_ref()?;
        by.name.clone().or_else(|| by.id.clone())
    }

    fn created(&self) -> Option<&Event> {
        self.audit.as_ref()?.created.as_ref()
    }
}

/// One time that can't be read must not hide all tokens, so it counts as not told.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// Why a call was refused: problem details (RFC 9457), or what an older part of the vendor's API writes.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    title: Option<String>,
    detail: Option<String>,
    message: Option<String>,
    errors: Errors,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Errors {
    ByField(BTreeMap<String, Messages>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Messages {
    Several(Vec<String>),
    One(String),
    Other(IgnoredAny),
}

impl Default for Errors {
    fn default() -> Self {
        Self::ByField(BTreeMap::new())
    }
}

impl Problem {
    /// What it says, for people: what is wrong with each field where it tells, else the whole.
    pub fn text(self) -> Option<String> {
        let fields = match self.errors {
            Errors::ByField(fields) => fields,
            Errors::Other(_) => BTreeMap::new(),
        };
        let fields: Vec<String> = fields.into_iter().map(|(field, messages)| messages.about(&field)).collect();
        let by_field = (!fields.is_empty()).then(|| fields.join("; "));
        let text = by_field.or(self.detail).or(self.message).or(self.title);
        text.map(|text| without_values(&text))
    }
}

/// A refusal that repeats a value must not show it. Values are known by what they begin with.
fn without_values(text: &str) -> String {
    let words = text.split_whitespace();
    let shown: Vec<&str> = words.map(|word| if word.contains(VALUE) { "[secret]" } else { word }).collect();
    shown.join(" ")
}

impl Messages {
    fn about(self, field: &str) -> String {
        match self {
            Self::Several(messages) => format!("{field}: {}", messages.join(" ")),
            Self::One(message) => format!("{field}: {message}"),
            Self::Other(_) => field.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn token(body: serde_json::Value) -> Token {
        from_value(body).unwrap()
    }

    #[test]
    fn what_is_absent_or_new_does_not_make_a_token_unreadable() {
        let bare = token(json!({ "id": "TKN-1" }));
        assert_eq!((bare.status, bare.account(), bare.created_by()), (Status::Other, None, None));
        assert!(bare.value().is_none());
        let new = token(json!({ "id": "TKN-1", "status": "Frozen", "revision": 3, "extensions": [], "lastAccessAt": "yesterday" }));
        assert_eq!((new.status, new.last_used_at()), (Status::Other, None));
    }

    #[test]
    fn a_token_tells_who_made_it_and_when_it_was_used() {
        let full = token(json!({
            "id": "TKN-1", "status": "Disabled", "token": "idt:TKN-1:x", "lastAccessAt": "2030-01-02T03:04:05.678Z",
            "account": { "id": "ACC-1", "type": "Vendor" },
            "audit": { "created": { "at": "2030-01-01T00:00:00.000Z", "by": { "id": "USR-1", "name": "Jo" } } },
        }));
        assert_eq!(full.status, Status::Disabled);
        assert_eq!(full.value().map(TokenValue::hint).as_deref(), Some("-1:x"));
        assert_eq!((full.account(), full.account_type().as_deref()), (Some("ACC-1"), Some("Vendor")));
        assert_eq!(full.created_at(), "2030-01-01T00:00:00Z".parse().ok());
        assert_eq!(full.last_used_at(), "2030-01-02T03:04:05.678Z".parse().ok());
        assert_eq!(full.created_by().as_deref(), Some("Jo"));
        let by_id = token(json!({ "id": "TKN-1", "audit": { "created": { "by": { "id": "USR-1" } } } }));
        assert_eq!(by_id.created_by().as_deref(), Some("USR-1"));
    }

    #[test]
    fn an_empty_value_is_none() {
        assert!(token(json!({ "id": "TKN-1", "token": "" })).value().is_none());
    }

    #[test]
    fn a_page_joins_the_one_before_only_at_its_last_token() {
        let page = || -> Page { from_value(json!({ "data": [{ "id": "b" }, { "id": "c" }] })).unwrap() };
        let ids = |last| Some(page().behind(last)?.into_iter().map(|token| token.id).collect::<Vec<_>>());
        assert_eq!(ids(None), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(ids(Some("b")), Some(vec!["c".to_owned()]));
        assert_eq!(ids(Some("a")), None);
        let empty: Page = from_value(json!({ "data": [] })).unwrap();
        assert!(empty.behind(Some("c")).is_none(), "the token went meanwhile");
    }

    #[test]
    fn a_refusal_is_told_by_field_or_as_a_whole_in_whatever_shape_it_comes() {
        for (body, text) in [
            (
                json!({ "title": "t", "detail": "d", "errors": { "name": ["is long", "is odd"], "modules": "unknown", "icon": 1 } }),
                Some("icon; modules: unknown; name: is long is odd"),
            ),
            (json!({ "title": "t", "status": 400, "detail": "d", "errors": {} }), Some("d")),
            (json!({ "title": "t", "errors": ["x"] }), Some("t")),
            (json!({ "title": "t", "detail": null, "errors": null }), Some("t")),
            (json!({ "statusCode": 400, "message": "m" }), Some("m")),
            (
                json!({ "detail": "the token 'idt:TKN-1234-5678:0a1b2c' is active" }),
                Some("the token [secret] is active"),
            ),
            (json!({}), None),
        ] {
            let problem: Problem = from_value(body.clone()).unwrap();
            assert_eq!(problem.text().as_deref(), text, "{body}");
        }
    }
}
