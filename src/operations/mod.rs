//! What a program needs beside its work: settings, logs, metrics, probes, the way to the API server.

pub mod connection;
pub mod counts;
pub mod descriptions;
pub mod leader;
pub mod metrics;
pub mod progress;
pub mod server;
pub mod telemetry;
pub mod traces;
