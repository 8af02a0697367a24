//! The question and its answer: who presents a token, or why it is turned away.
//!
//! Pure: no client, no HTTP, no clock. What is known comes in as [`record::Record`]s and [`decision::IssuerRules`], a
//! presented token as bytes that nobody keeps, the time as an argument.

pub mod decision;
pub mod index;
mod pool;
pub mod presented;
pub mod question;
pub mod record;
pub mod uses;

#[cfg(test)]
mod tests;
