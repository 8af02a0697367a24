//! What an apply would do.

use kube::ResourceExt;
use serde_json::json;

use super::Plugin;
use crate::support::{Bed, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_is_foreseen_and_nothing_is_changed() {
    let Bed { plane, team, operator } = Bed::new("plugin-plan").await;
    let plugin = Plugin::new(plane, &team.namespace);
    for (name, spec) in [("keep", json!({})), ("end", json!({})), ("turn", json!({ "lifetime": "720h" }))] {
        team.declare(name, spec).await;
        team.ready(name).await;
    }
    let manifest = |name: &str, spec: &str| {
        format!("---\napiVersion: apitoken.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let text = [
        manifest("new", "{lifetime: 720h, rotation: {interval: 240h}}"),
        manifest("keep", "{description: the same}"),
        manifest("end", "{state: Revoked}"),
        manifest("stray", "{issuerRef: {kind: TokenIssuer, name: nobody}}"),
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n".to_owned(),
    ];
    std::fs::write(file.path(), text.concat()).unwrap();
    let before = team.token("end").await.resource_version();

    let plan = plugin.run(&["plan", "-f", file.path().to_str().unwrap()]).await;
    assert!(plan.stderr.contains("1 objects of other kinds are not looked at"), "{plan:?}");
    let plan = plan.ended(5);
    let of = |name: &str| {
        let head = format!("{}/{name}\n", team.namespace);
        let (_, rest) = plan.split_once(&head).unwrap_or_else(|| panic!("{name}: {plan}"));
        rest.lines()
            .take_while(|line| line.starts_with("  "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (name, part) in [
        ("new", "is created"),
        ("new", "a token is issued, and its value written to Secret new"),
        ("new", "is rotated at the latest"),
        ("new", "not known: whether the Secret's name is taken"),
        ("keep", "the token and its value stay"),
        ("keep", "not known: whether the Secret still holds the value"),
        ("end", "the token ends for good, and this can't be taken back; Secret end goes"),
        ("stray", "IssuerNotFound: TokenIssuer \"nobody\" does not exist"),
    ] {
        assert!(of(name).contains(part), "{name}: {part}: {plan}");
    }
    assert_eq!(team.token("end").await.resource_version(), before);

    eventually("the token is old enough to end", || async {
        let turned = plugin.fed(&["plan", "-f", "-"], &manifest("turn", "{lifetime: 1s}")).await.ended(0);
        turned.contains("the token ends: its time is over").then_some(())
    })
    .await;
    plugin
        .fed(&["plan", "-f", "-"], &manifest("turn", "{lifetime: soon}"))
        .await
        .told(1, "the dry run failed");
    plugin.run(&["plan"]).await.told(2, "--filename");

    team.viewer("viewer").await;
    let refused = plugin.fed(&["plan", "-f", "-", "--as=viewer"], &manifest("new", "{}")).await;
    refused.told(1, "cannot create resource \"apitokens\"");
    operator.stop().await;
}
