//! The verifier as a program: its watches, its addresses, its writes.

use std::{io, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::Client;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Verifier,
    callers::{Callers, Reviews},
    feed::{self, Reach},
    grpc, http, last_use,
    listener::Listener,
    tls::Certificate,
};
use crate::controller::clock::Clock;

/// How long the last writes of uses may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// What the user sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty: all.
    pub watch_namespaces: Vec<String>,
    /// Whether ClusterTokenIssuers and namespaces may not be seen: there are rights in one namespace only.
    pub single_namespace: bool,
    /// The audience of the ServiceAccount tokens by which callers of introspection prove themselves; nothing: they need none.
    pub introspection_audience: Option<String>,
    /// How long it may answer without a word from the API server; nothing: for ever.
    pub deny_when_stale: Option<Duration>,
    /// Whether it is written to the status when tokens were used.
    pub records_uses: bool,
}

/// Where it listens.
pub struct Sockets {
    /// For HTTP.
    pub http: TcpListener,
    /// For gRPC, where that is wanted.
    pub grpc: Option<TcpListener>,
    /// The certificate of both, where they use TLS.
    pub certificate: Option<Arc<Certificate>>,
}

/// Makes a verifier that knows nothing yet.
pub fn verifier(settings: &Settings, clock: Arc<dyn Clock>) -> Arc<Verifier> {
    let watches = Reach::of(settings).watches();
    Arc::new(Verifier::new(clock, watches, settings.deny_when_stale))
}

/// Runs until `shutdown`.
///
/// # Errors
/// Where a socket fails.
pub async fn run(
    verifier: Arc<Verifier>,
    client: Client,
    settings: Settings,
    sockets: Sockets,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let reach = Reach::of(&settings);
    let callers = match settings.introspection_audience {
        Some(audience) => Callers::Reviewed(Box::new(Reviews::new(client.clone(), audience))),
        None => Callers::Anybody,
    };
    let shared = http::Shared {
        verifier: verifier.clone(),
        callers: Arc::new(callers),
    };
    let tls = sockets
        .certificate
        .clone()
        .map(Certificate::config)
        .transpose()
        .map_err(io::Error::other)?;
    let http = Listener::new(sockets.http, tls.clone());
    info!(address = %http.address()?, "answering over HTTP");
    let mut serving = vec![http.serve(http::router(shared), shutdown.clone()).boxed()];
    if let Some(tcp) = sockets.grpc {
        let grpc = Listener::new(tcp, tls);
        info!(address = %grpc.address()?, "answering over gRPC");
        serving.push(grpc.serve(grpc::router(verifier.clone()), shutdown.clone()).boxed());
    }
    let followed = async {
        match &sockets.certificate {
            Some(certificate) => certificate.follow().await,
            None => std::future::pending().await,
        }
    };
    let written = async {
        match settings.records_uses {
            true => last_use::run(&verifier, &client).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = futures::future::join_all(serving) => {}
        () = feed::run(&verifier, &client, &reach) => {}
        () = followed => {}
        () = written => {}
    }
    if settings.records_uses {
        let _ = timeout(LAST_WRITES, last_use::flush(&verifier, &client)).await;
    }
    Ok(())
}
