//! The states and how they follow each other, as the documentation draws them.

use std::collections::BTreeSet;

use super::*;

const DRAWN: &str = include_str!("../../../docs/lifecycle.md");

/// The transitions in the drawing: `<from> --> <to>: <why>`.
fn drawn() -> BTreeSet<(String, String)> {
    let transition = |line: &str| {
        let (from, to) = line.trim().split_once(" --> ")?;
        let (to, _) = to.split_once(':')?;
        Some((from.to_owned(), to.to_owned()))
    };
    DRAWN.lines().filter_map(transition).collect()
}

/// What users and time can do to a token.
fn influences() -> Vec<fn(&mut Observed)> {
    let mut all: Vec<fn(&mut Observed)> = vec![
        |_| {},
        |o| o.respec(|spec| spec.state = DesiredState::Active),
        |o| o.respec(|spec| spec.state = DesiredState::Suspended),
        |o| o.respec(|spec| spec.state = DesiredState::Revoked),
        |o| o.respec(|spec| spec.suspend_policy = SuspendPolicy::Withdraw),
        |o| o.respec(|spec| spec.lifetime = hours("1h")),
        |o| o.respec(|spec| spec.lifetime = hours("99h")),
        |o| {
            o.respec(|spec| {
                spec.lifetime = None;
                spec.expires_at = Some(Time(at("2029-01-01T00:00:00Z")));
            });
        },
        |o| o.respec(|spec| spec.expires_at = None),
        |o| o.now += SignedDuration::from_hours(2),
        |o| o.secret = ObservedSecret::Absent,
        |o| o.issuer = Err(IssuerProblem::NoDefault),
    ];
    all.push(|o| {
        let request = o.now.to_string();
        o.edit(|token| {
            let annotations = token.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ROTATE_REQUESTED_AT_ANNOTATION.into(), request);
        });
    });
    all
}

/// Every transition that any three influences, one after the other, lead to.
fn observed_transitions() -> BTreeSet<(String, String)> {
    let mut transitions = BTreeSet::new();
    let influences = influences();
    for first in &influences {
        for second in &influences {
            for third in &influences {
                let mut observed = situation();
                for influence in [first, second, third] {
                    influence(&mut observed);
                    // A replacement takes several passes.
                    for _ in 0..3 {
                        let before = state(&observed);
                        let done = run(&mut observed);
                        transitions.insert((before, state(&observed)));
                        if done.is_empty() {
                            break;
                        }
                        observed.now += SignedDuration::from_secs(3);
                    }
                }
            }
        }
    }
    transitions.retain(|(from, to)| from != to);
    transitions
}

fn state(observed: &Observed) -> String {
    let state = observed.token.status.as_ref().and_then(|status| status.state);
    format!("{:?}", state.unwrap_or(ObservedState::Pending))
}

#[test]
fn the_drawing_shows_every_transition_and_no_other() {
    assert_eq!(observed_transitions(), drawn());
}
