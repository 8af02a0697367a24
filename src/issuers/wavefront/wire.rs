//! What goes over the wire to and from Wavefront.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{issuers::ListedState, token_value::TokenValue};

/// How many hex digits of a value's hash make our id of it.
const ID_DIGITS: usize = 16;
/// Kind of an account that was deactivated: none of its tokens works.
const INACTIVE: &str = "INACTIVE_SERVICE_ACCOUNT";

/// What every answer is wrapped in.
#[derive(Deserialize)]
pub struct Envelope<T> {
    /// How it went.
    pub status: Status,
    /// What was asked for.
    pub response: Option<T>,
}

/// How a call went: an error may come with the HTTP status 200. The vendor's own words are left out, since they may repeat a value.
#[derive(Deserialize)]
pub struct Status {
    result: String,
    code: Option<i64>,
}

impl Status {
    /// Whether it was done.
    pub fn is_ok(&self) -> bool {
        self.result == "OK"
    }

    /// What it means as a status of HTTP, where it is one of an error.
    pub fn code(&self) -> Option<u16> {
        let code = u16::try_from(self.code?).ok();
        code.filter(|code| (400..600).contains(code))
    }
}

/// A token, as its account shows it (UserApiToken) or as the customer's list does (ApiTokenModel). Its id is its value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The value.
    #[serde(rename = "tokenID", alias = "id")]
    pub value: TokenValue,
    #[serde(rename = "tokenName", alias = "name")]
    name: Option<String>,
    /// Owning account.
    pub account: Option<String>,
    /// Kind of that account; new kinds come up.
    pub account_type: Option<String>,
    date_generated: Option<i64>,
    created_epoch_millis: Option<i64>,
    last_used: Option<i64>,
}

impl Token {
    /// Our id of it: what may be shown of a value.
    pub fn id(&self) -> String {
        let digits: String = self.value.hash().chars().take(ID_DIGITS).collect();
        format!("sha256:{digits}")
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }

    /// When it was made.
    pub fn created_at(&self) -> Option<Timestamp> {
        time(self.date_generated).or_else(|| time(self.created_epoch_millis))
    }

    /// When it was last used, if ever.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        time(self.last_used)
    }

    /// Whether it works.
    pub fn state(&self) -> ListedState {
        if self.account_type.as_deref() == Some(INACTIVE) {
            ListedState::Suspended
        } else {
            ListedState::Active
        }
    }
}

/// A time in milliseconds, to the second. Zero stands for none.
fn time(milliseconds: Option<i64>) -> Option<Timestamp> {
    let milliseconds = milliseconds.filter(|milliseconds| *milliseconds > 0)?;
    Timestamp::from_second(milliseconds / 1000).ok()
}

/// A token of a service account that is to be made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken<'a> {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_name: Option<&'a str>,
}

/// A token that gets a name.
#[derive(Serialize)]
pub struct Rename<'a> {
    /// Its value.
    #[serde(rename = "tokenID")]
    pub value: &'a str,
    /// The name.
    #[serde(rename = "tokenName")]
    pub name: &'a str,
}

/// A token that is to be ended.
#[derive(Serialize)]
pub struct Revocation<'a> {
    /// Its value.
    #[serde(rename = "tokenID")]
    pub value: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn both_forms_of_a_token_are_read() {
        let account = token(
            r#"{"tokenID": "v", "tokenName": "n", "account": "sa::ci", "accountType": "SERVICE_ACCOUNT",
                "dateGenerated": 1700000000999, "lastUsed": 1700000001000}"#,
        );
        let customer = token(
            r#"{"id": "v", "name": "n", "account": "sa::ci", "accountType": "SERVICE_ACCOUNT", "customer": "c",
                "createdEpochMillis": 1700000000999, "lastUsed": 1700000001000}"#,
        );
        for token in [account, customer] {
            assert_eq!((token.value.expose(), token.name()), ("v", Some("n")));
            assert_eq!(token.account.as_deref(), Some("sa::ci"));
            assert_eq!(token.created_at().unwrap().as_millisecond(), 1_700_000_000_000);
            assert_eq!(token.last_used_at().unwrap().as_millisecond(), 1_700_000_001_000);
            assert_eq!(token.state(), ListedState::Active);
        }
    }

    #[test]
    fn what_a_token_lacks_is_nothing() {
        for text in [
            r#"{"tokenID": "v"}"#,
            r#"{"tokenID": "v", "tokenName": "", "dateGenerated": 0, "lastUsed": 0}"#,
            r#"{"tokenID": "v", "tokenName": null, "dateGenerated": null, "lastUsed": -1}"#,
        ] {
            let token = token(text);
            assert_eq!(
                (token.name(), token.created_at(), token.last_used_at()),
                (None, None, None),
                "{text}"
            );
        }
    }

    #[test]
    fn a_code_is_one_of_an_error_or_none() {
        let status = |code: &str| serde_json::from_str::<Status>(&format!(r#"{{"result": "ERROR", "code": {code}}}"#)).unwrap();
        assert_eq!(["400", "599"].map(|code| status(code).code()), [Some(400), Some(599)]);
        for none in ["null", "0", "-400", "200", "399", "600", "66036"] {
            assert_eq!(status(none).code(), None, "{none}");
        }
    }

    #[test]
    fn the_id_is_the_beginning_of_the_hash_of_the_value() {
        // FIPS 180-4 example "abc".
        assert_eq!(token(r#"{"tokenID": "abc"}"#).id(), "sha256:ba7816bf8f01cfea");
    }

    #[test]
    fn a_token_of_a_deactivated_account_does_not_work() {
        let state = |kind: &str| token(&format!(r#"{{"tokenID": "v", "accountType": "{kind}"}}"#)).state();
        assert_eq!(state("INACTIVE_SERVICE_ACCOUNT"), ListedState::Suspended);
        assert_eq!(state("CSP_SOMETHING_NEW"), ListedState::Active);
    }
}
