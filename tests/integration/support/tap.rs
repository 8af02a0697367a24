//! A line that listens in: what a proxy tells the verifier.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

type Heard = Arc<Mutex<Vec<u8>>>;

/// A line that lasts as long as its test.
pub struct Tap {
    /// Where it begins: `127.0.0.1:<port>`.
    pub address: String,
    heard: Heard,
}

impl Tap {
    /// A line to that server: `127.0.0.1:<port>`.
    pub async fn to(server: &str) -> Self {
        let (server, heard) = (server.to_owned(), Heard::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                let ((near_in, near_out), (mut far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(listen(near_in, far_out, hears.clone()));
                tokio::spawn(async move {
                    let mut near_out = near_out;
                    let _ = copy(&mut far_in, &mut near_out).await;
                });
            }
        });
        Self { address, heard }
    }

    /// Whether these bytes went to the server.
    pub fn heard(&self, bytes: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    }
}

async fn listen(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Heard) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        heard.lock().unwrap().extend(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
