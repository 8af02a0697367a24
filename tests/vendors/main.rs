//! Vendors' token APIs: the HTTP set-up, and the adapters against fakes over real HTTP. No API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http;
