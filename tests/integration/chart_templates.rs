//! What the chart's templates make of its values, and that a real API server takes all of it.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Value, json};

use crate::{
    chart::{SINGLE, chart, objects},
    support::control_plane::{shared, source},
};

/// Which values: flags of Helm.
type Values<'a> = &'a [&'a str];

const EVERYTHING: &str = "tests/manifests/chart-everything.yaml";
const MINIMAL: &str = "tests/manifests/chart-minimal.yaml";

/// What Helm makes of the chart with these values, with the operator in a namespace of its own.
fn manifests(values: Values) -> String {
    let chart = chart();
    let name = ["template", "apitoken-operator", &chart, "--namespace=default"];
    shared().helm(&[&name, values].concat())
}

fn everything() -> String {
    format!("--values={}", source().join(EVERYTHING).display())
}

fn minimal() -> String {
    format!("--values={}", source().join(MINIMAL).display())
}

fn rendered(values: Values) -> Vec<Value> {
    objects(&manifests(&[values, &["--set=crds.enabled=false"]].concat()))
}

/// What stands there in the object of that kind, whose name is the chart's with that ending; null where nothing does.
fn at(objects: &[Value], kind: &str, ending: &str, place: &str) -> Value {
    let name = format!("apitoken-operator{ending}");
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name.as_str());
    found.and_then(|object| object.pointer(place)).cloned().unwrap_or(Value::Null)
}

#[test]
fn an_api_server_takes_its_objects_whatever_is_switched_on() {
    let plane = shared();
    let crds = source().join("tests/manifests/monitoring-crds.yaml");
    plane.kubectl(&["apply", "-f", crds.to_str().unwrap()]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", crds.to_str().unwrap()]);
    let (everything, minimal) = (everything(), minimal());
    let single = format!("--set={}", SINGLE.join(","));
    let variants: [Values; 12] = [
        &[],
        &[&everything],
        &[&minimal],
        &["--set=verifier.enabled=false"],
        &[&everything, "--set=verifier.enabled=false"],
        &["--set=metrics.podMonitor.enabled=true,metrics.podMonitor.interval=1m"],
        &["--set=verifier.tls.secretName=certificate"],
        &["--set=fullnameOverride=tokens,image.tag=v1"],
        &["--set=watchNamespaces={default,kube-public}"],
        &[&single],
        &["--set=leaderElect=false,replicaCount=1"],
        &["--set=verifier.lastUse.enabled=false,admissionPolicy.enabled=false"],
    ];
    for values in variants {
        let output = shared().try_helm(&[&["lint", "--strict", &chart()], values].concat());
        assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stdout));
        let mut file = tempfile::NamedTempFile::new_in(plane.dir()).unwrap();
        file.write_all(manifests(values).as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        plane.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", path]);
    }
}

#[test]
fn values_lead_to_where_they_belong() {
    let pod = "/spec/template/spec";
    let of_pod = |place: &str| format!("{pod}{place}");
    let everything = everything();
    let all: Values = &[&everything];
    let cases: Vec<(Values, &str, &str, String, Value)> = vec![
        (all, "Service", "-verifier", "/metadata/labels/team".into(), json!("platform")),
        (all, "ClusterRole", "-controller", "/metadata/labels/team".into(), json!("platform")),
        (&[], "PodDisruptionBudget", "-controller", "/spec/maxUnavailable".into(), json!(1)),
        (
            &["--set=replicaCount=1"],
            "PodDisruptionBudget",
            "-controller",
            "/spec".into(),
            json!(null),
        ),
        (
            all,
            "Deployment",
            "-controller",
            "/spec/selector/matchLabels/team".into(),
            json!(null),
        ),
        (
            all,
            "Deployment",
            "-controller",
            "/spec/template/metadata/labels/team".into(),
            json!("platform"),
        ),
        (
            &["--set=commonLabels.team=a,podLabels.team=b"],
            "Deployment",
            "-controller",
            "/spec/template/metadata/labels/team".into(),
            json!("b"),
        ),
        (
            &[],
            "Deployment",
            "-controller",
            of_pod("/containers/0/image"),
            json!("registry.example.com/apitoken-operator:0.1.0"),
        ),
        (
            &["--set=image.tag=v2"],
            "Deployment",
            "-verifier",
            of_pod("/containers/0/image"),
            json!("registry.example.com/apitoken-operator:v2"),
        ),
        (
            all,
            "Deployment",
            "-verifier",
            of_pod("/containers/0/image"),
            json!(format!("registry.example.com/apitoken-operator@sha256:{:0>64}", 1)),
        ),
        (
            all,
            "Deployment",
            "-controller",
            "/metadata/annotations/example.com~1reload".into(),
            json!("true"),
        ),
        (
            all,
            "Deployment",
            "-verifier",
            "/metadata/annotations/example.com~1reload".into(),
            json!("true"),
        ),
        (
            all,
            "Deployment",
            "-controller",
            of_pod("/imagePullSecrets"),
            json!([{ "name": "registry" }]),
        ),
        (
            all,
            "Deployment",
            "-controller",
            of_pod("/priorityClassName"),
            json!("system-cluster-critical"),
        ),
        (&[], "Deployment", "-controller", of_pod("/priorityClassName"), json!(null)),
        (
            all,
            "Deployment",
            "-controller",
            of_pod("/topologySpreadConstraints/0/minDomains"),
            json!(2),
        ),
        (
            all,
            "Deployment",
            "-controller",
            of_pod("/topologySpreadConstraints/0/labelSelector/matchLabels/app.kubernetes.io~1component"),
            json!("controller"),
        ),
        (
            &[],
            "Deployment",
            "-verifier",
            of_pod("/topologySpreadConstraints/0/topologyKey"),
            json!("kubernetes.io/hostname"),
        ),
        (
            &["--set-json=verifier.topologySpreadConstraints=[]"],
            "Deployment",
            "-verifier",
            of_pod("/topologySpreadConstraints"),
            json!(null),
        ),
        (all, "Deployment", "-controller", of_pod("/volumes/0/name"), json!("certificates")),
        (
            all,
            "Deployment",
            "-controller",
            of_pod("/containers/0/volumeMounts/0/mountPath"),
            json!("/etc/ssl/certs"),
        ),
        (all, "Deployment", "-verifier", of_pod("/volumes/1/name"), json!("scratch")),
        (
            all,
            "Deployment",
            "-verifier",
            of_pod("/containers/0/volumeMounts/1/mountPath"),
            json!("/tmp"),
        ),
        (&[], "Deployment", "-verifier", of_pod("/volumes"), json!(null)),
        (&[], "NetworkPolicy", "-controller", String::new(), json!(null)),
        (
            all,
            "NetworkPolicy",
            "-controller",
            "/spec/egress/1/ports".into(),
            json!([{ "port": 443 }, { "port": 6443 }, { "port": 3128 }]),
        ),
        (
            all,
            "NetworkPolicy",
            "-controller",
            "/spec/ingress/0/ports".into(),
            json!([{ "port": 8080 }]),
        ),
        (&[], "ServiceMonitor", "", String::new(), json!(null)),
        (all, "ServiceMonitor", "", "/metadata/labels/release".into(), json!("prometheus")),
        (
            all,
            "ServiceMonitor",
            "",
            "/spec/endpoints".into(),
            json!([{ "port": "metrics", "interval": "30s" }]),
        ),
        (
            &["--set=metrics.podMonitor.enabled=true"],
            "PodMonitor",
            "",
            "/spec/podMetricsEndpoints".into(),
            json!([{ "port": "admin" }]),
        ),
        (all, "PrometheusRule", "", "/metadata/labels/release".into(), json!("prometheus")),
        (all, "PrometheusRule", "", "/spec/groups/0/name".into(), json!("apitoken-operator")),
        (
            &[],
            "ValidatingAdmissionPolicy",
            "-guardrail-rotation",
            "/spec/failurePolicy".into(),
            json!("Fail"),
        ),
        (
            &[],
            "ValidatingAdmissionPolicyBinding",
            "-guardrail-rotation-production",
            String::new(),
            json!(null),
        ),
        (
            &["--set=guardrails.enabled=false"],
            "ValidatingAdmissionPolicy",
            "-guardrail-rotation",
            String::new(),
            json!(null),
        ),
        (
            all,
            "ValidatingAdmissionPolicyBinding",
            "-guardrail-rotation-production",
            "/spec/validationActions".into(),
            json!(["Deny"]),
        ),
        (
            all,
            "ValidatingAdmissionPolicyBinding",
            "-guardrail-rotation-all",
            "/spec/validationActions".into(),
            json!(["Warn", "Audit"]),
        ),
        (
            all,
            "ValidatingAdmissionPolicyBinding",
            "-guardrail-scopes-all",
            String::new(),
            json!(null),
        ),
    ];
    let mut seen: BTreeMap<Values, Vec<Value>> = BTreeMap::new();
    for (values, kind, ending, place, expected) in cases {
        let objects = seen.entry(values).or_insert_with(|| rendered(values));
        assert_eq!(at(objects, kind, ending, &place), expected, "{values:?} {kind} {ending} {place}");
    }
}

#[test]
fn monitors_find_what_serves_metrics() {
    let objects = rendered(&["--set=metrics.podMonitor.enabled=true"]);
    let services = rendered(&["--set=metrics.serviceMonitor.enabled=true"]);
    let of_pods = at(&objects, "PodMonitor", "", "/spec/selector/matchLabels");
    let of_services = at(&services, "ServiceMonitor", "", "/spec/selector/matchLabels");
    let selects = |selector: &Value, labels: &Value| selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
    for program in ["-controller", "-verifier"] {
        let labels = at(&objects, "Deployment", program, "/spec/template/metadata/labels");
        let ports = at(&objects, "Deployment", program, "/spec/template/spec/containers/0/ports");
        assert!(selects(&of_pods, &labels) && ports.to_string().contains("\"admin\""), "{program}");
        let labels = at(&services, "Service", program, "/metadata/labels");
        let ports = at(&services, "Service", program, "/spec/ports");
        assert!(
            selects(&of_services, &labels) && ports.to_string().contains("\"metrics\""),
            "{program}"
        );
    }
}

#[test]
fn metrics_are_read_once() {
    let both = "--set=metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true";
    let output = shared().try_helm(&["template", "x", &chart(), both]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("exclude each other"));
}

#[test]
fn its_test_asks_programs_where_they_listen() {
    let objects = rendered(&[]);
    let asked = at(&objects, "Pod", "-test", "/spec/containers").to_string();
    for program in ["-controller", "-verifier"] {
        let ports = at(&objects, "Service", program, "/spec/ports");
        let metrics = ports.as_array().unwrap().iter().find(|port| port["name"] == "metrics").unwrap();
        let question = format!("http://apitoken-operator{program}:{}/readyz", metrics["port"]);
        assert!(asked.contains(&question), "{question}");
    }
    assert_eq!(at(&objects, "Pod", "-test", "/metadata/annotations/helm.sh~1hook"), "test");
    let without = rendered(&["--set=verifier.enabled=false"]);
    assert!(!at(&without, "Pod", "-test", "/spec").to_string().contains("verifier"));
}

#[test]
fn traces_go_where_they_are_told_and_the_network_lets_them() {
    let policies = "--set=networkPolicy.enabled=true,verifier.networkPolicy.enabled=true";
    let sent = |endpoint: &str| {
        let endpoint = format!("--set=tracing.otlpEndpoint={endpoint}");
        rendered(&[policies, &endpoint])
    };
    let arguments = |objects: &[Value], program| at(objects, "Deployment", program, "/spec/template/spec/containers/0/args").to_string();
    let egress = |objects: &[Value], program| at(objects, "NetworkPolicy", program, "/spec/egress");
    let rules = [("-controller", 2), ("-verifier", 1)];
    for (endpoint, port) in [
        ("http://collector.example.com:4318", 4318),
        ("http://collector.example.com/receive", 80),
        ("https://collector.example.com", 443),
        ("http://[fd00::1]:4318", 4318),
    ] {
        let objects = sent(endpoint);
        for (program, others) in rules {
            assert!(arguments(&objects, program).contains(&format!("\"--otlp-endpoint={endpoint}\"")));
            let allowed = egress(&objects, program);
            assert_eq!(allowed.as_array().unwrap().len(), others + 1);
            assert_eq!(
                allowed[others]["ports"][0],
                json!({ "port": port }),
                "{endpoint} {program}: {allowed}"
            );
            assert!(
                allowed.to_string().contains(r#"{"port":53,"protocol":"UDP"}"#),
                "{program} can't find the name"
            );
        }
    }
    let nowhere = rendered(&[policies]);
    for (program, others) in rules {
        assert!(!arguments(&nowhere, program).contains("otlp"));
        assert_eq!(egress(&nowhere, program).as_array().unwrap().len(), others);
    }
}

#[test]
fn its_notes_say_what_there_is_and_what_stays() {
    let everything = everything();
    let notes = |values: Values| {
        let chart = chart();
        let install = ["install", "notes", &chart, "--dry-run=client", "--set=crds.enabled=false"];
        let text = shared().helm(&[&install, values].concat());
        text.split_once("\nNOTES:\n").expect("notes").1.to_owned()
    };
    for (values, expected, unexpected) in [
        (&[][..], "kubectl wait --for=condition=Ready apitoken/first", "guardrails"),
        (&[], "http://notes-apitoken-operator-verifier.default.svc:8090", "make one first"),
        (&[], "The CRDs stay", "https://"),
        (&[], "keep a finalizer", "CRDs of ApiToken"),
        (&["--set=defaultIssuer="], "make one first", "guardrails"),
        (&["--set=verifier.enabled=false"], "deleting them", "verifier"),
        (&[&everything], "https://notes-apitoken-operator-verifier", "http://"),
        (&[&everything], "guardrails for ApiTokens: production, all", "make one first"),
    ] {
        let notes = notes(values);
        assert!(notes.contains(expected), "{values:?} {expected:?}: {notes}");
        assert!(!notes.contains(unexpected), "{values:?} {unexpected:?}: {notes}");
    }
}

#[test]
fn the_schema_leaves_nothing_open() {
    let text = std::fs::read_to_string(format!("{}/values.schema.json", chart())).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut open = Vec::new();
    find_open(&schema, "", &mut open);
    assert_eq!(open, Vec::<String>::new());
    for values in [
        "podLabels.app\\.kubernetes\\.io/name=x",
        "commonLabels.helm\\.sh/chart=x",
        "networkPolicy.vendorPorts[0]=0",
        "metrics.serviceMonitor.interval=often",
        "topologySpreadConstraints[0].labelSelector.matchLabels.a=b",
        "extraEnv[0].value=nameless",
        "tracing.otlpEndpoint=collector.example.com:4318",
        "guardrails.bindings[0].maxLifetime=1h",
        "guardrails.bindings[0].name=a,guardrails.bindings[0].validationActions={Deny,Warn}",
        "guardrails.bindings[0].name=a,guardrails.bindings[0].maxLifetime=30d",
        "guardrails.bindings[0].name=a,guardrails.bindings[0].allowedIssuers={builtin}",
        "guardrails.bindings[0].name=a,guardrails.bindings[0].allowedScopes={two words}",
        "guardrails.bindings[0].name=a,guardrails.bindings[0].nonsense=1",
    ] {
        let output = shared().try_helm(&["template", "x", &chart(), "--set", values]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains("schema"), "{values}: {error}");
    }
}

/// Objects with named properties that take others too.
fn find_open(schema: &Value, path: &str, open: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && fields.get("additionalProperties") != Some(&json!(false)) {
                open.push(path.to_owned());
            }
            fields
                .iter()
                .for_each(|(name, field)| find_open(field, &format!("{path}/{name}"), open));
        }
        Value::Array(items) => items.iter().for_each(|item| find_open(item, path, open)),
        _ => {}
    }
}
