//! Two hundred tokens on a control plane of their own: what they cost, and that no value shows.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;

use crate::support::{
    control_plane::{ControlPlane, OPERATOR_USER},
    eventually,
    operator::Program,
    tokens::Team,
};

const TOKENS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tokens_cost_what_they_must_and_show_no_value() {
    let plane = ControlPlane::with_chart("two-hundred");
    let team = Team::new(plane.admin().await, &plane.namespace("shop").await);
    let program = Program::start(&plane, &["--log-level=trace"]).await;
    let since = plane.audit().now();
    // From the beginning: the default issuer may be made before the program is ready.
    let start = Default::default();
    join_all((0..TOKENS).map(|number| {
        let team = team.clone();
        async move { team.declare(&format!("token-{number}"), json!({})).await }
    }))
    .await;
    plane.until_all_ready(&team.namespace, "120s");
    eventually("all Events are there", || async {
        (plane.audit().counts(OPERATOR_USER, since).get("create events") == Some(&TOKENS)).then_some(())
    })
    .await;

    let expected: BTreeMap<String, usize> = [
        ("create secrets", TOKENS),
        ("update apitokens/status", TOKENS),
        ("create events", TOKENS),
        ("create clustertokenissuers", 1),
        ("patch clustertokenissuers", 1),
        ("update clustertokenissuers/status", 1),
    ]
    .map(|(write, count)| (write.to_owned(), count))
    .into();
    assert_eq!(plane.audit().counts(OPERATOR_USER, start), expected);

    no_value_shows(&plane, &team, &program).await;
    let (status, _) = program.terminate().await;
    assert!(status.success());
    a_restart_writes_nothing(&plane).await;
    plane.stop();
}

async fn a_restart_writes_nothing(plane: &ControlPlane) {
    let since = plane.audit().now();
    let program = Program::start(plane, &[]).await;
    program.passed(TOKENS).await;
    let (status, _) = program.terminate().await;
    assert!(status.success());
    assert_eq!(plane.audit().counts(OPERATOR_USER, since), BTreeMap::new());
}

/// Looks for every value wherever somebody else could read it.
async fn no_value_shows(plane: &ControlPlane, team: &Team, program: &Program) {
    let mut values = Vec::new();
    for number in 0..TOKENS {
        values.push(team.value(&format!("token-{number}"), "token").await);
    }
    assert!(values.iter().all(|value| value.len() == 53), "the values are known");

    let mut places = vec![
        ("log".to_owned(), program.log()),
        ("metrics".to_owned(), program.get("/metrics").await.unwrap()),
        (
            "audit log".to_owned(),
            std::fs::read_to_string(plane.dir().join("audit.log")).unwrap(),
        ),
    ];
    for file in ["environ", "cmdline"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", program.pid())).unwrap();
        places.push((file.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    for kind in listable_kinds(plane).into_iter().filter(|kind| kind != "secrets") {
        places.push((kind.clone(), plane.kubectl(&["get", &kind, "--all-namespaces", "-o", "json"])));
    }
    places.push(("metadata of Secrets".to_owned(), secrets_without_data(plane)));
    assert!(
        places.len() > 20 && places.iter().filter(|(_, text)| text.contains("token-7")).count() >= 4,
        "the places are the right ones"
    );
    assert_eq!(found(&places, &values), Vec::<String>::new());

    let planted = values.last().unwrap();
    plane.kubectl(&[
        "create",
        "configmap",
        "planted",
        "-n",
        &team.namespace,
        &format!("--from-literal=x={planted}"),
    ]);
    let places = [("configmaps".to_owned(), plane.kubectl(&["get", "configmaps", "-A", "-o", "json"]))];
    assert_eq!(found(&places, &values), ["configmaps"], "a value planted on purpose is found");
}

/// The places that hold a value, in plain or in base64: any run of 20 characters of its random part.
fn found(places: &[(String, String)], values: &[String]) -> Vec<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let needles: Vec<String> = values
        .iter()
        .flat_map(|value| [value[4..24].to_owned(), BASE64_STANDARD.encode(value)[..24].to_owned()])
        .collect();
    let holds = |text: &str| needles.iter().any(|needle| text.contains(needle));
    places
        .iter()
        .filter(|(_, text)| holds(text))
        .map(|(place, _)| place.clone())
        .collect()
}

fn listable_kinds(plane: &ControlPlane) -> Vec<String> {
    let kinds = plane.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    kinds.lines().map(str::to_owned).collect()
}

fn secrets_without_data(plane: &ControlPlane) -> String {
    let secrets = plane.kubectl(&["get", "secrets", "--all-namespaces", "-o", "json"]);
    let mut secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    for secret in secrets["items"].as_array_mut().unwrap() {
        secret.as_object_mut().unwrap().remove("data");
    }
    secrets.to_string()
}
