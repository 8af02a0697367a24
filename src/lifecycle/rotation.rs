//! When a token is replaced and why, and how long the replaced ones work on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{has_expired, observed::Observed, remote, schedule};
use crate::api::{
    ApiTokenSpec, Duration,
    api_token::{DesiredState, PreviousToken, Rotation, TokenStatus},
    bounds, names,
};

/// The jitter is at most this share of the time from issue to rotation, and at most an hour.
const JITTER_SHARE: i32 = 10;
const LONGEST_JITTER: SignedDuration = SignedDuration::from_hours(1);
/// Consumers read a mounted Secret up to a minute late.
pub const SHORT_OVERLAP: SignedDuration = SignedDuration::from_secs(60);

/// Why a token is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the first one.
    First,
    /// `spec.rotation.interval` has passed.
    Interval,
    /// Its end is near.
    BeforeExpiry,
    /// The annotation asks for it.
    Requested,
    /// The issuer can't apply a change of the spec to an existing token.
    Changed,
    /// The Secret is gone.
    SecretMissing,
    /// The Secret holds another value.
    ValueChanged,
    /// The issuer does not have the token any more.
    TokenMissing,
    /// It had expired, and the spec has a later end now.
    LaterEnd,
}

impl Cause {
    /// The word in the status and in Events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "First",
            Self::Interval => "Interval",
            Self::BeforeExpiry => "BeforeExpiry",
            Self::Requested => "Requested",
            Self::Changed => "Changed",
            Self::SecretMissing => "SecretMissing",
            Self::ValueChanged => "ValueChanged",
            Self::TokenMissing => "TokenMissing",
            Self::LaterEnd => "LaterEnd",
        }
    }
}

/// Why the current token is to be replaced now, whose value is in its Secret.
pub fn due(observed: &Observed) -> Option<Cause> {
    if observed.token.spec.state != DesiredState::Active {
        return None;
    }
    let token = observed.current()?;
    if let Some(requested) = asked_for(observed) {
        return Some(requested);
    }
    if remote::needs_another(observed, token) {
        return Some(Cause::Changed);
    }
    let (at, cause) = next(observed, token)?;
    (at <= observed.now).then_some(cause)
}

/// Whether a rotation is asked for that nobody has answered yet.
pub fn asked_for(observed: &Observed) -> Option<Cause> {
    new_request(observed).map(|_| Cause::Requested)
}

/// When `token` is replaced by the clock, and why: the earliest date counts, never later than
/// promised. The jitter differs between ApiTokens and stays the same for each.
pub fn next(observed: &Observed, token: &TokenStatus) -> Option<(Timestamp, Cause)> {
    let spec = &observed.token.spec;
    let Time(issued_at) = token.issued_at.as_ref()?;
    let (at, cause) = promised(spec, *issued_at)?;
    let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
    let early = jitter(at.duration_since(*issued_at), uid);
    let at = schedule::to_second(at.checked_sub(early).unwrap_or(at));
    // Beyond its end there is nothing left to rotate: a fixed end is the end of the next one too.
    let over = spec.expires_at.as_ref().is_some_and(|Time(end)| *end <= at);
    (!over).then_some((at, cause))
}

/// Whether the end of a token is put off by rotating it.
pub fn outlives_its_end(spec: &ApiTokenSpec) -> bool {
    spec.rotation.is_some() && spec.lifetime.is_some()
}

/// The latest time for the next rotation of a token issued at `issued_at`.
pub fn promised(spec: &ApiTokenSpec, issued_at: Timestamp) -> Option<(Timestamp, Cause)> {
    let rotation = spec.rotation.as_ref()?;
    let interval = rotation.interval.as_ref();
    let by_interval = interval.map(|interval| (schedule::later(issued_at, interval.as_signed()), Cause::Interval));
    let before_end = spec.lifetime.as_ref().map(|lifetime| {
        let before = rotation
            .before
            .as_ref()
            .map_or(lifetime.as_signed() / 3, |before| before.as_signed());
        (schedule::later(issued_at, lifetime.as_signed() - before), Cause::BeforeExpiry)
    });
    by_interval.into_iter().chain(before_end).min_by_key(|(at, _)| *at)
}

fn jitter(span: SignedDuration, uid: &str) -> SignedDuration {
    schedule::spread((span / JITTER_SHARE).min(LONGEST_JITTER), uid)
}

/// The request for a rotation, as much of it as is kept.
pub fn request(observed: &Observed) -> Option<String> {
    let request = observed.annotation(names::ROTATE_REQUESTED_AT_ANNOTATION)?;
    Some(request.chars().take(bounds::ROTATION_REQUEST).collect())
}

/// The request for a rotation, where nobody has answered it yet.
pub fn new_request(observed: &Observed) -> Option<String> {
    let answered = observed.status().and_then(|status| status.last_rotation_request.as_ref());
    request(observed).filter(|request| Some(request) != answered)
}

/// Whether the rotation that is under way answers a leak: nothing of the old is to work on.
pub fn is_leak(observed: &Observed) -> bool {
    let pending = observed.pending();
    let asked = pending.is_some_and(|pending| pending.request.is_some() && pending.request == request(observed));
    asked && without_overlap(observed)
}

/// Whether the rotation that begins now answers a leak.
pub fn begins_for_leak(observed: &Observed) -> bool {
    new_request(observed).is_some() && without_overlap(observed)
}

/// Whether an overlap that runs is to be cut short: a leak is told of, by a request that is open or
/// whose rotation was the last one.
fn leak_ends_overlap(observed: &Observed) -> bool {
    let last = observed.status().and_then(|status| status.last_rotation_reason.as_deref());
    let answered = request(observed).is_some() && last == Some(Cause::Requested.as_str());
    without_overlap(observed) && (new_request(observed).is_some() || answered)
}

fn without_overlap(observed: &Observed) -> bool {
    let overlap = observed.annotation(names::ROTATE_OVERLAP_ANNOTATION);
    overlap.is_some_and(tells_leak)
}

/// Whether that text in the annotation for an overlap tells of a leak.
pub fn tells_leak(overlap: &str) -> bool {
    read_overlap(overlap) == Some(SignedDuration::ZERO)
}

/// What that text in the annotation for an overlap means; nothing where nobody can tell.
pub fn read_overlap(overlap: &str) -> Option<SignedDuration> {
    if overlap == "0" {
        return Some(SignedDuration::ZERO);
    }
    Some(Duration::try_from(overlap.to_owned()).ok()?.as_signed())
}

/// How long the token that is replaced now works on.
pub fn overlap(observed: &Observed) -> SignedDuration {
    if is_leak(observed) {
        return SignedDuration::ZERO;
    }
    let rotation = observed.token.spec.rotation.as_ref();
    let declared = rotation.and_then(|rotation| rotation.overlap.as_ref());
    let declared = declared.map_or(SignedDuration::ZERO, |overlap| overlap.as_signed());
    // None at all is a leak, or left from one.
    let requested = requested_overlap(observed).filter(|requested| !tells_leak(requested));
    requested.and_then(read_overlap).unwrap_or(declared)
}

/// The overlap that the request for this rotation asks for, where nobody can tell what it means: the declared one counts.
pub fn unread_overlap(observed: &Observed) -> Option<&str> {
    requested_overlap(observed).filter(|requested| read_overlap(requested).is_none())
}

/// What the request for this rotation says of the overlap.
fn requested_overlap(observed: &Observed) -> Option<&str> {
    let answers_request = match observed.pending() {
        Some(pending) => pending.request.is_some() && pending.request == request(observed),
        None => new_request(observed).is_some(),
    };
    observed.annotation(names::ROTATE_OVERLAP_ANNOTATION).filter(|_| answers_request)
}

/// The replaced token as it is recorded: until when it works on, and never beyond its own end.
pub fn replaced(observed: &Observed, token: &TokenStatus) -> PreviousToken {
    let until = if has_expired(observed) {
        observed.now
    } else {
        schedule::later(observed.now, overlap(observed))
    };
    let end = token.expires_at.as_ref().map_or(until, |Time(end)| *end);
    PreviousToken {
        id: token.id.clone(),
        hint: token.hint.clone(),
        hash: token.hash.clone(),
        account: token.account.clone().filter(|_| observed.is_remote()),
        revoke_at: Time(until.min(end).max(observed.now)),
        last_used_at: token.last_used_at.clone(),
    }
}

/// When a replaced token ends: as recorded, or earlier where it is told of a leak or was not used for long.
pub fn end_of_overlap(observed: &Observed, previous: &PreviousToken) -> Timestamp {
    let Time(recorded) = previous.revoke_at;
    if leak_ends_overlap(observed) {
        return recorded.min(observed.now);
    }
    recorded.min(unused_since(observed, previous).unwrap_or(recorded))
}

/// When a replaced token has been quiet for as long as `retireWhenUnusedFor` says, where its last use
/// is known. A use before the rotation says nothing of consumers that still hold the old value.
fn unused_since(observed: &Observed, previous: &PreviousToken) -> Option<Timestamp> {
    let Rotation {
        retire_when_unused_for: Some(quiet),
        ..
    } = observed.token.spec.rotation.as_deref()?
    else {
        return None;
    };
    let Time(last_used) = previous.last_used_at.as_ref()?;
    let Time(rotated) = observed.status()?.last_rotation_at.as_ref()?;
    Some(schedule::later(*last_used.max(rotated), quiet.as_signed()))
}

/// Whether a replaced token is to be ended now.
pub fn is_over(observed: &Observed, previous: &PreviousToken) -> bool {
    end_of_overlap(observed, previous) <= observed.now
}

/// Whether a replaced token still works, or could: those that are over and known to be gone don't.
pub fn still_counts(observed: &Observed, previous: &PreviousToken) -> bool {
    !is_over(observed, previous) || (observed.is_remote() && !remote::is_gone(observed, previous.id.as_deref()))
}
