//! Who makes tokens, in the words of this project.
//!
//! This module owns what an issuer can do and how a token is made there. It knows nothing of
//! Kubernetes: specs come in as plain data, values go out as [`crate::token_value::TokenValue`].

pub mod builtin;

use jiff::Timestamp;

use crate::token_value::TokenValue;

/// A token just made, not yet in any Secret.
#[derive(Clone)]
pub struct IssuedToken {
    /// The value; nothing else in the program holds it.
    pub value: TokenValue,
    /// Id at the issuer.
    pub id: String,
    /// When it was made, to the second.
    pub issued_at: Timestamp,
}
