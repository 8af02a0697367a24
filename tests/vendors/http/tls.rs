//! Whom a connection trusts.

use std::sync::{Arc, Mutex};

use apitoken_operator::issuers::{
    IssuerError,
    http::{Effect, Http, Settings},
};
use jiff::{Timestamp, ToSpan};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::server::{CREDENTIAL, ok, serve, settings};

/// An authority.
pub struct Authority {
    /// Its own certificate, in PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server over TLS.
pub struct TlsServer {
    /// Where it listens.
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, host: &str, from: Timestamp, until: Timestamp) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = std::time::SystemTime::from(from).into();
        params.not_after = std::time::SystemTime::from(until).into();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server whose certificate is for that host, from the one to the other hour from now.
    pub async fn server(&self, host: &str, from: i64, until: i64) -> TlsServer {
        let now = Timestamp::now();
        let (certificate, key) = self.sign(host, now + from.hours(), now + until.hours());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let log = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log) = (acceptor.clone(), log.clone());
                tokio::spawn(async move {
                    // A client that does not trust it ends the connection.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, vec![ok("{}")], log).await;
                    }
                });
            }
        });
        TlsServer { port, requests, task }
    }
}

impl TlsServer {
    /// The calls that came.
    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn ask(url: &str, ca_bundle: Option<&str>) -> Result<u16, IssuerError> {
    let http = Http::new(&Settings {
        ca_bundle,
        ..settings(url)
    })?;
    http.post(&["a"]).send(Effect::Make).await.map(|answer| answer.status())
}

fn distrusted(why: &str) -> Result<u16, IssuerError> {
    Err(IssuerError::CertificateRefused(why.to_owned()))
}

#[tokio::test]
async fn a_certificate_of_an_authority_in_the_bundle_is_trusted() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let server = authority.server("localhost", -1, 1).await;
    let url = format!("https://localhost:{}", server.port);
    assert_eq!(ask(&url, Some(&authority.pem)).await, Ok(200));
    let both = format!("# one\n{}\n# another\n{}", other.pem, authority.pem);
    assert_eq!(ask(&url, Some(&both)).await, Ok(200));
    let unknown = "its authority is not known";
    assert_eq!(ask(&url, None).await, distrusted(unknown));
    assert_eq!(ask(&url, Some(&other.pem)).await, distrusted(unknown));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new("one");
    for (host, from, until, why) in [
        ("localhost", -2, -1, "it is expired or not valid yet"),
        ("localhost", 1, 2, "it is expired or not valid yet"),
        ("other.example.com", -1, 1, "it is for another host"),
    ] {
        let server = authority.server(host, from, until).await;
        let url = format!("https://localhost:{}", server.port);
        assert_eq!(ask(&url, Some(&authority.pem)).await, distrusted(why));
        assert_eq!(server.requests(), 0);
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gets_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.com\r\n").await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received
    });
    let refused = IssuerError::Unreachable("there is no TLS connection".to_owned());
    assert_eq!(ask(&url, None).await, Err(refused));
    let received = String::from_utf8_lossy(&server.await.unwrap()).into_owned();
    assert!(!received.contains(CREDENTIAL) && !received.contains("POST"), "{received}");
}
