//! The Secret of a token is kept as declared, and nobody else's is touched.

use apitoken_operator::api::{ApiToken, names};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::support::{
    Bed,
    control_plane::OPERATOR_USER,
    eventually,
    tokens::{hash, recorded_hash, rotations},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_drifts_is_put_back_and_what_is_foreign_stays() {
    let Bed { team, operator, .. } = Bed::new("drift").await;
    team.declare(
        "ci",
        json!({ "secret": { "template": { "URL": "https://x:{{ token }}@example.com" }, "labels": { "team": "shop" } } }),
    )
    .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;

    let patch = json!({
        "metadata": { "labels": { "team": null, "theirs": "x", names::MANAGED_BY_LABEL: "Somebody" } },
        "stringData": { "URL": "http://evil.example.com", "theirs": "x" },
    });
    team.change_secret("ci", patch).await;
    let url = format!("https://x:{value}@example.com");
    eventually("the Secret is put back", || async {
        (team.value("ci", "URL").await == url).then_some(())
    })
    .await;

    let secret = team.secret("ci").await.unwrap();
    assert_eq!(secret.labels().get("team").map(String::as_str), Some("shop"));
    assert_eq!(
        secret.labels().get(names::MANAGED_BY_LABEL).map(String::as_str),
        Some(names::MANAGER)
    );
    team.change_secret("ci", json!({ "metadata": { "ownerReferences": null } })).await;
    eventually("the owner is put back", || async {
        (team.secret("ci").await?.owner_references().len() == 1).then_some(())
    })
    .await;
    assert_eq!(
        secret.labels().get("theirs").map(String::as_str),
        Some("x"),
        "a foreign label survives"
    );
    assert_eq!(team.value("ci", "theirs").await, "x", "a foreign key survives");
    assert_eq!(team.value("ci", "token").await, value, "the value is not issued anew");
    eventually("it is told", || async {
        team.events("ci").await.contains(&"SecretUpdated".to_owned()).then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_change_alone_is_read_and_causes_no_write() {
    let Bed { plane, team, operator } = Bed::new("foreign-change").await;
    team.declare("ci", json!({})).await;
    team.declare("witness", json!({})).await;
    team.ready("ci").await;
    team.ready("witness").await;
    team.note("ci", "Issued").await;
    let since = plane.audit().now();
    team.change_secret("ci", json!({ "metadata": { "labels": { "theirs": "x" } } }))
        .await;
    // What was asked for later is done: what was asked for before is done too.
    team.change("witness", json!({ "spec": { "state": "Suspended" } })).await;
    team.ready("witness").await;
    team.nudge("ci").await;
    team.change("witness", json!({ "spec": { "state": "Active" } })).await;
    team.ready("witness").await;
    let writes = plane.audit().writes(OPERATOR_USER, since);
    let about_ci = writes
        .iter()
        .filter(|write| write.namespace == team.namespace && write.name.split('.').next() == Some("ci"));
    assert_eq!(about_ci.count(), 0, "{writes:?}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_secret_is_issued_anew_and_recorded_as_a_rotation() {
    let Bed { team, operator, .. } = Bed::new("deleted").await;
    team.declare("ci", json!({})).await;
    let before = recorded_hash(&team.ready("ci").await);
    team.delete::<Secret>("ci").await;
    let token = team.until("ci", "rotated", |token| rotations(token) == 1).await;
    assert_ne!(recorded_hash(&token), before);
    assert_eq!(recorded_hash(&token), hash(&team.value("ci", "token").await));
    assert_eq!(token.status.as_ref().unwrap().attempts, Some(2));
    eventually("it is told", || async {
        team.events("ci").await.contains(&"Rotated".to_owned()).then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_no_longer_fits_the_hash_is_issued_anew() {
    let Bed { team, operator, .. } = Bed::new("tampered").await;
    team.declare("ci", json!({})).await;
    let before = recorded_hash(&team.ready("ci").await);
    let forged = "forged-by-somebody-with-rights-on-secrets";
    let patch = json!({ "metadata": { "annotations": { names::HASH_ANNOTATION: hash(forged) } }, "stringData": { "token": forged } });
    team.change_secret("ci", patch).await;
    let token = team.until("ci", "rotated", |token| rotations(token) == 1).await;
    assert!(
        recorded_hash(&token) != before && recorded_hash(&token) != hash(forged),
        "a forged hash is not believed"
    );
    assert_eq!(recorded_hash(&token), hash(&team.value("ci", "token").await));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_secret_is_never_touched_and_its_end_heals() {
    let Bed { team, operator, .. } = Bed::new("foreign").await;
    let theirs = team.foreign_secret("ci").await;
    team.declare("ci", json!({})).await;
    team.reason("ci", "SecretConflict").await;
    assert_eq!(team.secret("ci").await.unwrap(), theirs, "not a byte of it changed");
    team.delete::<Secret>("ci").await;
    team.nudge("ci").await;
    team.ready("ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_tokens_on_one_secret_the_holder_keeps_it() {
    let Bed { team, operator, .. } = Bed::new("two").await;
    let spec = json!({ "secret": { "name": "shared" } });
    team.declare("first", spec.clone()).await;
    team.ready("first").await;
    let value = team.value("shared", "token").await;
    team.declare("second", spec).await;
    team.reason("second", "SecretConflict").await;
    assert_eq!(team.value("shared", "token").await, value);
    team.ready("first").await;

    team.delete::<ApiToken>("first").await;
    team.ready("second").await;
    assert_ne!(team.value("shared", "token").await, value);

    team.declare("shared", json!({})).await;
    team.reason("shared", "SecretConflict").await;
    team.delete::<ApiToken>("second").await;
    team.ready("shared").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retained_secret_outlives_its_token_and_is_taken_up_again() {
    let Bed { team, operator, .. } = Bed::new("retained").await;
    let spec = json!({ "secret": { "deletionPolicy": "Retain" } });
    team.declare("ci", spec.clone()).await;
    team.declare("goes", json!({})).await;
    team.ready("ci").await;
    team.ready("goes").await;
    let value = team.value("ci", "token").await;
    team.delete::<ApiToken>("ci").await;
    team.delete::<ApiToken>("goes").await;
    eventually("the Secret goes with its token", || async {
        team.secret("goes").await.is_none().then_some(())
    })
    .await;
    assert_eq!(team.value("ci", "token").await, value);

    team.declare("ci", spec).await;
    let token = team.ready("ci").await;
    assert_eq!(
        (team.value("ci", "token").await, recorded_hash(&token)),
        (value.clone(), hash(&value))
    );
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_value_is_not_taken_up_by_another_token() {
    let Bed { team, operator, .. } = Bed::new("stolen").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let mut copy = team.secret("ci").await.unwrap();
    copy.metadata = Default::default();
    copy.metadata.name = Some("thief".into());
    copy.metadata.labels = Some([(names::MANAGED_BY_LABEL.to_owned(), names::MANAGER.to_owned())].into());
    copy.metadata.annotations = Some(
        [
            (names::API_TOKEN_ANNOTATION.to_owned(), "thief".to_owned()),
            (names::HASH_ANNOTATION.to_owned(), hash(&value)),
            (names::ISSUED_AT_ANNOTATION.to_owned(), "2026-01-01T00:00:00Z".to_owned()),
        ]
        .into(),
    );
    team.api::<Secret>().create(&Default::default(), &copy).await.unwrap();
    team.declare("thief", json!({})).await;
    let token = team.ready("thief").await;
    assert_ne!(recorded_hash(&token), hash(&value));
    assert_ne!(team.value("thief", "token").await, value);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_moves_the_value_and_a_dropped_template_goes() {
    let Bed { team, operator, .. } = Bed::new("keys").await;
    team.declare("ci", json!({ "secret": { "template": { "OLD": "{{ token }}" } } }))
        .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    team.change("ci", json!({ "spec": { "secret": { "key": "password", "template": null } } }))
        .await;
    team.ready("ci").await;
    let secret = team.secret("ci").await.unwrap();
    let keys: Vec<String> = secret.data.unwrap_or_default().into_keys().collect();
    assert_eq!(keys, ["password"], "no copy of the value stays behind");
    assert_eq!(team.value("ci", "password").await, value, "nothing was issued anew");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_writer_of_other_fields_is_not_fought_with() {
    let Bed { plane, team, operator } = Bed::new("ssa").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let since = plane.audit().now();
    let theirs = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "annotations": { "example.com/theirs": "x" } }, "data": { "theirs": "eA==" } });
    for _ in 0..3 {
        team.api::<Secret>()
            .patch("ci", &PatchParams::apply("somebody"), &Patch::Apply(&theirs))
            .await
            .unwrap();
    }
    team.change("ci", json!({ "spec": { "secret": { "labels": { "team": "shop" } } } }))
        .await;
    team.ready("ci").await;
    let writes = plane.audit().writes(OPERATOR_USER, since);
    let of_secret = writes
        .iter()
        .filter(|write| write.namespace == team.namespace && write.resource == "secrets");
    assert_eq!(of_secret.count(), 1, "one for the label that was declared");
    assert_eq!(team.value("ci", "theirs").await, "x");
    operator.stop().await;
}
