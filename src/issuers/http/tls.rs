//! Whom TLS trusts: the system's certificates, and those that the issuer names.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::error::HttpError;

/// The system's certificates, read once: it is slow, and they come with the image.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

/// The set-up of TLS; ring does the cryptography here, whatever the rest of the process uses.
///
/// # Errors
/// Where `ca_bundle` is not a list of certificates in PEM.
pub fn config(ca_bundle: Option<&str>) -> Result<ClientConfig, HttpError> {
    with(roots(ca_bundle)?).map_err(|_| HttpError::Client)
}

/// The same with the system's certificates alone.
///
/// # Errors
/// Where the cryptography does not have what TLS needs.
pub fn system() -> Result<ClientConfig, rustls::Error> {
    with(SYSTEM.clone())
}

fn with(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(ca_bundle: Option<&str>) -> Result<RootCertStore, HttpError> {
    let mut roots = SYSTEM.clone();
    let Some(ca_bundle) = ca_bundle else {
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(ca_bundle.as_bytes()) {
        let certificate = certificate.map_err(|_| HttpError::CaBundle)?;
        roots.add(certificate).map_err(|_| HttpError::CaBundle)?;
    }
    if roots.len() == SYSTEM.len() {
        return Err(HttpError::CaBundle);
    }
    Ok(roots)
}
