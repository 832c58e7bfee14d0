//! A forward proxy for HTTP/1.1: see the README beside this.
//!
//! `cargo run --release --example proxy -- --listen 127.0.0.1:3128`

#![cfg_attr(not(unix), allow(dead_code, reason = "there, no signal drains it or asks for figures"))]

mod allow;
mod connect;
mod exchange;
mod framing;
mod heads;
mod pool;
mod proxy;
mod serve;
mod session;
mod settings;
#[cfg(feature = "journal")]
mod timeline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(&argh::from_env())
}
