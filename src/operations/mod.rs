//! What a program needs beside its work: settings, logs, metrics, probes, the way to the API server.

pub mod connection;
pub mod leader;
pub mod metrics;
pub mod server;
pub mod telemetry;
