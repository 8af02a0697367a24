//! Serves a vendor, and goes wrong at the level of HTTP.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Behaviour, Reply, Request, Shared, Shown, mutation::mutated};

type Body = BoxBody<Bytes, io::Error>;

/// Serves until it is ended.
pub async fn serve<B: Behaviour>(listener: TcpListener, shared: Arc<Mutex<Shared<B>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // It ends with an error where that is the fault.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// Without an answer the connection is closed.
async fn answer<B: Behaviour>(request: hyper::Request<Incoming>, shared: Arc<Mutex<Shared<B>>>) -> io::Result<hyper::Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let request = Request::new(head.method.as_str(), &head.uri, head.headers, body);
    let (reply, shown, now) = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (reply, shown) = shared.handle(&request);
        (reply, shown, shared.vendor.now())
    };
    let reply = reply.with("date", httpdate::fmt_http_date(SystemTime::from(now)));
    let Some(shown) = shown else { return Ok(whole(reply)) };
    let page = |status| Reply::bytes(status, "<html>Something happened</html>").with("content-type", "text/html");
    match shown {
        Shown::Closed => Err(io::Error::other("the connection is closed")),
        Shown::Silence => std::future::pending().await,
        Shown::Cut => Ok(cut(reply)),
        Shown::Half => Ok(whole(half(reply))),
        Shown::Mutated(seed) => Ok(whole(Reply {
            body: mutated(&reply.body, seed),
            ..reply
        })),
        Shown::Bytes(bytes) => Ok(whole(Reply::bytes(200, bytes).with("content-type", "application/json"))),
        Shown::Page => Ok(whole(page(200))),
        Shown::Status(status) => Ok(whole(page(status))),
        Shown::Redirect => Ok(whole(page(302).with("location", "/elsewhere"))),
        Shown::Limited(None) => Ok(whole(page(429))),
        Shown::Limited(Some(seconds)) => Ok(whole(page(429).with("retry-after", seconds.to_string()))),
    }
}

fn whole(reply: Reply) -> hyper::Response<Body> {
    let body = Full::from(reply.body.clone()).map_err(|never: Infallible| match never {});
    response(reply, body.boxed())
}

/// Announces all of the body, sends half of it, and breaks off.
fn cut(reply: Reply) -> hyper::Response<Body> {
    let length = reply.body.len().to_string();
    let half = Bytes::from(half(reply.clone()).body);
    let frames = [Ok(Frame::data(half)), Err(io::Error::other("the connection is closed"))];
    response(reply.with("content-length", length), StreamBody::new(stream::iter(frames)).boxed())
}

fn half(mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() / 2);
    reply
}

fn response(reply: Reply, body: Body) -> hyper::Response<Body> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}
