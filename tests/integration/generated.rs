//! What is made from the code: it fails where a file differs, and writes it where
//! `APITOKEN_GENERATE` is set (`make generate`).

use std::{fmt::Write, fs};

use apitoken_operator::{
    api::{
        conditions::{ConditionType, Reason},
        crds,
    },
    operations::{descriptions::Description, metrics},
    verifier,
};

use serde_json::Value;

use crate::{reference, support::control_plane::source, values_reference};

fn check(path: &str, text: &str) {
    let file = source().join(path);
    if std::env::var_os("APITOKEN_GENERATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "{path} differs from the code: run `make generate` and commit the result"
    );
}

#[test]
fn the_crds_and_the_copies_in_the_chart_are_what_the_code_says() {
    for (name, text) in crds::files().unwrap() {
        check(&format!("crds/{name}"), &text);
        check(&format!("charts/apitoken-operator/files/crds/{name}"), &text);
    }
}

#[test]
fn the_reference_of_conditions_is_what_the_code_says() {
    let mut text = String::from(
        "# Conditions\n\nMade from the code by `make generate`. Each condition carries `observedGeneration`, a reason from the closed list below, \
         and a message that says what to do.\n\n## Types\n\n| type | what `True` means |\n|---|---|\n",
    );
    for (type_, meaning) in ConditionType::ALL {
        writeln!(text, "| `{}` | {meaning} |", type_.as_str()).unwrap();
    }
    text.push_str("\n## Reasons\n\n| reason | meaning | with `Ready=False` also `Stalled=True` |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let stalls = if reason.stalls() { "yes" } else { "" };
        writeln!(text, "| `{}` | {} | {stalls} |", reason.as_str(), reason.meaning()).unwrap();
    }
    check("docs/conditions.md", &text);
}

#[test]
fn the_reference_of_values_is_what_values_yaml_says() {
    let path = "charts/apitoken-operator/README.md";
    let text = fs::read_to_string(source().join(path)).unwrap();
    let (begin, end) = ("`make generate`. -->\n", "<!-- The end of what is made. -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    check(path, &format!("{before}{begin}\n{}\n{end}{after}", values_reference::table()));
}

#[test]
fn the_reference_of_metrics_is_what_the_code_says() {
    let mut text = String::from(
        "# Metrics\n\nMade from the code by `make generate`. Each program serves them on `/metrics` of its `--admin-address`, in the OpenMetrics text \
         format. No label holds a tenant's name: cluster issuers stand by name, issuers of namespaces together as `TokenIssuer`.\n\nWhat concerns \
         objects is counted when somebody asks, so that nothing remains of those that are gone. All replicas of the controller show the same there: \
         take the `max`, not the `sum`. The chart has [alerts](runbooks.md) and a dashboard of these metrics.\n",
    );
    for (title, descriptions) in [
        ("Controller", metrics::descriptions()),
        ("Verifier", verifier::metrics::DESCRIPTIONS.to_vec()),
    ] {
        write!(text, "\n## {title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n").unwrap();
        descriptions.iter().for_each(|description| text.push_str(&row(description)));
    }
    text.push_str(
        "\n## How it looks\n\nSome panels of the dashboard, drawn by `make pictures` from what a real Prometheus saw of the programs in a test.\n\n\
         ![ApiTokens by state](images/tokens.svg)\n\n![Calls to vendors](images/vendors.svg)\n\n![Tokens presented](images/presented.svg)\n",
    );
    check("docs/metrics.md", &text);
}

fn row(description: &Description) -> String {
    let labels: Vec<String> = description.labels.iter().map(|label| format!("`{label}`")).collect();
    let (series, type_, help) = (description.series(), description.type_.as_str(), description.help);
    format!("| `{series}` | {type_} | {} | {help} |\n", labels.join(", "))
}

#[test]
fn the_settings_for_argo_cd_hold_the_scripts() {
    let script = |name: &str| fs::read_to_string(source().join("hack/argocd").join(name)).unwrap();
    let health = indented(&script("health.lua"), 4);
    let mut text = String::from(
        "# Made from the scripts beside this by `make generate`. Adds health and actions to Argo CD:\n\
         #   kubectl patch configmap argocd-cm --namespace argocd --patch-file argocd-cm.yaml\ndata:\n",
    );
    for kind in ["ApiToken", "TokenIssuer", "ClusterTokenIssuer"] {
        write!(text, "  resource.customizations.health.apitoken.dev_{kind}: |\n{health}").unwrap();
    }
    write!(
        text,
        "  resource.customizations.actions.apitoken.dev_ApiToken: |\n    discovery.lua: |\n{}    definitions:\n",
        indented(&script("actions/discovery.lua"), 6)
    )
    .unwrap();
    for action in ["rotate", "suspend", "activate", "revoke"] {
        let script = indented(&script(&format!("actions/{action}/action.lua")), 8);
        write!(text, "    - name: {action}\n      action.lua: |\n{script}").unwrap();
    }
    check("hack/argocd/argocd-cm.yaml", &text);
    let settings: Value = serde_saphyr::from_str(&text).unwrap();
    let read = &settings["data"]["resource.customizations.health.apitoken.dev_TokenIssuer"];
    assert_eq!(*read, script("health.lua"));
}

/// A text as a block of YAML.
fn indented(text: &str, by: usize) -> String {
    text.lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("{:by$}{line}\n", "")
            }
        })
        .collect()
}

#[test]
fn the_reference_of_the_api_is_what_the_code_says() {
    check("docs/api.md", &reference::text(&crds::all()));
}
