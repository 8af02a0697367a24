//! A server that answers as a test says, byte by byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apitoken_operator::{
    issuers::{
        Reach,
        http::{CredentialHeader, Http, Settings},
    },
    token_value::TokenValue,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::AbortHandle,
};

/// The credential of all these tests.
pub const CREDENTIAL: &str = "credential-of-the-operator";

/// The same, as it is sent.
pub static OPERATOR: LazyLock<TokenValue> = LazyLock::new(|| TokenValue::new(CREDENTIAL));

/// What is done with a call.
#[derive(Clone)]
pub enum Reply {
    /// These bytes, and then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// These bytes, and then nothing for ever.
    Stuck(Vec<u8>),
}

/// A whole answer with that status line, headers and body.
pub fn answer(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into())
}

/// An answer with status 200.
pub fn ok(body: &str) -> Reply {
    answer("200 OK", "content-type: application/json\r\n", body)
}

/// A server on loopback.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers the calls one after the other with these; the last one stands for all that follow.
    pub async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (count, log) = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, replies.clone(), log.clone()));
            }
        });
        Self {
            address,
            url: format!("http://{address}"),
            connections,
            requests,
            task: task.abort_handle(),
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The calls that came, as they stood on the wire.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The way to it.
    pub fn http(&self) -> Http {
        self.http_with(|_| {})
    }

    /// The way to it, with other settings.
    pub fn http_with<'a>(&'a self, change: impl FnOnce(&mut Settings<'a>)) -> Http {
        let mut settings = settings(&self.url);
        change(&mut settings);
        Http::new(&settings).unwrap()
    }
}

/// Settings for whatever address.
pub fn settings(url: &str) -> Settings<'_> {
    Settings {
        url,
        credential: &OPERATOR,
        header: CredentialHeader::Bearer,
        reach: Reach::Anywhere,
        ca_bundle: None,
        timeout: Duration::from_secs(20),
        rate: None,
        waited: Default::default(),
    }
}

/// Answers the calls of one connection.
pub async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, replies: Vec<Reply>, log: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let reply = {
            let mut log = log.lock().unwrap();
            log.push(request);
            replies[(log.len() - 1).min(replies.len() - 1)].clone()
        };
        let bytes = match &reply {
            Reply::Bytes(bytes) | Reply::Stuck(bytes) => bytes.as_slice(),
            Reply::Silence => &[],
        };
        // Whoever called may be gone.
        if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        match reply {
            Reply::Bytes(bytes) if is_whole(&bytes) => {}
            Reply::Bytes(_) => break,
            Reply::Silence | Reply::Stuck(_) => std::future::pending().await,
        }
    }
    // A connection that is closed says so.
    stream.shutdown().await.ok();
}

/// Whether the connection can be used on.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut byte = [0; 1024];
        match stream.read(&mut byte).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => request.extend_from_slice(&byte[..read]),
        }
    }
}
