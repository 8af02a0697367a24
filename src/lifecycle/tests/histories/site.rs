//! The issuer of a world.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::{IssuerSpec, api_token::Parameters},
    issuers::{Issuer, ListedState},
    lifecycle::Step,
};

/// An issuer, as operators reach it and as somebody sees it who stands beside it.
pub trait Site {
    /// The way to it, for one call.
    fn issuer(&self) -> Arc<dyn Issuer>;
    /// Its spec.
    fn spec(&self) -> IssuerSpec;
    /// What can be asked of it beside what it was asked for first, in `spec.parameters`.
    fn other_parameters(&self) -> Option<Parameters>;
    /// It is that late.
    fn tell_time(&self, now: Timestamp);
    /// Has the call of that step go wrong, done or not.
    fn go_wrong(&self, step: &Step, done: bool);
    /// Has lists show how it was before the last change.
    fn lag(&self);
    /// Nothing goes wrong any more.
    fn heal(&self);
    /// All tokens that are there.
    fn tokens(&self) -> Vec<Kept>;
    /// Somebody removes a token.
    fn remove(&self, id: &str);
    /// Somebody else makes a token, of a name that resembles ours where it has one, and in any case not what an attempt of ours would
    /// make. Gives its id; nothing where there is no room.
    fn plant(&self) -> Option<String>;
}

/// A token that is there.
#[derive(PartialEq, Eq)]
pub struct Kept {
    /// Its id, as operators see it.
    pub id: String,
    /// Hash of its value.
    pub hash: String,
    /// Whether it works.
    pub state: ListedState,
    /// All that the issuer knows of it.
    pub details: String,
}
