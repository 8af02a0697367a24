//! The custom resources `ApiToken`, `TokenIssuer` and `ClusterTokenIssuer`: their fields, bounds,
//! validation rules and the words of their conditions.
//!
//! This module owns what a user can write and read. It does no I/O, knows no clock and takes no
//! decision: see [`crate::lifecycle`] for those.

pub mod api_token;
pub mod bounds;
pub mod conditions;
pub mod crds;
pub mod duration;
pub mod issuer;
mod issuer_id;
pub mod names;
mod rules;
mod schema;

pub use api_token::{ApiToken, ApiTokenSpec, ApiTokenStatus};
pub use duration::Duration;
pub use issuer::{
    ClusterTokenIssuer, ClusterTokenIssuerSpec, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus, TokenIssuer, TokenIssuerSpec,
};
pub use issuer_id::{IssuerId, IssuerIdError};

/// The API group of all kinds.
pub const GROUP: &str = "apitoken.dev";
/// The only version of the API so far.
pub const VERSION: &str = "v1alpha1";
