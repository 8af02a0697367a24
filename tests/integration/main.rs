//! Everything that talks to the outside, against the real thing: a real API server, the real
//! program, real Helm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

mod support;

mod api_validation;
mod borders;
mod chart;
mod conditions;
mod crashes;
mod examples;
mod generated;
mod issue;
mod issuers;
mod program;
mod remote;
mod remote_adoption;
mod remote_crashes;
mod remote_deletion;
mod remote_failures;
mod secrets;
mod states;
mod two_hundred;
