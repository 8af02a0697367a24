//! The right to the Lease, which only an election needs: without it nobody works, and each replica says why.

use super::*;
use crate::support::remote::for_each;

/// What the chart gives.
const VERBS: [&str; 3] = ["get", "create", "update"];

fn without(missing: &str) -> String {
    let others: Vec<&str> = VERBS.into_iter().filter(|verb| *verb != missing).collect();
    others.join(",")
}

fn words(missing: &str) -> String {
    format!("cannot {missing} resource \"leases\"")
}

#[test]
fn the_chart_gives_the_rights_that_are_tried_here() {
    let role = ["get", "role", OPERATOR_ACCOUNT, "-n", OPERATOR_NAMESPACE, "-o"];
    let verbs = r#"jsonpath={.rules[?(@.resources[0]=="leases")].verbs}"#;
    let given = control_plane::shared().kubectl(&[&role[..], &[verbs]].concat());
    assert_eq!(serde_json::from_str::<Vec<String>>(&given).unwrap(), VERBS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_right_to_the_lease_it_stands_by_says_so_and_works_once_it_has_it() {
    for_each(VERBS, async |missing| {
        let ground = Ground::with_rights(control_plane::shared(), "lease-rights", &without(missing)).await;
        if missing == "update" {
            // One that was given back: there is nothing to create.
            let lease = serde_json::from_value(json!({ "metadata": { "name": LEASE }, "spec": {} })).unwrap();
            ground.team.api::<Lease>().create(&Default::default(), &lease).await.unwrap();
        }
        let since = ground.plane.audit().now();
        let replica = ground.replica().await;
        ground.declare("ci").await;
        eventually(&format!("it says that it can't {missing}"), || async {
            replica.log().contains(&words(missing)).then_some(())
        })
        .await;
        assert!(
            replica.log().contains("the Lease apitoken-operator-controller can't be taken"),
            "{}",
            replica.log()
        );
        assert!(replica.is_ready().await && !leads(&replica).await, "{missing}: {}", replica.log());
        assert_eq!(ground.done(since), (0, 0), "{missing}");

        let patch = json!([{ "op": "add", "path": "/rules/0/verbs/-", "value": missing }]).to_string();
        let role = ["patch", "role", "lease", "-n", &ground.team.namespace, "--type=json", "-p", &patch];
        ground.plane.kubectl(&role);
        until_it_leads(&replica).await;
        ground.team.ready("ci").await;
        assert!(replica.terminate().await.0.success());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_made_the_lease_and_may_not_renew_it_ends_before_another_may_take_it() {
    let ground = Ground::with_rights(control_plane::shared(), "lease-once", &without("update")).await;
    let mut replica = ground.replica().await;
    let ended = replica.wait().await;
    assert_eq!(ended.code(), Some(1), "{}", replica.log());
    let log = replica.log();
    assert!(log.contains(&words("update")) && log.contains("the Lease was lost"), "{log}");

    // Started again, it waits until that Lease is over, and says what it lacks.
    let next = ground.replica().await;
    eventually("it says that it can't take the Lease", || async {
        next.log().contains(&words("update")).then_some(())
    })
    .await;
    assert!(!leads(&next).await, "{}", next.log());
}
