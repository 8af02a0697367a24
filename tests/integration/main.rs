//! Everything that talks to the outside, against the real thing: a real API server, the real
//! program, real Helm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

#[path = "../fakes/mod.rs"]
mod fakes;
mod support;

mod adoption;
mod api_validation;
mod borders;
mod chart;
mod conditions;
mod consumer;
mod crashes;
mod documents;
mod examples;
mod expiry;
mod generated;
mod gitops;
mod image;
mod issue;
mod issuers;
mod moving;
mod program;
mod reference;
mod remote;
mod remote_adoption;
mod remote_crashes;
mod remote_credentials;
mod remote_deletion;
mod remote_failures;
mod remote_orphans;
mod rotation;
mod secrets;
mod states;
mod suspension;
mod two_hundred;
mod vendors;
mod verifier;
mod verifier_policy;
