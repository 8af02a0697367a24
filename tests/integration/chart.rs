//! The chart, by the real Helm on a real API server.

use serde_json::{Value, json};

use crate::support::{
    control_plane::{ControlPlane, OPERATOR_NAMESPACE, shared, source},
    operator::Program,
    tokens::Team,
};

/// Everything that the chart can add for the verifier.
const ALL_ON: [&str; 6] = [
    "tracing.otlpEndpoint=http://collector.example.com:4318",
    "verifier.tls.secretName=certificate",
    "verifier.denyWhenStale=5m",
    "verifier.autoscaling.enabled=true",
    "verifier.networkPolicy.enabled=true",
    "verifier.networkPolicy.from[0].podSelector.matchLabels.team=shop",
];

/// All that the mode for one namespace needs.
pub const SINGLE: [&str; 6] = [
    "singleNamespace=true",
    "clusterID=0f4c2a9e-5b1d-4c07-9a51-2f8e6d3b7c10",
    "crds.enabled=false",
    "admissionPolicy.enabled=false",
    "verifier.lastUse.enabled=false",
    "verifier.introspection.auth=none",
];

/// Where the chart is.
pub fn chart() -> String {
    source().join("charts/apitoken-operator").to_str().unwrap().to_owned()
}

/// What Helm makes of the chart with these values, without the CRDs.
fn manifests(namespace: &str, values: &[&str]) -> String {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "apitoken-operator",
        &chart,
        "-n",
        namespace,
        "--set",
        "crds.enabled=false",
    ];
    arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
    shared().helm(&arguments)
}

/// The objects of the chart with these values.
pub fn rendered(values: &[&str]) -> Vec<Value> {
    rendered_in("default", values)
}

/// The same in that namespace.
pub fn rendered_in(namespace: &str, values: &[&str]) -> Vec<Value> {
    objects(&manifests(namespace, values))
}

/// The objects in what Helm printed.
pub fn objects(documents: &str) -> Vec<Value> {
    let objects = documents.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap());
    objects.filter(|object: &Value| object.is_object()).collect()
}

/// The object of that kind that belongs to one of the programs.
fn object<'a>(objects: &'a [Value], kind: &str, program: &str) -> &'a Value {
    let name = format!("apitoken-operator-{program}");
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name.as_str());
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The container of one of the programs.
pub fn container(objects: &[Value], program: &str) -> Value {
    object(objects, "Deployment", program)["spec"]["template"]["spec"]["containers"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_installs_on_an_empty_cluster_upgrades_and_keeps_tokens_when_it_goes() {
    let plane = ControlPlane::with_chart("chart");
    let program = Program::start(&plane, &[]).await;
    let team = Team::new(plane.admin().await, &plane.namespace("chart").await);
    team.declare("ci", json!({})).await;
    let value = {
        team.ready("ci").await;
        team.value("ci", "token").await
    };
    plane.helm(&[
        "upgrade",
        "apitoken-operator",
        &chart(),
        "-n",
        OPERATOR_NAMESPACE,
        "--set",
        "log.level=debug",
    ]);
    plane.helm(&["uninstall", "apitoken-operator", "-n", OPERATOR_NAMESPACE]);
    assert_eq!(
        team.value("ci", "token").await,
        value,
        "the CRDs are kept, and the tokens with them"
    );
    drop(program);

    plane.install_chart();
    let program = Program::start(&plane, &[]).await;
    team.change("ci", json!({ "spec": { "secret": { "labels": { "team": "shop" } } } }))
        .await;
    team.ready("ci").await;
    assert_eq!(team.value("ci", "token").await, value);
    drop(program);
    plane.stop();
}

#[test]
fn its_arguments_are_those_that_the_programs_take() {
    for program in ["controller", "verifier"] {
        let help = Program::command().args([program, "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for values in [&ALL_ON[..], &SINGLE, &["watchNamespaces={shop,crew}"]] {
            let container = container(&rendered(values), program);
            let arguments: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
            assert_eq!(arguments[0], program);
            for argument in &arguments[1..] {
                let flag = argument.split('=').next().unwrap();
                assert!(help.contains(flag), "{program} has no flag {flag}");
            }
        }
    }
}

#[test]
fn its_pods_have_no_privileges() {
    for program in ["controller", "verifier"] {
        let objects = rendered(&[]);
        let pod = object(&objects, "Deployment", program)["spec"]["template"]["spec"].clone();
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = container(&objects, program);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
}

#[test]
fn the_verifier_can_be_left_out() {
    let objects = rendered(&["verifier.enabled=false"]);
    let left = objects.iter().filter(|object| object.to_string().contains("\"verifier\"")).count();
    assert_eq!(left, 0, "nothing of the verifier is left");
    assert!(objects.iter().any(|object| object["kind"] == "ValidatingAdmissionPolicy"));
}

#[test]
fn without_the_policy_the_verifier_writes_nothing() {
    let plane = shared();
    let output = plane.try_helm(&["template", "x", &chart(), "--set", "admissionPolicy.enabled=false"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("verifier.lastUse.enabled=false"));

    let may_patch = |objects: &[Value]| object(objects, "ClusterRole", "verifier").to_string().contains("patch");
    let with = rendered(&[]);
    assert!(may_patch(&with) && container(&with, "verifier").to_string().contains("--last-use=record"));
    let without = rendered(&["verifier.lastUse.enabled=false", "admissionPolicy.enabled=false"]);
    assert!(!may_patch(&without) && container(&without, "verifier").to_string().contains("--last-use=off"));
}

#[test]
fn the_verifier_is_kept_up_where_there_are_several() {
    let budgets = |values: &[&str]| {
        let objects = rendered(values);
        let is_one =
            |object: &&Value| object["kind"] == "PodDisruptionBudget" && object["metadata"]["name"] == "apitoken-operator-verifier";
        objects.iter().filter(is_one).count()
    };
    assert_eq!(budgets(&[]), 1);
    assert_eq!(budgets(&["verifier.replicaCount=1"]), 0);
    assert_eq!(budgets(&["verifier.replicaCount=1", "verifier.autoscaling.enabled=true"]), 1);
    assert_eq!(
        budgets(&["verifier.autoscaling.enabled=true", "verifier.autoscaling.minReplicas=1"]),
        0
    );
    let scaled = rendered(&["verifier.autoscaling.enabled=true"]);
    let deployment = object(&scaled, "Deployment", "verifier");
    assert!(deployment["spec"]["replicas"].is_null(), "an upgrade would undo the scaling");
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64();
    let pause = container(&scaled, "verifier")["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64();
    assert!(grace.unwrap() > pause.unwrap() + 10, "it needs up to 10 s to end");
}

#[test]
fn all_that_selects_the_verifiers_pods_selects_those_alone() {
    let objects = rendered(&ALL_ON);
    let labels = |program| object(&objects, "Deployment", program)["spec"]["template"]["metadata"]["labels"].clone();
    let [ours, others] = ["verifier", "controller"].map(labels);
    let spread = &object(&objects, "Deployment", "verifier")["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    for selector in [
        &object(&objects, "Deployment", "verifier")["spec"]["selector"]["matchLabels"],
        &object(&objects, "Service", "verifier")["spec"]["selector"],
        &object(&objects, "PodDisruptionBudget", "verifier")["spec"]["selector"]["matchLabels"],
        &object(&objects, "NetworkPolicy", "verifier")["spec"]["podSelector"]["matchLabels"],
        &spread["labelSelector"]["matchLabels"],
    ] {
        let matches = |labels: &Value| selector.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value);
        assert!(matches(&ours) && !matches(&others), "{selector}");
    }
}

#[test]
fn all_ports_of_the_verifier_lead_somewhere() {
    let objects = rendered(&ALL_ON);
    let container = container(&objects, "verifier");
    let arguments = container["args"].to_string();
    let ports = container["ports"].as_array().unwrap();
    for port in ports {
        assert!(
            arguments.contains(&format!(":{}\"", port["containerPort"])),
            "nobody listens on {port}"
        );
    }
    for port in object(&objects, "Service", "verifier")["spec"]["ports"].as_array().unwrap() {
        let target = ports.iter().find(|target| target["name"] == port["targetPort"]);
        assert_eq!(target.expect("a target")["containerPort"], port["port"]);
    }
    let allowed = object(&objects, "NetworkPolicy", "verifier")["spec"]["ingress"].to_string();
    for port in ports {
        assert!(allowed.contains(&port["containerPort"].to_string()), "{port} is shut off");
    }
    let mounted = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    for flag in ["--tls-certificate", "--tls-key"] {
        assert!(arguments.contains(&format!("{flag}={mounted}/")), "{flag}");
    }
}

#[test]
fn unknown_and_wrong_values_are_refused() {
    let plane = shared();
    for value in [
        "nonsense=1",
        "log.nonsense=1",
        "log.level=loud",
        "concurrency=0",
        "replicaCount=0",
        "watchNamespaces={Shop}",
        "image.pullPolicy=Sometimes",
        "verifier.nonsense=1",
        "verifier.replicaCount=0",
        "verifier.introspection.auth=maybe",
        "verifier.denyWhenStale=soon",
        "verifier.networkPolicy.from[0].nonsense=1",
    ] {
        let output = plane.try_helm(&["template", "x", &chart(), "--set", value]);
        assert!(!output.status.success(), "{value} is accepted");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused_with_what_to_do() {
    let single = |without: &str| -> Vec<&'static str> { SINGLE.into_iter().filter(|value| !value.starts_with(without)).collect() };
    let cases: [(Vec<&str>, &str); 6] = [
        (vec!["leaderElect=false"], "needs leaderElect=true"),
        (single("clusterID"), "needs clusterID"),
        (
            [&single("admissionPolicy")[..], &["verifier.lastUse.enabled=true"]].concat(),
            "needs admissionPolicy.enabled=false",
        ),
        (single("verifier.lastUse"), "needs verifier.lastUse.enabled=false"),
        (single("verifier.introspection"), "needs verifier.introspection.auth=none"),
        ([&SINGLE[..], &["watchNamespaces={shop}"]].concat(), "leave watchNamespaces empty"),
    ];
    for (values, advice) in cases {
        let chart = chart();
        let mut arguments = vec!["template", "x", &chart];
        arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
        let output = shared().try_helm(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(advice), "{values:?}: {error}");
    }
}

#[test]
fn several_controllers_take_turns_and_one_alone_is_replaced() {
    let objects = rendered(&[]);
    let deployment = &object(&objects, "Deployment", "controller")["spec"];
    assert_eq!(
        (&deployment["replicas"], &deployment["strategy"]["type"]),
        (&json!(2), &json!("RollingUpdate"))
    );
    let arguments = container(&objects, "controller")["args"].to_string();
    assert!(arguments.contains("--leader-elect"));
    assert!(object(&objects, "Role", "controller").to_string().contains("leases"));

    let objects = rendered(&["leaderElect=false", "replicaCount=1"]);
    assert_eq!(object(&objects, "Deployment", "controller")["spec"]["strategy"]["type"], "Recreate");
    assert!(!container(&objects, "controller")["args"].to_string().contains("--leader-elect"));
    assert!(!object(&objects, "Role", "controller").to_string().contains("leases"));
}

#[test]
fn lint_finds_nothing() {
    let plane = shared();
    plane.helm(&["lint", "--strict", &chart()]);
}

#[test]
fn teams_get_the_rights_that_their_roles_promise_and_no_more() {
    let plane = shared();
    let namespace = "default";
    for role in ["view", "edit", "admin"] {
        plane.kubectl(&[
            "create",
            "rolebinding",
            &format!("test-{role}"),
            "-n",
            namespace,
            &format!("--clusterrole={role}"),
            &format!("--user=a-{role}"),
        ]);
    }
    for (role, verb, resource, expected) in [
        ("view", "get", "apitokens.apitoken.dev", true),
        ("view", "create", "apitokens.apitoken.dev", false),
        ("edit", "create", "apitokens.apitoken.dev", true),
        ("edit", "create", "tokenissuers.apitoken.dev", false),
        ("admin", "create", "tokenissuers.apitoken.dev", true),
        ("admin", "create", "clustertokenissuers.apitoken.dev", false),
        ("admin", "update", "apitokens.apitoken.dev --subresource=status", false),
        ("admin", "patch", "tokenissuers.apitoken.dev --subresource=status", false),
    ] {
        let user = format!("--as=a-{role}");
        let question: Vec<&str> = ["auth", "can-i", verb]
            .into_iter()
            .chain(resource.split(' '))
            .chain(["-n", namespace, &user])
            .collect();
        let answered = || plane.try_kubectl(&question).status.success() == expected;
        // The roles are put together by a controller, moments after the chart is installed.
        let end = std::time::Instant::now() + crate::support::DEADLINE;
        while !answered() {
            assert!(std::time::Instant::now() < end, "{role} {verb} {resource} should be {expected}");
        }
    }
}
