//! A forward proxy on hyper and tokio, on one thread, for `benches/proxy/compare`: `proxy-on-hyper ADDRESS`.

use std::convert::Infallible;
use std::error::Error;

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderMap, TE, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

type Origins = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3128".into());
    let listener = TcpListener::bind(&address).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let origins: Origins = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let origins = origins.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| serve(&origins, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            if let Err(error) = connection.with_upgrades().await {
                eprintln!("{error}");
            }
        });
    }
}

async fn serve(origins: &Origins, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    if request.method() == Method::CONNECT {
        return Ok(tunnel(request).await);
    }
    remove_hop_by_hop(request.headers_mut());
    Ok(match origins.request(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.map(Either::Left)
        }
        Err(_) => empty(StatusCode::BAD_GATEWAY),
    })
}

async fn tunnel(request: Request<Incoming>) -> Answer {
    let Some(authority) = request.uri().authority().map(ToString::to_string) else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let Ok(mut origin) = TcpStream::connect(authority).await else {
        return empty(StatusCode::BAD_GATEWAY);
    };
    let _ = origin.set_nodelay(true);
    tokio::spawn(async move {
        if let Ok(client) = hyper::upgrade::on(request).await {
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut origin).await;
        }
    });
    empty(StatusCode::OK)
}

fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TE);
    headers.remove(UPGRADE);
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"] {
        headers.remove(name);
    }
}
