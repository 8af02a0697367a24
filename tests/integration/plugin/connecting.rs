//! The way to the API server, where a proxy stands before it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::Plugin;
use crate::support::Bed;

/// A proxy that makes a tunnel for each CONNECT. Its address, and how many it made.
async fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(tunnel(near, counted.clone()));
        }
    });
    (address, made)
}

async fn tunnel(near: TcpStream, made: Arc<AtomicUsize>) {
    let mut near = BufReader::new(near);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        near.read_line(&mut line).await.unwrap();
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line);
    }
    let server = lines[0].strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    let mut far = TcpStream::connect(server).await.unwrap();
    made.fetch_add(1, Ordering::SeqCst);
    near.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
    // One of the two closes at some time.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_the_kubeconfig_is_used() {
    let Bed { plane, team, operator } = Bed::new("plugin-proxy").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let (address, made) = proxy().await;
    let view = plugin
        .kubectl(&["config", "view", "--raw", "--flatten", "-ojson"], "")
        .await
        .ended(0);
    let mut kubeconfig: Value = serde_json::from_str(&view).unwrap();
    for cluster in kubeconfig["clusters"].as_array_mut().unwrap() {
        cluster["cluster"]["proxy-url"] = json!(format!("http://{address}"));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    let list = plugin.run(&["list", "--kubeconfig", file.path().to_str().unwrap()]).await.ended(0);
    assert!(list.contains("ci     Active"), "{list}");
    assert!(made.load(Ordering::SeqCst) > 0, "it went another way");

    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!("ftp://proxy.example.com");
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    plugin
        .run(&["list", "--kubeconfig", file.path().to_str().unwrap()])
        .await
        .told(1, "uses an unsupported protocol");
    operator.stop().await;
}
