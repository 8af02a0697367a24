//! The manifest by which krew installs the plugin.

use serde_json::Value;

use crate::support::control_plane::source;

#[test]
fn the_manifest_is_one_that_a_release_fills() {
    let text = std::fs::read_to_string(source().join("hack/krew/apitoken.yaml")).unwrap();
    let filled = text.replace("{{version}}", "v0.1.0");
    let manifest: Value = serde_saphyr::from_str(&filled).unwrap();
    assert_eq!(
        (&manifest["apiVersion"], &manifest["kind"]),
        (&"krew.googlecontainertools.github.com/v1alpha2".into(), &"Plugin".into())
    );
    assert_eq!(
        (&manifest["metadata"]["name"], &manifest["spec"]["version"]),
        (&"apitoken".into(), &"v0.1.0".into())
    );
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let mut sums = Vec::new();
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let name = format!("{}-{}", labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        let uri = platform["uri"].as_str().unwrap();
        assert!(uri.ends_with(&format!("/v0.1.0/kubectl-apitoken-v0.1.0-{name}.tar.gz")), "{uri}");
        assert_eq!(platform["bin"], "kubectl-apitoken");
        sums.push(platform["sha256"].as_str().unwrap().to_owned());
        assert_eq!(sums.last().unwrap(), &format!("{{{{sha256 {name}}}}}"));
    }
    assert_eq!(sums.len(), 4);
    assert!(!filled.contains("{{version}}"));
}
