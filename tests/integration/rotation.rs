//! Rotation: when it is due, in which order it goes, and how long the replaced token still works.

use apitoken_operator::{
    api::{ApiToken, api_token::ObservedState, conditions::ConditionType, names},
    controller::clock::Clock,
    issuers::builtin,
};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    clock::TestClock,
    control_plane::{self, OPERATOR_USER},
    eventually,
    history::History,
    operator::InProcess,
    proxy::{Cut, Fault, Proxy},
    tokens::{
        Team, hash, is_true, last_rotation_reason, pending_hash, previous_hashes, reason_of, recorded_hash, rotations, state, status,
    },
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Longer than any test: what waits so long for verifiers waits until the test steps the clock.
const LONG_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// A token that is rotated now and then, with that overlap.
fn with_overlap(overlap: &str) -> Value {
    json!({ "rotation": { "interval": "240h", "overlap": overlap } })
}

fn issued_at(token: &ApiToken) -> Timestamp {
    status(token).token.unwrap().issued_at.unwrap().0
}

fn next_rotation(token: &ApiToken) -> Timestamp {
    status(token).next_rotation_at.unwrap().0
}

/// The next rotation comes at most `spread` before `due`, which counts from the issue, and never after it.
fn is_promised(token: &ApiToken, due: SignedDuration, spread: SignedDuration) {
    let after = next_rotation(token).duration_since(issued_at(token));
    assert!(due - spread <= after && after <= due, "{after} and not {due}");
}

/// Lets all but a moment of the time until the next rotation pass, and sees that nothing happens; then the rest.
async fn rotates_when_due(bed: &Bed, name: &str) {
    let before = bed.team.token(name).await;
    let left = next_rotation(&before).duration_since(bed.operator.clock.now());
    bed.operator.advance(left - MINUTE).await;
    let early = bed.team.looked_at(name).await;
    assert_eq!(
        (rotations(&early), pending_hash(&early)),
        (rotations(&before), None),
        "a minute is left"
    );
    bed.pass(MINUTE, name).await;
    bed.team.rotated(name, rotations(&before) + 1).await;
}

/// The Secret holds the current value.
async fn holds_its_token(team: &Team, name: &str) {
    let (token, value) = (team.token(name).await, team.value(name, "token").await);
    assert_eq!(recorded_hash(&token), hash(&value));
    assert!(builtin::is_well_formed(&value));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_at_the_interval_again_and_again() {
    let bed = Bed::new("interval").await;
    bed.team.declare("ci", json!({ "rotation": { "interval": "10h" } })).await;
    let first = bed.team.ready("ci").await;
    is_promised(&first, HOUR * 10, HOUR);
    for times in 1..=2 {
        rotates_when_due(&bed, "ci").await;
        let token = bed.team.token("ci").await;
        assert_eq!(rotations(&token), times);
        assert_eq!(last_rotation_reason(&token), "Interval");
        is_promised(&token, HOUR * 10, HOUR);
        assert!(previous_hashes(&token).is_empty(), "without an overlap the old one ends at once");
    }
    let token = bed.team.token("ci").await;
    assert_ne!(recorded_hash(&token), recorded_hash(&first));
    assert!(issued_at(&token).duration_since(issued_at(&first)) <= HOUR * 20);
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_before_the_end_by_a_third_of_the_lifetime_or_as_declared() {
    let bed = Bed::new("before").await;
    bed.team.declare("third", json!({ "lifetime": "30h", "rotation": {} })).await;
    bed.team
        .declare("declared", json!({ "lifetime": "30h", "rotation": { "before": "3h" } }))
        .await;
    bed.team
        .declare(
            "both",
            json!({ "lifetime": "30h", "rotation": { "before": "3h", "interval": "5h" } }),
        )
        .await;
    is_promised(&bed.team.ready("third").await, HOUR * 20, HOUR);
    is_promised(&bed.team.ready("declared").await, HOUR * 27, HOUR);
    is_promised(&bed.team.ready("both").await, HOUR * 5, MINUTE * 30);

    rotates_when_due(&bed, "third").await;
    let token = bed.team.token("third").await;
    assert_eq!(last_rotation_reason(&token), "BeforeExpiry");
    let end = status(&token).token.unwrap().expires_at.unwrap().0;
    assert_eq!(end.duration_since(issued_at(&token)), HOUR * 30, "the new one has a whole lifetime");
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_on_request_once_for_each() {
    let Bed { team, operator, .. } = Bed::new("request").await;
    team.declare("ci", json!({})).await;
    let first = recorded_hash(&team.ready("ci").await);
    assert!(status(&team.token("ci").await).available_actions.unwrap().rotate);

    team.request("ci", "monday").await;
    let token = team.rotated("ci", 1).await;
    assert_eq!(last_rotation_reason(&token), "Requested");
    assert_eq!(status(&token).last_rotation_request.as_deref(), Some("monday"));
    assert_ne!(recorded_hash(&token), first);
    assert!(team.note("ci", "Rotated").await.contains("Requested"));

    team.request("ci", "monday").await;
    let token = team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (1, None), "it was handled");
    team.annotate("ci", json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: null })).await;
    let token = team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (1, None), "nothing is no request");

    team.request("ci", "tuesday").await;
    team.rotated("ci", 2).await;
    holds_its_token(&team, "ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_at_the_creation_is_handled_by_the_issue() {
    let Bed { team, operator, .. } = Bed::new("created").await;
    let metadata = json!({ "name": "ci", "annotations": { names::ROTATE_REQUESTED_AT_ANNOTATION: "at the creation" } });
    team.declare_with(metadata, json!({})).await;
    team.ready("ci").await;
    let token = team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (0, None));
    assert_eq!(status(&token).last_rotation_request.as_deref(), Some("at the creation"));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_during_a_rotation_leads_to_one_more() {
    let bed = Bed::with_delay("during", LONG_DELAY).await;
    bed.team.declare("ci", json!({})).await;
    bed.team.ready("ci").await;
    bed.pass(MINUTE, "ci").await;
    bed.team.request("ci", "first").await;
    let announced = pending_hash(&bed.team.announced("ci").await);
    bed.team.request("ci", "second").await;
    assert_eq!(pending_hash(&bed.team.passed_by("ci").await), announced, "it is not begun anew");

    bed.pass(LONG_DELAY, "ci").await;
    let after_first = |token: &ApiToken| rotations(token) == 1 && pending_hash(token).is_some();
    bed.team.until("ci", "rotated, and again announced", after_first).await;
    bed.pass(LONG_DELAY, "ci").await;
    let token = bed.team.rotated("ci", 2).await;
    assert_eq!(status(&token).last_rotation_request.as_deref(), Some("second"));
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifiers_know_the_new_value_before_the_secret_shows_it() {
    let bed = Bed::with_delay("barrier", LONG_DELAY).await;
    bed.team.declare("ci", with_overlap("1h")).await;
    let old = recorded_hash(&bed.team.ready("ci").await);
    let history = History::begin(&bed.team).await;
    bed.pass(MINUTE, "ci").await;
    bed.team.request("ci", "now").await;
    let token = bed.team.announced("ci").await;
    let new = pending_hash(&token).unwrap();
    assert_eq!(recorded_hash(&token), old);
    assert_eq!(status(&token).attempts, Some(2));
    assert_eq!(state(&token), Some(ObservedState::Active));
    assert!(is_true(&token, ConditionType::Active) && is_true(&token, ConditionType::Reconciling));
    assert_eq!(reason_of(&token, ConditionType::Ready), "Progressing");

    bed.operator.advance(LONG_DELAY - MINUTE * 2).await;
    bed.team.passed_by("ci").await;
    assert_eq!(hash(&bed.team.value("ci", "token").await), old, "two minutes are left");
    bed.pass(MINUTE * 2, "ci").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(recorded_hash(&token), new);
    holds_its_token(&bed.team, "ci").await;

    history.no_value_was_refused().await;
    let moments = history.moments().await;
    let at_the_write = moments
        .iter()
        .find(|moment| moment.values_of("ci").iter().any(|value| hash(value) == new));
    let then = &at_the_write.unwrap().tokens["ci"];
    assert_eq!((recorded_hash(then), pending_hash(then)), (old, Some(new)), "Secret before status");
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifiers_get_their_time_though_the_announcement_was_slow() {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("slow").await);
    let proxy = Proxy::start(plane.anonymous().await).await;
    let client = plane.operator_by(Some(proxy.address())).await;
    let clock = TestClock::default();
    let operator = InProcess::start_with(client, &team.namespace, clock.clone(), LONG_DELAY).await;
    team.declare("ci", json!({})).await;
    let old = recorded_hash(&team.ready("ci").await);
    clock.advance(MINUTE);
    proxy.hold(Fault::at("PUT", "/apitokens/ci/status", Cut::Before));
    team.request("ci", "now").await;
    proxy.holds_the_request().await;
    clock.advance(LONG_DELAY);
    proxy.let_go();
    team.announced("ci").await;
    team.passed_by("ci").await;
    assert_eq!(hash(&team.value("ci", "token").await), old, "nobody knows the new value for long");
    clock.advance(LONG_DELAY);
    team.nudge("ci").await;
    team.rotated("ci", 1).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_value_works_until_the_overlap_ends() {
    let bed = Bed::new("overlap").await;
    bed.team.declare("ci", with_overlap("1h")).await;
    let first = bed.team.ready("ci").await;
    let first_token = status(&first).token.unwrap();
    bed.team.request("ci", "now").await;
    let token = bed.team.rotated("ci", 1).await;
    let status_now = status(&token);
    let old = &status_now.previous[0];
    assert_eq!(
        (&old.id, &old.hint, &old.hash),
        (&first_token.id, &first_token.hint, &first_token.hash)
    );
    let Time(rotated_at) = status_now.last_rotation_at.unwrap();
    assert_eq!(old.revoke_at.0.duration_since(rotated_at), HOUR);

    bed.operator.advance(HOUR - MINUTE).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(previous_hashes(&token), [recorded_hash(&first)]);
    bed.pass(MINUTE, "ci").await;
    let token = bed
        .team
        .until("ci", "the overlap is over", |token| previous_hashes(token).is_empty())
        .await;
    assert_eq!(rotations(&token), 1);
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_never_outlasts_the_old_token() {
    let bed = Bed::new("outlasts").await;
    let spec = json!({ "lifetime": "10h", "rotation": { "before": "1h", "overlap": "5h" } });
    bed.team.declare("ci", spec).await;
    let end = status(&bed.team.ready("ci").await).token.unwrap().expires_at.unwrap();
    rotates_when_due(&bed, "ci").await;
    let token = bed.team.token("ci").await;
    assert_eq!(status(&token).previous[0].revoke_at, end);
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_eight_replaced_tokens_work_and_the_one_that_ends_first_makes_room() {
    let bed = Bed::with_delay("eight", SignedDuration::ZERO).await;
    bed.team.declare("ci", with_overlap("24h")).await;
    let mut hashes = vec![recorded_hash(&bed.team.ready("ci").await)];
    for times in 1..=10 {
        bed.operator.advance(MINUTE).await;
        bed.team.request("ci", &format!("request {times}")).await;
        let token = bed.team.rotated("ci", times).await;
        let kept = hashes.len().saturating_sub(8);
        assert_eq!(previous_hashes(&token), hashes[kept..], "after {times} rotations");
        hashes.push(recorded_hash(&token));
    }
    let token = bed.team.token("ci").await;
    assert!(status(&token).previous.is_sorted_by_key(|previous| previous.revoke_at.0));
    bed.pass(HOUR * 24, "ci").await;
    bed.team
        .until("ci", "all overlaps are over", |token| previous_hashes(token).is_empty())
        .await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_leak_all_old_values_end_at_once() {
    let bed = Bed::with_delay("leak", LONG_DELAY).await;
    bed.team.declare("ci", with_overlap("24h")).await;
    let first = recorded_hash(&bed.team.ready("ci").await);
    bed.pass(MINUTE, "ci").await;
    bed.team.request("ci", "as usual").await;
    bed.team.announced("ci").await;
    bed.pass(LONG_DELAY, "ci").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(previous_hashes(&token), [first]);

    let leaked = recorded_hash(&token);
    bed.pass(MINUTE, "ci").await;
    bed.team.leaked("ci", "leaked").await;
    let token = bed.team.rotated("ci", 2).await;
    assert!(previous_hashes(&token).is_empty(), "the running overlap ends too");
    assert_ne!(recorded_hash(&token), leaked);
    let secret = bed.team.secret("ci").await.unwrap();
    assert_eq!(secret.annotations().get(names::ENDED_ANNOTATION), Some(&leaked));
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_during_a_rotation_leads_to_one_more_and_ends_all_before_it() {
    let bed = Bed::with_delay("leak-during", LONG_DELAY).await;
    bed.team.declare("ci", with_overlap("24h")).await;
    let first = recorded_hash(&bed.team.ready("ci").await);
    bed.pass(MINUTE, "ci").await;
    bed.team.request("ci", "as usual").await;
    let second = pending_hash(&bed.team.announced("ci").await).unwrap();
    bed.team.leaked("ci", "leaked").await;
    bed.pass(LONG_DELAY, "ci").await;
    let token = bed.team.rotated("ci", 2).await;
    assert!(previous_hashes(&token).is_empty());
    assert!(![first, second].contains(&recorded_hash(&token)));
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_that_is_told_later_ends_the_running_overlap() {
    let bed = Bed::new("later").await;
    bed.team
        .declare("ci", json!({ "rotation": { "interval": "10h", "overlap": "5h" } }))
        .await;
    bed.team.ready("ci").await;
    bed.team.request("ci", "now").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(previous_hashes(&token).len(), 1);
    bed.team.annotate("ci", json!({ names::ROTATE_OVERLAP_ANNOTATION: "0s" })).await;
    bed.team
        .until("ci", "the overlap is over", |token| previous_hashes(token).is_empty())
        .await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (1, None), "one leak, one rotation");

    rotates_when_due(&bed, "ci").await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(previous_hashes(&token).len(), 1, "what is scheduled has its declared overlap again");
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_shows_the_previous_value_while_the_overlap_runs() {
    let bed = Bed::new("shown").await;
    let spec = json!({
        "rotation": { "interval": "240h", "overlap": "1h" },
        "secret": { "includePrevious": true, "template": { "BOTH": "{{ token }},{{ previousToken }}" } },
    });
    bed.team.declare("ci", spec).await;
    bed.team.ready("ci").await;
    let old = bed.team.value("ci", "token").await;
    assert!(!has_previous(&bed.team).await);
    assert_eq!(bed.team.value("ci", "BOTH").await, format!("{old},"));

    let history = History::begin(&bed.team).await;
    bed.team.request("ci", "now").await;
    bed.team.rotated("ci", 1).await;
    let new = bed.team.value("ci", "token").await;
    assert_eq!(bed.team.value("ci", names::PREVIOUS_TOKEN_KEY).await, old);
    assert_eq!(bed.team.value("ci", "BOTH").await, format!("{new},{old}"));
    let shows_both = |secret: &Secret| {
        secret
            .data
            .as_ref()
            .is_some_and(|data| data.contains_key(names::PREVIOUS_TOKEN_KEY))
    };
    let moments = history.moments().await;
    let with_new = moments.iter().filter(|moment| moment.values_of("ci").contains(&new));
    assert!(with_new.clone().count() > 0);
    assert!(
        with_new.map(|moment| &moment.secrets["ci"]).all(shows_both),
        "from the first write on"
    );

    bed.pass(HOUR, "ci").await;
    eventually("the previous value is gone", || async {
        (!has_previous(&bed.team).await).then_some(())
    })
    .await;
    assert_eq!(bed.team.value("ci", "BOTH").await, format!("{new},"));
    bed.team.ready("ci").await;
    bed.operator.stop().await;
}

async fn has_previous(team: &Team) -> bool {
    let data = team.secret("ci").await.and_then(|secret| secret.data).unwrap_or_default();
    data.contains_key(names::PREVIOUS_TOKEN_KEY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_previous_value_goes_from_the_secret_when_it_is_not_wanted_any_more_or_leaked() {
    let Bed { team, operator, .. } = Bed::new("hidden").await;
    let spec = json!({ "rotation": { "interval": "240h", "overlap": "1h" }, "secret": { "includePrevious": true } });
    team.declare("ci", spec).await;
    team.ready("ci").await;
    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
    assert!(has_previous(&team).await);
    team.change("ci", json!({ "spec": { "secret": { "includePrevious": false } } }))
        .await;
    let token = team.ready("ci").await;
    assert!(!has_previous(&team).await);
    assert_eq!(previous_hashes(&token).len(), 1, "it works all the same");

    team.change("ci", json!({ "spec": { "secret": { "includePrevious": true } } }))
        .await;
    team.request("ci", "again").await;
    team.rotated("ci", 2).await;
    assert!(has_previous(&team).await);
    team.leaked("ci", "leaked").await;
    team.rotated("ci", 3).await;
    assert!(!has_previous(&team).await);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_token_that_nobody_uses_any_more_ends_early() {
    let bed = Bed::new("unused").await;
    let spec = json!({ "rotation": { "interval": "240h", "overlap": "24h", "retireWhenUnusedFor": "1h" } });
    bed.team.declare("ci", spec).await;
    bed.team.ready("ci").await;
    bed.team.request("ci", "now").await;
    bed.team.rotated("ci", 1).await;

    bed.operator.advance(HOUR * 2).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(
        previous_hashes(&token).len(),
        1,
        "that nothing is known of its use does not mean that it is not used"
    );

    let mut previous = status(&token).previous;
    previous[0].last_used_at = Some(Time(bed.operator.clock.now()));
    bed.team.change_status("ci", json!({ "previous": previous })).await;
    bed.operator.advance(HOUR - MINUTE).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(previous_hashes(&token).len(), 1, "it was used less than an hour ago");
    bed.pass(MINUTE, "ci").await;
    let token = bed
        .team
        .until("ci", "it ends early", |token| previous_hashes(token).is_empty())
        .await;
    assert_eq!(rotations(&token), 1);
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_token_that_was_long_unused_gets_its_time_all_the_same() {
    let bed = Bed::new("long-unused").await;
    let spec = json!({ "rotation": { "interval": "240h", "overlap": "24h", "retireWhenUnusedFor": "1h" } });
    bed.team.declare("ci", spec).await;
    let token = bed.team.ready("ci").await;
    let used_at = Time(issued_at(&token));
    bed.team.change_status("ci", json!({ "token": { "lastUsedAt": used_at } })).await;
    bed.pass(HOUR * 5, "ci").await;
    bed.team.request("ci", "now").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(status(&token).previous[0].last_used_at, Some(used_at));
    assert_eq!(status(&token).token.unwrap().last_used_at, None, "the new one was not used yet");

    bed.operator.advance(HOUR - MINUTE).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(previous_hashes(&token).len(), 1, "an hour from the rotation on");
    bed.pass(MINUTE, "ci").await;
    bed.team
        .until("ci", "it ends early", |token| previous_hashes(token).is_empty())
        .await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_done_once() {
    let bed = Bed::new("missed").await;
    bed.team.declare("ci", json!({ "rotation": { "interval": "10h" } })).await;
    bed.team.ready("ci").await;
    let bed = bed.restarted_after(HOUR * 100).await;
    bed.team.rotated("ci", 1).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (1, None));
    assert!(next_rotation(&token) > bed.operator.clock.now());
    is_promised(&token, HOUR * 10, HOUR);
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_token_is_rotated_when_it_is_activated() {
    let bed = Bed::new("suspended").await;
    bed.team.declare("ci", json!({ "rotation": { "interval": "10h" } })).await;
    let hash = recorded_hash(&bed.team.ready("ci").await);
    bed.team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    bed.team.ready("ci").await;
    bed.operator.advance(HOUR * 11).await;
    bed.team.request("ci", "while it is suspended").await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!((rotations(&token), pending_hash(&token)), (0, None));
    assert_eq!(recorded_hash(&token), hash);

    bed.team.change("ci", json!({ "spec": { "state": "Active" } })).await;
    bed.team.rotated("ci", 1).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(
        (rotations(&token), pending_hash(&token)),
        (1, None),
        "both were due, one was enough"
    );
    assert_eq!(status(&token).last_rotation_request.as_deref(), Some("while it is suspended"));
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_goes_on_and_ends_while_the_token_is_suspended() {
    let bed = Bed::new("overlap-suspended").await;
    bed.team.declare("ci", with_overlap("1h")).await;
    bed.team.ready("ci").await;
    bed.team.request("ci", "now").await;
    bed.team.rotated("ci", 1).await;
    bed.team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    let token = bed.team.ready("ci").await;
    assert_eq!(
        previous_hashes(&token).len(),
        1,
        "it works again when the token is activated in time"
    );
    bed.pass(HOUR, "ci").await;
    bed.team
        .until("ci", "the overlap is over", |token| previous_hashes(token).is_empty())
        .await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_were_made_together_do_not_rotate_together() {
    let Bed { team, operator, .. } = Bed::new("together").await;
    let names: Vec<String> = (0..30).map(|number| format!("ci-{number}")).collect();
    let spec = json!({ "rotation": { "interval": "10h" } });
    join_all(names.iter().map(|name| team.declare(name, spec.clone()))).await;
    let tokens = join_all(names.iter().map(|name| team.ready(name))).await;
    let mut times: Vec<Timestamp> = tokens.iter().map(next_rotation).collect();
    times.sort();
    times.dedup();
    assert!(times.len() >= 25, "{} times for 30 tokens", times.len());
    assert!(
        times[times.len() - 1].duration_since(times[0]) > MINUTE * 30,
        "they are spread over the hour"
    );
    tokens.iter().for_each(|token| is_promised(token, HOUR * 10, HOUR));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_that_is_too_short_for_mounted_secrets_is_said() {
    let bed = Bed::new("short").await;
    for (name, overlap) in [("short", "30s"), ("long", "1h")] {
        let spec = json!({ "rotation": { "interval": "10h", "overlap": overlap } });
        bed.team.declare(name, spec).await;
        bed.team.ready(name).await;
    }
    bed.operator.advance(HOUR * 10).await;
    for (name, is_said) in [("short", true), ("long", false)] {
        bed.team.nudge(name).await;
        bed.team.rotated(name, 1).await;
        let note = bed.team.note(name, "Rotated").await;
        assert_eq!(note.contains("short"), is_said, "{note}");
    }
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_that_is_mistyped_is_said_and_can_be_put_right() {
    let Bed { team, operator, .. } = Bed::new("mistyped").await;
    team.declare("ci", with_overlap("1h")).await;
    let old = recorded_hash(&team.ready("ci").await);
    let mistyped = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: "now", names::ROTATE_OVERLAP_ANNOTATION: "0sec" });
    team.annotate("ci", mistyped).await;
    let token = team.rotated("ci", 1).await;
    assert_eq!(previous_hashes(&token), [old], "the declared overlap runs");
    let note = team.note("ci", "OverlapInvalid").await;
    assert!(
        note.contains("\"0sec\"") && note.contains("(1h)") && note.contains("write 0s"),
        "{note}"
    );
    team.passed_by("ci").await;
    assert_eq!(team.times_told("ci", "OverlapInvalid").await, 1);

    team.annotate("ci", json!({ names::ROTATE_OVERLAP_ANNOTATION: "0s" })).await;
    let ended = |token: &ApiToken| status(token).previous.is_empty();
    let token = team.until("ci", "what the message says ends the old value", ended).await;
    assert_eq!(rotations(&token), 1);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_lost_during_an_overlap_is_made_again_with_the_overlap() {
    let bed = Bed::new("lost").await;
    let spec = json!({ "rotation": { "interval": "240h", "overlap": "1h" }, "secret": { "includePrevious": true } });
    bed.team.declare("ci", spec).await;
    let first = recorded_hash(&bed.team.ready("ci").await);
    bed.team.request("ci", "now").await;
    let second = recorded_hash(&bed.team.rotated("ci", 1).await);
    bed.team.delete::<Secret>("ci").await;
    let token = bed.team.rotated("ci", 2).await;
    assert_eq!(last_rotation_reason(&token), "SecretMissing");
    assert_eq!(previous_hashes(&token), [first, second], "who read them may go on for the overlap");
    assert!(!has_previous(&bed.team).await, "the old value went with the Secret");
    holds_its_token(&bed.team, "ci").await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_in_place_rotates_nothing() {
    let Bed { team, operator, .. } = Bed::new("in-place").await;
    team.issuer("own", json!({ "builtin": {}, "policy": { "allowedAccounts": ["*"] } }))
        .await;
    let issuer = json!({ "kind": "TokenIssuer", "name": "own" });
    team.declare("ci", json!({ "issuerRef": issuer, "lifetime": "10h" })).await;
    let hash = recorded_hash(&team.ready("ci").await);
    for change in [
        json!({ "scopes": ["orders:read"] }),
        json!({ "audiences": ["shop"] }),
        json!({ "displayName": "CI pipeline" }),
        json!({ "account": "sa::ci" }),
        json!({ "lifetime": "20h" }),
        json!({ "rotation": { "overlap": "1h" } }),
    ] {
        team.change("ci", json!({ "spec": change })).await;
        team.ready("ci").await;
    }
    let token = team.looked_at("ci").await;
    assert_eq!((rotations(&token), recorded_hash(&token)), (0, hash));
    let record = status(&token).token.unwrap();
    assert_eq!(record.account.as_deref(), Some("sa::ci"));
    assert_eq!(record.name.as_deref(), Some("CI pipeline"));
    assert_eq!(record.expires_at.unwrap().0.duration_since(record.issued_at.unwrap().0), HOUR * 20);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_that_a_verifier_records_stays_and_causes_no_write() {
    let bed = Bed::new("used").await;
    bed.team.declare("ci", with_overlap("1h")).await;
    bed.team.ready("ci").await;
    bed.team.request("ci", "now").await;
    let token = bed.team.rotated("ci", 1).await;
    let used_at = Time(status(&token).last_rotation_at.unwrap().0 + SECOND);
    let mut previous = status(&token).previous;
    previous[0].last_used_at = Some(used_at.clone());
    let since = bed.plane.audit().now();
    bed.team
        .change_status("ci", json!({ "token": { "lastUsedAt": used_at }, "previous": previous }))
        .await;
    let token = bed.team.passed_by("ci").await;
    assert_eq!(status(&token).token.unwrap().last_used_at, Some(used_at));
    assert_eq!(status(&token).previous, previous);
    bed.operator.stop().await;
    let writes = bed.plane.audit().writes(OPERATOR_USER, since);
    let about_ci = writes
        .iter()
        .filter(|write| write.namespace == bed.team.namespace && write.name == "ci");
    assert_eq!(about_ci.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_at_rest_is_not_written() {
    let bed = Bed::new("at-rest").await;
    bed.team.declare("ci", with_overlap("1h")).await;
    bed.team.ready("ci").await;
    bed.team.request("ci", "now").await;
    bed.team.rotated("ci", 1).await;
    let since = bed.plane.audit().now();
    let bed = bed.restarted_after(SECOND).await;
    for _ in 0..3 {
        bed.pass(MINUTE, "ci").await;
    }
    bed.team.looked_at("ci").await;
    bed.operator.stop().await;
    let writes = bed.plane.audit().writes(OPERATOR_USER, since);
    // The Event of the rotation may still have been on its way.
    let ours: Vec<_> = writes
        .iter()
        .filter(|write| write.namespace == bed.team.namespace && write.resource != "events")
        .collect();
    assert_eq!(ours.len(), 1, "the new generation, and nothing before it: {ours:?}");
}
