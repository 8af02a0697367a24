//! Where the vendors' OpenAPI documents differ from what the vendors were seen to do, or say elsewhere.

use serde_json::{Value, json};

/// What stands in a document instead of what it says.
pub struct Amendment {
    /// In which documents.
    pub documents: &'static [&'static str],
    /// Where (RFC 6901). What it names is added or replaced.
    pub pointer: &'static str,
    /// With what.
    pub value: fn() -> Value,
    /// Why.
    pub why: &'static str,
}

const LONG: &[&str] = &["mailtrap-with-account-id.yaml"];
const SHORT: &[&str] = &["mailtrap.yaml"];

/// All of them.
pub const AMENDMENTS: &[Amendment] = &[
    Amendment {
        documents: &["mailtrap-with-account-id.yaml", "mailtrap.yaml"],
        pointer: "/components/schemas/CreateApiTokenRequest/properties/expires_at",
        value: nullable_time,
        why: "the vendor's prose has it",
    },
    Amendment {
        documents: LONG,
        pointer: "/paths/~1api~1accounts~1{account_id}~1api_tokens~1{id}~1reset/post/requestBody",
        value: reset_body,
        why: "the vendor's prose has it",
    },
    Amendment {
        documents: SHORT,
        pointer: "/paths/~1api~1api_tokens~1{id}~1reset/post/requestBody",
        value: reset_body,
        why: "the vendor's prose has it",
    },
    Amendment {
        documents: LONG,
        pointer: "/paths/~1api~1accounts~1{account_id}~1api_tokens/get/responses/404",
        value: not_found,
        why: "an account that is not there is not mentioned",
    },
    Amendment {
        documents: LONG,
        pointer: "/paths/~1api~1accounts~1{account_id}~1api_tokens/post/responses/404",
        value: not_found,
        why: "an account that is not there is not mentioned",
    },
    Amendment {
        documents: LONG,
        pointer: "/paths/~1api~1accounts~1{account_id}~1api_tokens~1{id}/delete/responses/422",
        value: unprocessable,
        why: "how the last token of a domain is refused is not documented",
    },
    Amendment {
        documents: SHORT,
        pointer: "/paths/~1api~1api_tokens~1{id}/delete/responses/422",
        value: unprocessable,
        why: "how the last token of a domain is refused is not documented",
    },
];

fn nullable_time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn reset_body() -> Value {
    let schema = json!({ "type": "object", "properties": { "expires_at": nullable_time() } });
    json!({ "content": { "application/json": { "schema": schema } } })
}

fn not_found() -> Value {
    json!({ "$ref": "#/components/responses/NOT_FOUND" })
}

fn unprocessable() -> Value {
    json!({ "$ref": "#/components/responses/UNPROCESSABLE_ENTITY" })
}
