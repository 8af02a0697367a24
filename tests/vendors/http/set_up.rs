//! What an issuer's spec may say of the way to its vendor.

use apitoken_operator::{
    issuers::{
        IssuerError,
        http::{CredentialHeader, Effect, Http, Settings},
    },
    token_value::TokenValue,
};

use super::server::{Server, ok, settings};

/// What is wrong with settings, if anything.
pub fn flaw<'a>(change: impl FnOnce(&mut Settings<'a>)) -> Option<IssuerError> {
    let mut settings = settings("https://api.example.com");
    change(&mut settings);
    Http::new(&settings).err()
}

#[test]
fn an_address_is_https_and_on_loopback_also_http() {
    for url in [
        "https://api.example.com",
        "https://api.example.com:8443/public/",
        "https://10.0.0.1",
        "https://[2001:db8::1]",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://127.1.2.3/x",
        "http://[::1]:8080",
    ] {
        assert_eq!(flaw(|settings| settings.url = url), None, "{url}");
    }
    for url in [
        "",
        "api.example.com",
        "https://",
        "http://api.example.com",
        "http://10.0.0.1",
        "http://[::ffff:127.0.0.1]",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "unix:/run/x",
        "https://user@api.example.com",
        "https://user:password@api.example.com",
        "https://:password@api.example.com",
        "https://api.example.com/?a=b",
        "https://api.example.com/#a",
        "https://api.example.com:99999",
    ] {
        let refused = flaw(|settings| settings.url = url);
        assert!(
            matches!(&refused, Some(IssuerError::Refused(text)) if text.contains("url")),
            "{url}: {refused:?}"
        );
    }
}

#[test]
fn certificates_to_trust_must_be_readable() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for bundle in ["", "text", key, empty, broken, "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        let refused = flaw(|settings| settings.ca_bundle = Some(bundle));
        assert!(
            matches!(&refused, Some(IssuerError::CertificateRefused(text)) if text.contains("caBundle")),
            "{bundle}: {refused:?}"
        );
    }
}

#[test]
fn a_credential_is_visible_ascii() {
    for credential in ["", " ", "\n", "a b", "a\nb", "a\r\nx-other: b", "ä", "a\0"] {
        let credential = TokenValue::new(credential);
        let refused = flaw(|settings| settings.credential = &credential);
        assert_eq!(refused, Some(IssuerError::CredentialRefused));
    }
}

#[tokio::test]
async fn the_credential_is_sent_as_the_vendor_wants_it() {
    for (header, credential, line) in [
        (CredentialHeader::Bearer, "abc", "authorization: Bearer abc"),
        (CredentialHeader::Bearer, "abc\n", "authorization: Bearer abc"),
        (CredentialHeader::Named("api-token"), "abc", "api-token: abc"),
        (CredentialHeader::Named("x-auth-token"), " abc\r\n", "x-auth-token: abc"),
    ] {
        let server = Server::new([ok("{}")]).await;
        let credential = TokenValue::new(credential);
        let http = server.http_with(|settings| (settings.header, settings.credential) = (header, &credential));
        http.get(&["a"]).send(Effect::Read).await.unwrap();
        let request = &server.requests()[0];
        assert_eq!(request.lines().filter(|known| known == &line).count(), 1, "{request}");
    }
}
