//! A forward proxy for HTTP/1.1: see the README beside this.
//!
//! `cargo run --release --example proxy -- --listen 127.0.0.1:3128`

pub(crate) mod allow;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod framing;
pub(crate) mod heads;
pub(crate) mod pool;
pub(crate) mod proxy;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod story;
#[cfg(feature = "journal")]
pub(crate) mod timeline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(&argh::from_env())
}
