//! HTTP/1.1 as it stands on the line: no client library here tidies up what a test sends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No answer takes longer.
const IN_TIME: Duration = Duration::from_secs(20);

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status; 0 where there was no answer.
    pub status: u16,
    /// Its headers, with names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(found, _)| found == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

/// Sends bytes that ask for the connection to be closed, and reads until it is.
pub async fn send(address: &str, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may have had enough before all of it is sent, and break off after it answered.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(IN_TIME, stream.read_to_end(&mut answer)).await.expect("an end in time");
    parsed(&String::from_utf8_lossy(&answer))
}

fn parsed(answer: &str) -> Answer {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Answer {
        status: status.unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
    }
}
