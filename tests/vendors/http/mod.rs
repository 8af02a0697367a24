//! The one HTTP set-up, over real connections on loopback.

mod answers;
mod failures;
mod peace;
mod reach;
mod secrets;
mod server;
mod set_up;
mod tls;
