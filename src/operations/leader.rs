//! Which of several replicas works: the one that holds the Lease.
//!
//! The protocol and its times are those of Kubernetes' own components. The holder renews the Lease; who
//! stands by takes it when it was given back, or did not change for [`LEASE`]. That time, and the one in
//! which the holder must renew, are counted on each replica's own monotonic clock: clocks that differ or
//! jump do no harm, and the times in the Lease are for people alone. Each write of it is under the version
//! that was read, so that of two who take it one fails.
//!
//! A holder that could not renew stops [`LEASE`] less [`RENEW_WITHIN`] before anybody else can take the
//! Lease. What it sent until then may still arrive, so every step must be safe with two holders anyway.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures::future::poll_fn;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::controller::calls::{CallError, call_within, post_params};

/// Name of the Lease, in the operator's namespace.
pub const NAME: &str = "apitoken-operator-controller";
/// Who stands by takes a Lease that did not change for so long.
const LEASE: Duration = Duration::from_secs(15);
/// Who holds it stops after so long without a renewal.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The pause between two looks of who stands by: most of the pause when a leader ends in order.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one call may take: less than half of [`RENEW_WITHIN`], for a second try on a new connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long giving the Lease back may take: it ends by itself otherwise.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// The right to work, until it lapses. Once lapsed it never comes back.
#[derive(Clone)]
pub struct Leadership {
    until: Option<Arc<Mutex<Instant>>>,
}

impl Leadership {
    /// The one of a replica that is alone.
    pub fn undisputed() -> Self {
        Self { until: None }
    }

    fn until(at: Instant) -> Self {
        Self {
            until: Some(Arc::new(Mutex::new(at))),
        }
    }

    fn end(&self) -> Option<Instant> {
        let until = self.until.as_ref()?;
        Some(*until.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn holds(&self) -> bool {
        self.end().is_none_or(|end| Instant::now() < end)
    }

    /// It holds until then, where it has not lapsed before.
    fn extend(&self, to: Instant) {
        if let Some(until) = &self.until {
            let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
            if Instant::now() < *until {
                *until = to;
            }
        }
    }

    /// Goes on with `work` while this holds, and stands still then: also where the whole program stood
    /// still meanwhile, and nobody had the time to end the work.
    pub async fn while_it_holds<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|task| match self.holds() {
            true => work.as_mut().poll(task),
            false => Poll::Pending,
        })
        .await
    }
}

/// What who stands by has seen of the Lease.
#[derive(Default)]
struct Seen {
    last: Option<(LeaseSpec, Instant)>,
}

impl Seen {
    /// Whether the Lease may be taken: nobody holds it, or whoever does has not renewed it for [`LEASE`].
    fn is_free(&mut self, lease: &LeaseSpec, identity: &str, now: Instant) -> bool {
        let holder = lease.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == identity {
            return true;
        }
        match &self.last {
            Some((last, since)) if last == lease => now.duration_since(*since) >= LEASE,
            _ => {
                self.last = Some((lease.clone(), now));
                false
            }
        }
    }
}

/// The election, as one replica takes part in it.
pub struct Election {
    leases: Api<Lease>,
    identity: String,
}

impl Election {
    /// Among the replicas in that namespace. `instance` may be another replica's too.
    pub fn new(client: &Client, namespace: &str, instance: &str) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            identity: format!("{instance}_{:08x}", rand::random::<u32>()),
        }
    }

    /// Waits until this replica holds the Lease.
    pub async fn won(&self) -> Leadership {
        let mut seen = Seen::default();
        let mut failed = false;
        loop {
            let asked = Instant::now();
            let taken = self.try_to_take(&mut seen).await;
            match &taken {
                Ok(true) => {
                    info!(identity = self.identity, "this replica holds the Lease");
                    return Leadership::until(asked + RENEW_WITHIN);
                }
                // Once is enough, while it goes on.
                Err(error) if !failed => warn!(%error, "the Lease {NAME} can't be taken, it is tried every second"),
                _ => {}
            }
            failed = taken.is_err();
            sleep(LOOK_EVERY).await;
        }
    }

    /// Renews the Lease until it is lost.
    pub async fn lost(&self, leadership: &Leadership) {
        while let Some(end) = leadership.end().filter(|_| leadership.holds()) {
            let renewed = async {
                sleep(RENEW_EVERY).await;
                let asked = Instant::now();
                (asked, self.renew().await)
            };
            match timeout_at(end, renewed).await {
                // Counted from before the call: others count from when they see it, which may be before we do.
                Ok((asked, Ok(true))) => leadership.extend(asked + RENEW_WITHIN),
                Ok((_, Ok(false))) => {
                    warn!(identity = self.identity, "another replica holds the Lease, or it is gone");
                    return;
                }
                Ok((_, Err(error))) => warn!(%error, "the Lease was not renewed, it is tried again"),
                Err(_) => {}
            }
        }
        warn!(identity = self.identity, "the Lease was not renewed in time");
    }

    /// Gives the Lease back where this replica holds it, for who stands by to take it at once.
    pub async fn give_back(&self) {
        match timeout(GIVE_BACK_WITHIN, self.write(released)).await {
            Ok(Ok(true)) => info!(identity = self.identity, "the Lease is given back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => warn!(%error, "the Lease was not given back, it ends by itself"),
            Err(_) => warn!("the Lease was not given back in time, it ends by itself"),
        }
    }

    async fn try_to_take(&self, seen: &mut Seen) -> Result<bool, CallError> {
        let taken = match call_within(ANSWER_WITHIN, self.leases.get_opt(NAME)).await? {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        ..Default::default()
                    },
                    spec: Some(held(&self.identity, &LeaseSpec::default())),
                };
                call_within(ANSWER_WITHIN, self.leases.create(&post_params(), &lease)).await
            }
            Some(mut lease) => {
                let spec = lease.spec.take().unwrap_or_default();
                if !seen.is_free(&spec, &self.identity, Instant::now()) {
                    return Ok(false);
                }
                lease.spec = Some(held(&self.identity, &spec));
                call_within(ANSWER_WITHIN, self.leases.replace(NAME, &post_params(), &lease)).await
            }
        };
        unless_another_was_first(taken)
    }

    async fn renew(&self) -> Result<bool, CallError> {
        self.write(|spec| held(&self.identity, spec)).await
    }

    /// Whether this replica holds the Lease; then it is written anew.
    async fn write(&self, next: impl FnOnce(&LeaseSpec) -> LeaseSpec) -> Result<bool, CallError> {
        let Some(mut lease) = call_within(ANSWER_WITHIN, self.leases.get_opt(NAME)).await? else {
            return Ok(false);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(false);
        }
        lease.spec = Some(next(&spec));
        call_within(ANSWER_WITHIN, self.leases.replace(NAME, &post_params(), &lease)).await?;
        Ok(true)
    }
}

fn unless_another_was_first(taken: Result<Lease, CallError>) -> Result<bool, CallError> {
    match taken {
        Ok(_) => Ok(true),
        Err(CallError::Refused(error)) if matches!(error.as_ref(), kube::Error::Api(status) if status.code == 409) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The Lease as `identity` writes it.
fn held(identity: &str, before: &LeaseSpec) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    let renews = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.map_or(0, |count| count.saturating_add(i32::from(!renews)));
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        acquire_time: before.acquire_time.clone().filter(|_| renews).or(Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..Default::default()
    }
}

/// The Lease when it is nobody's.
fn released(before: &LeaseSpec) -> LeaseSpec {
    LeaseSpec {
        holder_identity: None,
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_lease_is_free_when_it_did_not_change_for_its_time_whatever_times_it_names() {
        let start = Instant::now();
        let mut seen = Seen::default();
        let held_by = |holder: &str, renewed: &str| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            ..Default::default()
        };
        // The holder's clock is years off, and jumps back.
        let (first, second) = (held_by("other", "2001-01-01T00:00:00Z"), held_by("other", "1999-01-01T00:00:00Z"));
        for (second_seen, lease, free, why) in [
            (0, &first, false, "seen for the first time"),
            (14, &first, false, "not for long enough"),
            (15, &second, false, "renewed"),
            (29, &second, false, "not for long enough since"),
            (30, &second, true, "15 s without a change"),
            (31, &first, false, "changed again"),
            (31, &held_by("", "2030-01-01T00:00:00Z"), true, "given back"),
            (31, &LeaseSpec::default(), true, "nobody's"),
            (
                31,
                &held_by("me", "2030-01-01T00:00:00Z"),
                true,
                "ours, though the answer that said so got lost",
            ),
        ] {
            let now = start + Duration::from_secs(second_seen);
            assert_eq!(seen.is_free(lease, "me", now), free, "{why}");
        }
    }

    #[test]
    fn a_lease_counts_who_held_it() {
        let first = held("a", &LeaseSpec::default());
        assert_eq!((first.holder_identity.as_deref(), first.lease_transitions), (Some("a"), Some(0)));
        let renewed = held("a", &first);
        assert_eq!((&renewed.acquire_time, renewed.lease_transitions), (&first.acquire_time, Some(0)));
        let given_back = released(&renewed);
        assert_eq!((&given_back.holder_identity, given_back.lease_transitions), (&None, Some(0)));
        let next = held("b", &given_back);
        assert_eq!((next.holder_identity.as_deref(), next.lease_transitions), (Some("b"), Some(1)));
        assert_ne!(next.acquire_time, first.acquire_time);
    }

    #[test]
    fn work_stands_still_for_ever_once_the_leadership_lapsed() {
        let past = Leadership::until(Instant::now());
        past.extend(Instant::now() + RENEW_WITHIN);
        assert!(!past.holds(), "a late renewal brings nothing back");
        let mut touched = false;
        let work = async { touched = true };
        assert!(past.while_it_holds(work).now_or_never().is_none());
        assert!(!touched);

        let present = Leadership::until(Instant::now() + RENEW_WITHIN);
        assert_eq!(present.while_it_holds(async { 1 }).now_or_never(), Some(1));
        assert_eq!(Leadership::undisputed().while_it_holds(async { 1 }).now_or_never(), Some(1));
    }
}
