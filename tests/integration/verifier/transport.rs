//! How the verifier is reached: HTTP/1.1 and HTTP/2, in the clear and by TLS, with a certificate that is renewed.

use std::path::Path;

use apitoken_operator::verifier::tls::Files;
use serde_json::json;

use super::Gate;
use crate::support::{
    Bed,
    control_plane::VERIFIER_ACCOUNT,
    eventually,
    verifier::{self, InProcess},
};

/// Writes a new certificate for loopback addresses: what clients are to trust.
fn renew(folder: &Path) -> (Files, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = Files {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made.cert.pem().into_bytes())
}

fn trusting(certificate: &[u8]) -> reqwest::ClientBuilder {
    let certificate = reqwest::Certificate::from_pem(certificate).unwrap();
    reqwest::Client::builder().tls_certs_only([certificate])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let bed = Bed::new("tls").await;
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = renew(folder.path());
    let client = bed.plane.client_of(VERIFIER_ACCOUNT, None).await;
    let verifier = InProcess::begin(client, &bed.operator.clock, verifier::settings(&bed.team.namespace), Some(files)).await;
    let url = format!("https://{}/authorize", verifier.http);
    let code = async |client: reqwest::Client| {
        client
            .get(&url)
            .bearer_auth("wrong")
            .send()
            .await
            .ok()
            .map(|answer| answer.status().as_u16())
    };

    eventually("it listens", || async {
        code(trusting(&first).build().unwrap()).await.filter(|code| *code == 401)
    })
    .await;
    assert_eq!(code(reqwest::Client::new()).await, None, "nobody else vouches for it");
    std::fs::write(folder.path().join("tls.key"), "nonsense").unwrap();
    let (_, second) = renew(folder.path());
    eventually("the new one is shown", || async { code(trusting(&second).build().unwrap()).await }).await;
    assert_eq!(code(trusting(&first).build().unwrap()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_and_http_2_lead_to_the_same_answer() {
    let gate = Gate::new("http-versions").await;
    let value = gate.issued("ci", json!({})).await;
    let url = format!("http://{}/authorize?{}", gate.verifier.http, gate.question);
    for (builder, version) in [
        (reqwest::Client::builder().http1_only(), reqwest::Version::HTTP_11),
        (reqwest::Client::builder().http2_prior_knowledge(), reqwest::Version::HTTP_2),
    ] {
        let client = builder.build().unwrap();
        for (method, token, expected) in [
            ("GET", value.as_str(), 200),
            ("POST", &value, 200),
            ("HEAD", &value, 200),
            ("PURGE", "wrong", 401),
        ] {
            let request = client.request(method.parse().unwrap(), &url).bearer_auth(token);
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (expected, version), "{method}");
        }
    }
}
