//! Vendors' token APIs: the HTTP set-up, and the adapters against fakes over real HTTP. No API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

#[path = "../fakes/mod.rs"]
mod fakes;

mod contract;
mod http;
mod mailtrap;
mod openapi;
mod prefactor;
mod softwareone;
mod wavefront;
