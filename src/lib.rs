//! apitoken-operator: API tokens as Kubernetes resources.
//!
//! ```text
//!   ApiToken, TokenIssuer, ClusterTokenIssuer        Secret (value)
//!            │ watch                                     ▲ create, update
//!            ▼                                           │
//!   controller: gather ──► lifecycle: decide ──► controller: execute ──► one status write
//!                          (pure)                        │
//!                                                        ▼
//!                                                  issuers: make, list, change, end
//!                                                        │ HTTP
//!                                                        ▼
//!                                                  vendors; nobody for the built-in issuer
//!
//!   ApiTokens, issuers, Namespaces
//!            │ watch (never a Secret)
//!            ▼
//!   verifier: hash -> ApiToken ◄── does this token work? ── services, and proxies before them
//!            │ last use
//!            ▼
//!   status of ApiTokens
//! ```
//!
//! - [`api`]: the resources, their bounds and words. No I/O.
//! - [`lifecycle`]: the one place that decides. Pure: no client, no HTTP, no clock.
//! - [`issuers`]: who makes tokens, the built-in issuer and four vendors. Knows nothing of Kubernetes.
//! - [`controller`]: gathers what is to be decided on and executes what was decided.
//! - [`verifier`]: answers whether a presented token of the built-in issuer works. A program of its own, which never reads a Secret.
//! - [`operations`]: settings, logs, metrics, probes.
//! - [`cli`]: the kubectl plugin. It reads and changes ApiTokens as their owner may, and asks the operator for all the rest.

pub mod api;
pub mod cli;
pub mod controller;
pub mod issuers;
pub mod lifecycle;
pub mod operations;
pub mod token_value;
pub mod verifier;
