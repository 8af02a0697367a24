//! The verifier's own certificate, read again when its files change: a Secret that is renewed needs no restart.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tracing::{info, warn};
use zeroize::Zeroizing;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// A file holds something else.
    #[error("{0} does not hold what it should in PEM: {1}")]
    Pem(PathBuf, #[source] pem::Error),
    /// Certificate and key do not fit each other, or are of a kind that is not known.
    #[error("certificate and key can't be used: {0}")]
    Unusable(#[source] rustls::Error),
}

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// The certificate as it is now.
pub struct Certificate {
    files: Files,
    now: RwLock<Loaded>,
}

struct Loaded {
    /// What was read, to see whether it changed.
    text: Text,
    key: Arc<CertifiedKey>,
}

type Text = (Vec<u8>, Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// Where it can't be used.
    pub fn read(files: Files) -> Result<Arc<Self>, TlsError> {
        let text = text(&files)?;
        let key = certified(&files, &text)?;
        Ok(Arc::new(Self {
            files,
            now: RwLock::new(Loaded { text, key }),
        }))
    }

    /// A configuration that shows it, in each handshake as it is then.
    ///
    /// # Errors
    /// Where the cryptography that is built in can't do TLS.
    pub fn config(self: Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads it again when it changes, for ever. One that can't be used leaves the former one in place.
    pub async fn follow(&self) {
        loop {
            sleep(LOOK).await;
            match self.refresh() {
                Ok(true) => info!("the certificate changed and is in use"),
                Ok(false) => {}
                Err(error) => warn!(%error, "the certificate can't be read again, the former one stays in use"),
            }
        }
    }

    fn refresh(&self) -> Result<bool, TlsError> {
        let text = text(&self.files)?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).text == text {
            return Ok(false);
        }
        let key = certified(&self.files, &text)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Loaded { text, key };
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

fn text(files: &Files) -> Result<Text, TlsError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|error| TlsError::Read(path.clone(), error));
    Ok((read(&files.certificate)?, Zeroizing::new(read(&files.key)?)))
}

fn certified(files: &Files, (chain, key): &Text) -> Result<Arc<CertifiedKey>, TlsError> {
    let no_chain = |error| TlsError::Pem(files.certificate.clone(), error);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(no_chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem(files.key.clone(), error))?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Unusable)?;
    Ok(Arc::new(certified))
}
