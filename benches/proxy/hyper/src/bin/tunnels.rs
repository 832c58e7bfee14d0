//! Load through tunnels, which wrk cannot make: `tunnels PROXY CONNECTIONS SECONDS ORIGIN PATH` connects each by
//! CONNECT, and sends GETs, one after the other. Prints what `benches/proxy/compare` has wrk print.

use std::error::Error;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [proxy, connections, seconds, origin, path] = &arguments[..] else {
        return Err("PROXY CONNECTIONS SECONDS ORIGIN PATH".into());
    };
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds.parse()?));
    let (connect, get) = (
        format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nHost: {origin}\r\n\r\n"),
    );
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..connections.parse()? {
        let (proxy, connect, get) = (proxy.clone(), connect.clone(), get.clone());
        tasks.push(local.spawn_local(async move {
            let (mut times, mut buffer) = (Vec::new(), vec![0; 65_536]);
            let mut socket = TcpStream::connect(proxy).await?;
            socket.set_nodelay(true)?;
            ask(&mut socket, &connect, &mut buffer).await?;
            while start.elapsed() < limit {
                let sent = Instant::now();
                ask(&mut socket, &get, &mut buffer).await?;
                times.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok::<_, std::io::Error>(times)
        }));
    }
    let (mut times, mut errors) = (Vec::new(), 0);
    for task in tasks {
        match local.run_until(task).await? {
            Ok(more) => times.extend(more),
            Err(_) => errors += 1,
        }
    }
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(0);
    let duration = start.elapsed().as_micros();
    println!("RESULT {} {duration} {} {} {} {errors}", times.len(), at(0.5), at(0.99), at(0.999));
    Ok(())
}

/// Sends a request, and reads its response to the end.
async fn ask(socket: &mut TcpStream, request: &str, buffer: &mut [u8]) -> std::io::Result<()> {
    socket.write_all(request.as_bytes()).await?;
    let mut read = 0;
    loop {
        match socket.read(&mut buffer[read..]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
        let text = String::from_utf8_lossy(&buffer[..read]);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).map_or("0", |rest| {
                rest.split("\r\n").next().unwrap_or("0")
            });
            if body.len() >= length.parse().unwrap_or(0) {
                return Ok(());
            }
        }
    }
}
