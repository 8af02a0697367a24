//! Looks that many ApiTokens share: situation, whether a list that another asked for will do, why.

use super::*;
use crate::lifecycle::{is_only_a_poll, schedule, shown_as_recorded};

/// A token at rest whose next look is due.
fn due() -> (Observed, Vec<ListedToken>) {
    let (mut observed, tokens) = issued_at(PLAIN);
    observed.view = None;
    observed.fresh = None;
    observed.polled_at = Some(at(NOW));
    observed.now = at("2030-01-01T01:00:00Z");
    (observed, tokens)
}

#[test]
fn a_list_of_others_will_do_where_nothing_but_the_time_asks_for_one() {
    type Change = fn(&mut Observed);
    let cases: [(&str, bool, Change); 9] = [
        ("its time has come", true, |_| {}),
        (
            "its time has not come, so that a list is asked for because of something else",
            false,
            |observed| observed.polled_at = Some(observed.now),
        ),
        ("the spec changed", false, |observed| {
            observed.respec(|spec| spec.description = Some("new".into()))
        }),
        ("it is to be held back", false, |observed| {
            observed.respec(|spec| spec.state = DesiredState::Suspended)
        }),
        ("it is to be ended", false, |observed| {
            observed.respec(|spec| spec.state = DesiredState::Revoked)
        }),
        ("its object goes", false, |observed| {
            observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))))
        }),
        ("an attempt is open", false, |observed| {
            let pending = announced(PLAIN).pending().cloned().map(Box::new);
            observed.edit(|token| token.status.as_mut().unwrap().pending = pending);
        }),
        ("a token was made that nothing names", false, |observed| {
            observed.fresh = Some(IssuedToken {
                value: TokenValue::new("value"),
                id: "id-9".into(),
                name: None,
                attempt: 9,
                issued_at: at(NOW),
                announced_at: None,
                expires_at: None,
                details: Default::default(),
            })
        }),
        ("an overlap is over", false, |observed| {
            let replaced = PreviousToken {
                id: Some("id-0".into()),
                hint: None,
                hash: None,
                account: None,
                revoke_at: Time(at(NOW)),
                last_used_at: None,
            };
            observed.edit(|token| token.status.as_mut().unwrap().previous.push(replaced));
        }),
    ];
    for (why, expected, change) in cases {
        let (mut observed, _) = due();
        assert_eq!(next_step(&observed), Some("list_tokens"), "the look is due");
        change(&mut observed);
        assert_eq!(is_only_a_poll(&observed), expected, "{why}");
    }
}

#[test]
fn a_list_that_shows_anything_else_than_what_is_recorded_will_not_do() {
    type Change = fn(&mut Vec<ListedToken>);
    let cases: [(&str, bool, Change); 7] = [
        ("as recorded", true, |_| {}),
        ("others beside it", true, |tokens| tokens.push(listed("theirs", "theirs"))),
        ("it is gone", false, Vec::clear),
        ("it is held back", false, |tokens| tokens[0].state = ListedState::Suspended),
        ("it is revoked", false, |tokens| tokens[0].state = ListedState::Revoked),
        ("it is renamed", false, |tokens| tokens[0].name = Some("another".into())),
        ("an attempt that was given up has left one", false, |tokens| {
            tokens.push(listed("id-9", "ci k8s-0123abcd-0123456789-9"))
        }),
    ];
    for (why, expected, change) in cases {
        let (observed, mut tokens) = due();
        change(&mut tokens);
        assert_eq!(shown_as_recorded(&observed, &tokens).is_some(), expected, "{why}");
    }
}

#[test]
fn a_shared_list_is_a_look_and_tells_of_the_last_use() {
    let (mut observed, mut tokens) = due();
    let used_at = at("2030-01-01T00:30:00Z");
    tokens[0].last_used_at = Some(used_at);
    observed.shown = shown_as_recorded(&observed, &tokens).cloned();
    observed.polled_at = Some(observed.now);
    let rest = rest(&observed);
    assert_eq!(rest.status.token.unwrap().last_used_at, Some(Time(used_at)));
    assert_eq!(
        rest.look_again_at,
        Some(schedule::later(observed.now, observed.terms.poll_interval))
    );
}

#[test]
fn a_look_tells_who_made_the_token_and_what_account_it_is_of_and_silence_takes_nothing_back() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    let details = |account_type: Option<&str>, created_by: Option<&str>| crate::issuers::TokenDetails {
        account_type: account_type.map(str::to_owned),
        created_by: created_by.map(str::to_owned),
        ..Default::default()
    };
    for (hours, shown) in [(1, details(Some("Service"), Some("ops"))), (2, details(None, None))] {
        observed.now = at(NOW) + SignedDuration::from_hours(hours);
        observed.polled_at = None;
        tokens[0].details = shown;
        steps(&mut observed, &mut tokens);
        let token = observed.recorded().token.clone().unwrap();
        assert_eq!(
            (token.account_type.as_deref(), token.created_by.as_deref()),
            (Some("Service"), Some("ops"))
        );
    }
}
