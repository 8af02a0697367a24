//! A tenant's issuer reaches public addresses only.

use std::process::Command;

use apitoken_operator::issuers::{
    IssuerError, Reach,
    http::{Effect, Http, Settings},
};

use super::{
    server::{Server, answer, ok, settings},
    set_up::flaw,
    tls::Authority,
};

/// Set where the test runs itself again, behind a proxy.
const BEHIND_A_PROXY: &str = "APITOKEN_TEST_BEHIND_A_PROXY";

#[test]
fn an_address_that_is_not_public_is_refused_however_it_is_written() {
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "[fe80::1]",
    ] {
        let url = format!("https://{host}/api");
        let refused = flaw(|settings| {
            settings.url = &url;
            settings.reach = Reach::Public;
        });
        assert_eq!(refused, Some(IssuerError::AddressRefused), "{host}");
        assert_eq!(flaw(|settings| settings.url = &url), None, "{host} from anywhere");
    }
    for url in ["https://api.example.com", "https://1.1.1.1", "https://[2606:4700:4700::1111]"] {
        let refused = flaw(|settings| {
            settings.url = url;
            settings.reach = Reach::Public;
        });
        assert_eq!(refused, None, "{url}");
    }
}

#[test]
fn a_public_address_is_https_only() {
    for url in ["http://127.0.0.1", "http://localhost", "http://[::1]"] {
        let refused = flaw(|settings| {
            settings.url = url;
            settings.reach = Reach::Public;
        });
        assert_eq!(refused, Some(IssuerError::AddressRefused), "{url}");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_an_address_that_is_not_public_is_refused() {
    let authority = Authority::new("one");
    let server = authority.server("localhost", -1, 1).await;
    for host in ["localhost", "LOCALHOST"] {
        let url = format!("https://{host}:{}", server.port);
        for (reach, effect, expected) in [
            (Reach::Anywhere, Effect::Read, Ok(200)),
            (Reach::Public, Effect::Read, Err(IssuerError::AddressRefused)),
            (Reach::Public, Effect::Make, Err(IssuerError::AddressRefused)),
        ] {
            let http = Http::new(&Settings {
                reach,
                ca_bundle: Some(&authority.pem),
                ..settings(&url)
            });
            let answer = http.unwrap().get(&["a"]).send(effect).await;
            assert_eq!(answer.map(|answer| answer.status()), expected, "{host}");
        }
    }
    assert_eq!(server.requests(), 2, "only from anywhere");
}

/// The environment of a process can't be changed while it runs, so the test runs itself once more.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used_for_a_tenants_issuer() {
    if std::env::var_os(BEHIND_A_PROXY).is_some() {
        return call_through_the_proxy().await;
    }
    let proxy = Server::new([answer("502 X", "", "")]).await;
    let this = "http::reach::a_proxy_of_the_environment_is_not_used_for_a_tenants_issuer";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([this, "--exact"]).env(BEHIND_A_PROXY, "1");
    again.env_remove("no_proxy").env_remove("NO_PROXY");
    for variable in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(variable, proxy.url());
    }
    let ran = tokio::task::spawn_blocking(move || again.output().unwrap()).await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let connects = proxy.requests();
    assert_eq!(connects.len(), 1, "{connects:?}");
    assert!(connects[0].starts_with("CONNECT anywhere"), "{connects:?}");
}

/// No name has a part of that length (RFC 1035 section 2.3.4), so that nothing but the proxy can be called.
async fn call_through_the_proxy() {
    for (reach, name) in [(Reach::Anywhere, "anywhere"), (Reach::Public, "public")] {
        let url = format!("https://{name}.{}.example.com", "a".repeat(64));
        let http = Http::new(&Settings { reach, ..settings(&url) });
        let answer = http.unwrap().post(&["a"]).send(Effect::Make).await;
        assert!(matches!(answer.err(), Some(IssuerError::Unreachable(_))));
    }
    let loopback = Server::new([ok("{}")]).await;
    loopback.http().get(&["a"]).send(Effect::Read).await.unwrap();
}
