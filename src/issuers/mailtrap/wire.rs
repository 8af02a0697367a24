//! What Mailtrap is sent, and what it answers.
//!
//! Source: the vendor's OpenAPI documents of its token API, and its documentation of `expires_at`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    api::api_token::{MailtrapAccessLevel, MailtrapResource, MailtrapResourceType},
    issuers::{IssuerError, http::Answer},
    token_value::TokenValue,
};

/// Both kinds of paths do the same, with other words for resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of `/api/accounts/<id>/api_tokens`.
    Long,
    /// Those of `/api/api_tokens`.
    Short,
}

/// A token to be made. `expires_at` is always sent: where it is absent the server chooses an end of its own.
#[derive(Serialize)]
pub struct NewToken<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it may reach.
    pub resources: Vec<Resource>,
    /// Its end; null for none.
    pub expires_at: Option<Timestamp>,
}

/// What a token that is reset is to become.
#[derive(Serialize)]
pub struct Reset {
    /// Its end; null for none.
    pub expires_at: Option<Timestamp>,
}

/// What a token may do with a resource.
#[derive(Serialize)]
pub struct Resource {
    resource_type: &'static str,
    resource_id: i64,
    #[serde(serialize_with = "as_number")]
    access_level: MailtrapAccessLevel,
}

/// A token. What a vendor adds, and what nobody here needs, is left out.
#[derive(Deserialize)]
pub struct Token {
    /// Its id.
    pub id: i64,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its end, if it has one.
    #[serde(default)]
    expires_at: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub created_by: Option<String>,
    /// How its value ends.
    #[serde(default)]
    pub last_4_digits: Option<String>,
    /// Its value, shown once when it is made.
    #[serde(default)]
    pub token: Option<TokenValue>,
}

impl Token {
    /// Its end. A text that is no time must not cost the value beside it.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.as_ref()?.parse().ok()
    }
}

impl Resource {
    /// A declared resource in the words of those paths.
    ///
    /// # Errors
    /// Where its id is not a number that Mailtrap can have.
    pub fn new(declared: &MailtrapResource, words: Words) -> Result<Self, IssuerError> {
        let resource_id = declared.resource_id.parse();
        let too_large = |_| IssuerError::Refused(format!("there is no resource {}", declared.resource_id));
        Ok(Self {
            resource_type: match (declared.resource_type, words) {
                (MailtrapResourceType::Account, _) => "account",
                (MailtrapResourceType::Project, _) => "project",
                (MailtrapResourceType::Sandbox, Words::Long) => "inbox",
                (MailtrapResourceType::Sandbox, Words::Short) => "sandbox",
                (MailtrapResourceType::Domain, Words::Long) => "sending_domain",
                (MailtrapResourceType::Domain, Words::Short) => "domain",
            },
            resource_id: resource_id.map_err(too_large)?,
            access_level: declared.access_level,
        })
    }
}

fn as_number<S: Serializer>(level: &MailtrapAccessLevel, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(match level {
        MailtrapAccessLevel::Viewer => 10,
        MailtrapAccessLevel::Admin => 100,
    })
}

/// What a refusal says: `error`, or `errors` with a text or with lists of texts by field.
pub fn message(answer: &Answer) -> Option<String> {
    let body: Value = answer.json().ok()?;
    match body.get("errors").or_else(|| body.get("error"))? {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => Some(
            fields
                .iter()
                .map(|(field, texts)| told(field, texts))
                .collect::<Vec<_>>()
                .join("; "),
        ),
        _ => None,
    }
}

/// `base` stands for the whole of what was asked.
fn told(field: &str, texts: &Value) -> String {
    let texts: Vec<&str> = texts.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match field {
        "base" => texts.join(", "),
        field => format!("{field} {}", texts.join(", ")),
    }
}
