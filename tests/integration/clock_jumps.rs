//! The clock of the operator's machine jumps a year ahead, and back again.

use apitoken_operator::api::api_token::ObservedState;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    issuer::PLAIN,
    remote::Remote,
    tokens::{previous_hashes, recorded_hash, rotations, state},
};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Longer than verifiers get to learn of a value.
const A_WHILE: SignedDuration = SignedDuration::from_secs(5);

fn rotates() -> Value {
    json!({ "rotation": { "interval": "240h", "overlap": "24h" } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_a_year_and_back_rotates_once_and_ends_nothing_that_has_no_end() {
    let bed = Bed::new("jump").await;
    let team = &bed.team;
    for (name, spec) in [
        ("endless", json!({})),
        ("rotates", rotates()),
        ("ends", json!({ "lifetime": "720h" })),
    ] {
        team.declare(name, spec).await;
        team.ready(name).await;
    }
    let endless = recorded_hash(&team.token("endless").await);

    bed.operator.advance(YEAR).await;
    team.nudge("rotates").await;
    team.announced("rotates").await;
    bed.pass(A_WHILE, "rotates").await;
    let ahead = team.rotated("rotates", 1).await;
    team.nudge("ends").await;
    team.reason("ends", "Expired").await;
    assert_eq!(recorded_hash(&team.looked_at("endless").await), endless);

    bed.operator.advance(-YEAR).await;
    let back = team.looked_at("rotates").await;
    assert_eq!((rotations(&back), recorded_hash(&back)), (1, recorded_hash(&ahead)), "not twice");
    assert_eq!(previous_hashes(&back), previous_hashes(&ahead), "the old value has its overlap");
    let plain = team.looked_at("endless").await;
    assert_eq!((recorded_hash(&plain), state(&plain)), (endless, Some(ObservedState::Active)));
    // Its end is to come again.
    team.nudge("ends").await;
    bed.pass(A_WHILE, "ends").await;
    bed.pass(A_WHILE, "ends").await;
    let lives = team.ready("ends").await;
    assert_eq!(state(&lives), Some(ObservedState::Active));

    // A leak can be told at once, though the token seems to be of the next year.
    team.leaked("rotates", "leaked").await;
    let healed = team.rotated("rotates", 2).await;
    assert_ne!(recorded_hash(&healed), recorded_hash(&ahead));
    assert_eq!(previous_hashes(&healed), Vec::<String>::new());
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_vendor_a_jump_of_a_year_and_back_makes_one_more_token_and_ends_the_one_before() {
    let remote = Remote::issued("jump-vendor", PLAIN, json!({ "rotation": { "interval": "240h" } })).await;
    remote.later(YEAR).await;
    let ahead = remote.rotated(1).await;
    remote.later(-YEAR).await;
    let back = remote.team.looked_at("ci").await;
    assert_eq!((rotations(&back), recorded_hash(&back)), (1, recorded_hash(&ahead)), "not twice");
    remote.is_whole().await;

    remote.ask_for_rotation("leaked").await;
    remote.rotated(2).await;
}
