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
mod chart_templates;
mod clock_jumps;
mod conditions;
mod consumer;
mod crashes;
mod documents;
mod examples;
mod expiry;
mod fairness;
mod generated;
mod gitops;
mod guardrails;
mod helm_test;
mod image;
mod issue;
mod issuers;
mod leadership;
mod moving;
mod observability;
mod plugin;
mod program;
mod reference;
mod remote;
mod remote_adoption;
mod remote_crashes;
mod remote_credentials;
mod remote_deletion;
mod remote_failures;
mod remote_orphans;
mod rights;
mod rotation;
mod scope;
mod secrets;
mod states;
mod suspension;
mod two_hundred;
mod upgrades;
mod values_reference;
mod vendors;
mod verifier;
mod verifier_policy;
