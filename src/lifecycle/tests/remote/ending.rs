//! The end of a token at an issuer that others run.

use super::*;

fn revoked(observed: Observed) -> Observed {
    observed.respecced(|spec| spec.state = DesiredState::Revoked)
}

#[test]
fn what_can_not_be_ended_is_said_and_works_on() {
    let (observed, mut tokens) = issued_at(PLAIN);
    let mut observed = revoked(observed);
    let gone = IssuerProblem::NotFound(observed.issuer_mut().reference.clone());
    observed.issuer = Err(gone);
    assert_eq!(steps(&mut observed, &mut tokens), ["IssuerNotFound"]);
    assert_eq!(observed.recorded().state, Some(ObservedState::Active));
}

#[test]
fn an_issuer_that_failed_is_not_asked_again_before_its_time() {
    let (observed, _) = issued_at(PLAIN);
    let mut observed = revoked(observed);
    observed.failure = Some(Failure {
        message: "it is away: wait".into(),
        kind: FailureKind::Transient {
            reason: crate::api::conditions::Reason::VendorUnavailable,
            retry_after: None,
        },
    });
    let failed = rest(&observed);
    apply_remote(&mut observed, failed);
    assert!(observed.condition(ConditionType::Active).0, "it works until it is ended");
    let Time(retry_at) = observed.recorded().failures.clone().unwrap().next_retry_at.unwrap();
    assert_eq!(rest(&observed).look_again_at, Some(retry_at));
    observed.now = retry_at;
    assert_eq!(next_step(&observed), Some("list_tokens"));
}
