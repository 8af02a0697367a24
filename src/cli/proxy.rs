//! Which proxy stands before the API server: the kubeconfig's own, else the environment's, as for kubectl. Pure.
//!
//! kube alone asks `NO_PROXY` about the proxy instead of the server, and sends what goes to this machine through one too.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Kubeconfig;

/// The `proxy-url` of the cluster that the context means, which no `NO_PROXY` takes away.
pub fn declared(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<Uri> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.as_ref()?.parse().ok()
}

/// Whether no proxy of the environment stands before that server.
pub fn is_direct(server: &Uri, environment: &Matcher) -> bool {
    is_this_machine(server.host().unwrap_or_default()) || environment.intercept(server).is_none()
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_proxy_is_the_one_of_the_context_that_is_meant() {
        let kubeconfig = serde_json::from_value(json!({
            "current-context": "near",
            "contexts": [
                { "name": "near", "context": { "cluster": "direct", "user": "u" } },
                { "name": "far", "context": { "cluster": "behind", "user": "u" } },
            ],
            "clusters": [
                { "name": "direct", "cluster": { "server": "https://a.example.com" } },
                { "name": "behind", "cluster": { "server": "https://b.example.com", "proxy-url": "socks5://127.0.0.1:1080" } },
            ],
        }))
        .unwrap();
        for (context, expected) in [
            (None, None),
            (Some("far"), Some("socks5://127.0.0.1:1080/")),
            (Some("nowhere"), None),
        ] {
            let declared = declared(&kubeconfig, context).map(|uri| uri.to_string());
            assert_eq!(declared.as_deref(), expected, "{context:?}");
        }
    }

    #[test]
    fn the_environment_leaves_servers_out() {
        let set = Matcher::builder()
            .https("http://proxy.example.com:3128")
            .no("10.0.0.0/8,.inside.example.com")
            .build();
        let unset = Matcher::builder().build();
        for (server, environment, expected) in [
            ("https://api.example.com:6443", &set, false),
            ("https://api.example.com:6443", &unset, true),
            ("https://10.1.2.3:6443", &set, true),
            ("https://api.inside.example.com", &set, true),
            ("https://127.0.0.1:6443", &set, true),
            ("https://[::1]:6443", &set, true),
            ("https://localhost:6443", &set, true),
            ("http://api.example.com:8001", &set, true),
        ] {
            assert_eq!(is_direct(&server.parse().unwrap(), environment), expected, "{server}");
        }
    }
}
