//! How the verifier is reached: HTTP/1.1 and HTTP/2, in the clear and by TLS, with a certificate that is renewed.

use std::path::Path;

use apitoken_operator::verifier::tls::Files;
use axum::{
    body::Body,
    http::{Request, Version},
};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

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

const TRIES: [(&str, bool, u16); 4] = [("GET", true, 200), ("POST", true, 200), ("HEAD", true, 200), ("PURGE", false, 401)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_and_http_2_lead_to_the_same_answer() {
    let gate = Gate::new("http-versions").await;
    let value = gate.issued("ci", json!({})).await;
    let stream = TokioIo::new(TcpStream::connect(&gate.verifier.http).await.unwrap());
    let (mut second, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("http://{}/authorize?{}", gate.verifier.http, gate.question);
    let first = reqwest::Client::new();
    for (method, good, expected) in TRIES {
        let token = if good { value.as_str() } else { "wrong" };
        let answer = first
            .request(method.parse().unwrap(), &url)
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (expected, Version::HTTP_11),
            "{method}"
        );
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", format!("Bearer {token}"));
        let answer = second.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (expected, Version::HTTP_2),
            "{method}"
        );
    }
}
