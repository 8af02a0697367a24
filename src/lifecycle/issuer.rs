//! Decides what happens to an issuer: whether it is held, and what its status says.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    api::{
        IssuerStatus,
        conditions::{self, ConditionType, Reason},
        issuer::IssuerCapabilities,
        names,
    },
    issuers::Capabilities,
};

/// Everything that the decision depends on.
pub struct ObservedIssuerObject<'a> {
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// What it can do; nothing where this version knows no such type.
    pub capabilities: Option<Capabilities>,
    /// The status that stands there.
    pub status: Option<&'a IssuerStatus>,
    /// Whether an ApiToken refers to it.
    pub in_use: bool,
    /// The time, to the second.
    pub now: Timestamp,
}

/// What is to be written, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct IssuerPlan {
    /// The finalizers as they are to be, where they differ.
    pub finalizers: Option<Vec<String>>,
    /// The status as it is to be, where it differs.
    pub status: Option<IssuerStatus>,
}

/// Decides for one issuer. An issuer in use is held by our finalizer; one that goes is let go as
/// soon as no token stands on it.
pub fn decide(observed: &ObservedIssuerObject<'_>) -> IssuerPlan {
    let deleting = observed.metadata.deletion_timestamp.is_some();
    let finalizers = finalizers(observed, deleting);
    let let_go = deleting && finalizers.is_some();
    let status = (!let_go)
        .then(|| status(observed, deleting))
        .filter(|status| Some(status) != observed.status);
    IssuerPlan { finalizers, status }
}

fn finalizers(observed: &ObservedIssuerObject<'_>, deleting: bool) -> Option<Vec<String>> {
    let present = observed.metadata.finalizers.clone().unwrap_or_default();
    let held = present.iter().any(|finalizer| finalizer == names::FINALIZER);
    match (held, observed.in_use, deleting) {
        // The API server takes no new finalizer on an object that is being deleted.
        (false, true, false) => Some(present.into_iter().chain([names::FINALIZER.to_owned()]).collect()),
        (true, false, true) => Some(present.into_iter().filter(|finalizer| finalizer != names::FINALIZER).collect()),
        _ => None,
    }
}

fn status(observed: &ObservedIssuerObject<'_>, deleting: bool) -> IssuerStatus {
    let mut status = observed.status.cloned().unwrap_or_default();
    status.observed_generation = observed.metadata.generation;
    status.capabilities = observed.capabilities.map(shown);
    let (reason, message) = if deleting {
        (
            Reason::Deleting,
            "waits for the ApiTokens that refer to it: its tokens stay accepted, it makes no new ones",
        )
    } else if observed.capabilities.is_some() {
        (Reason::Ready, "tokens can be made")
    } else {
        (
            Reason::NotSupported,
            "this type of issuer is not supported by this version yet: use spec.builtin",
        )
    };
    let ready = reason == Reason::Ready;
    let mut set = |type_, value, text: &str| {
        conditions::set(
            &mut status.conditions,
            type_,
            value,
            reason,
            text,
            observed.metadata.generation,
            observed.now,
        )
    };
    set(ConditionType::Ready, ready, message);
    set(
        ConditionType::Reconciling,
        !ready && !reason.stalls(),
        if reason.stalls() { "" } else { message },
    );
    set(ConditionType::Stalled, reason.stalls(), if reason.stalls() { message } else { "" });
    status
}

/// What an issuer can do, as its status says it.
fn shown(can: Capabilities) -> IssuerCapabilities {
    IssuerCapabilities {
        suspend: can.suspend,
        reset: can.reset.is_some(),
        readable_value: can.readable_value,
        expiry: can.expiry,
        names: can.names,
        update: can.update,
        last_used: can.last_used,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const BUILTIN: Option<Capabilities> = Some(Capabilities::BUILTIN);

    fn plan(held: bool, in_use: bool, deleting: bool, capabilities: Option<Capabilities>, status: Option<&IssuerStatus>) -> IssuerPlan {
        let metadata = ObjectMeta {
            generation: Some(1),
            finalizers: Some(
                [Some("example.com/other"), held.then_some(names::FINALIZER)]
                    .into_iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect(),
            ),
            deletion_timestamp: deleting.then(|| Time(at("2030-01-01T00:00:00Z"))),
            ..Default::default()
        };
        decide(&ObservedIssuerObject {
            metadata: &metadata,
            capabilities,
            status,
            in_use,
            now: at("2030-01-01T00:00:00Z"),
        })
    }

    #[test]
    fn an_issuer_is_held_while_it_is_used_and_let_go_when_it_is_not() {
        let both = || Some(vec!["example.com/other".to_owned(), names::FINALIZER.to_owned()]);
        let other = || Some(vec!["example.com/other".to_owned()]);
        for (held, in_use, deleting, expected, why) in [
            (false, false, false, None, "nobody uses it"),
            (false, true, false, both(), "it is used from now on"),
            (true, true, false, None, "it is held"),
            (true, false, false, None, "it was used once; taking the finalizer away can wait"),
            (true, true, true, None, "its tokens still stand on it"),
            (true, false, true, other(), "nothing stands on it any more"),
            (false, true, true, None, "too late to hold it"),
        ] {
            assert_eq!(plan(held, in_use, deleting, BUILTIN, None).finalizers, expected, "{why}");
        }
    }

    #[test]
    fn a_status_is_written_once() {
        let status = plan(true, true, false, BUILTIN, None).status.unwrap();
        assert!(conditions::is_true(&status.conditions, ConditionType::Ready));
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(plan(true, true, false, BUILTIN, Some(&status)).status, None);
    }

    #[test]
    fn a_status_says_what_the_issuer_can_do() {
        let can = Capabilities {
            reset: Some(jiff::SignedDuration::ZERO),
            readable_value: true,
            ..Default::default()
        };
        let shown = plan(true, true, false, Some(can), None).status.unwrap().capabilities.unwrap();
        let expected = IssuerCapabilities {
            reset: true,
            readable_value: true,
            ..Default::default()
        };
        assert_eq!(shown, expected);
        assert_eq!(plan(true, true, false, None, None).status.unwrap().capabilities, None);
    }

    #[test]
    fn a_type_that_is_not_there_yet_is_refused_and_one_that_goes_says_so() {
        let vendor = plan(false, false, false, None, None).status.unwrap();
        let stalled = conditions::find(&vendor.conditions, ConditionType::Stalled).unwrap();
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "NotSupported"));
        let going = plan(true, true, true, BUILTIN, None).status.unwrap();
        assert_eq!(
            conditions::find(&going.conditions, ConditionType::Ready).unwrap().reason,
            "Deleting"
        );
        assert_eq!(plan(true, false, true, BUILTIN, None).status, None, "it is gone in a moment");
    }
}
