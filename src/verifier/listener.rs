//! The connections of strangers: HTTP/1.1 and HTTP/2, with TLS or without, bounded in number, size and time.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Connections at a time; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// Requests at a time on one connection of HTTP/2.
const MOST_STREAMS: u32 = 256;
/// How long the headers of a request may take, and how long a connection may stand idle.
const HEADERS: Duration = Duration::from_secs(60);
/// How long TLS may take to be agreed on.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// All headers of a request together.
const HEADER_SIZE: u32 = 32 * 1024;
/// How often it is asked whether a connection of HTTP/2 is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long requests may go on after the signal to end.
const DRAIN: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted, as where all file descriptors are in use.
const PAUSE: Duration = Duration::from_millis(100);

/// Where it listens.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// Listens there, with TLS where it is configured.
    pub fn new(tcp: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tcp, tls }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers with the router until `shutdown`, and lets requests end.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let open = GracefulShutdown::new();
        let acceptor = self.tls.map(TlsAcceptor::from);
        loop {
            let accept = async {
                let permit = room.clone().acquire_owned().await;
                (permit, self.tcp.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accept => accepted,
                () = shutdown.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            let (router, watcher, acceptor) = (router.clone(), open.watcher(), acceptor.clone());
            tokio::spawn(async move {
                let _permit = permit;
                connection(stream, acceptor, router, watcher).await;
            });
        }
        if timeout(DRAIN, open.shutdown()).await.is_err() {
            warn!("connections did not end in time and are cut off");
        }
    }
}

type Watcher = hyper_util::server::graceful::Watcher;

/// One connection. How it fails is the client's business.
async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => requests(stream, router, watcher).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                requests(stream, router, watcher).await;
            }
        }
    }
}

async fn requests<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_SIZE as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_SIZE)
        .max_concurrent_streams(MOST_STREAMS)
        .keep_alive_interval(KEEP_ALIVE);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = watcher.watch(connection.into_owned()).await;
}
