//! A line to the API server that can go dead: cut, so that both ends see it, or hanging, so that none does.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What is sent arrives.
    Open,
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections stay, and nothing that is sent arrives.
    Hangs,
}

/// A line that lasts as long as its test.
pub struct Line {
    address: String,
    state: Arc<watch::Sender<State>>,
}

impl Line {
    /// A line to that server: `127.0.0.1:<port>`.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let state = Arc::new(watch::Sender::new(State::Open));
        let states = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, server.clone(), states.subscribe()));
            }
        });
        Self { address, state }
    }

    /// Where it begins: `https://127.0.0.1:<port>`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// It is so from now on.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn connect(near: TcpStream, server: String, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(server).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = pass(near_in, far_out, state.clone());
    let back = pass(far_in, near_out, state.clone());
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        // What is sent while the line hangs arrives once it is open again.
        if state.wait_for(|state| *state == State::Open).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
