//! `cargo run --example tls -- certificate.pem key.pem 127.0.0.1:7443`
//!
//! The server of `echo` behind TLS: its stream is over a source that encrypts, which is in tls/source.rs. (On Unix,
//! where the tests have rustls.) `openssl s_client -connect 127.0.0.1:7443` is a client.

#[cfg(unix)]
#[expect(dead_code, reason = "its sessions are used, and not its server")]
mod echo;
#[cfg(unix)]
mod tls {
    pub(crate) mod source;
}

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    use switchboard::reactor::Reactor;
    use switchboard::streams::{Acceptor, Stream};
    use switchboard::{Recipients, Reporter};

    let mut arguments = std::env::args().skip(1);
    let mut next = |name| arguments.next().ok_or(name);
    let chain =
        CertificateDer::pem_file_iter(next("no certificate")?)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(next("no key")?)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let config = Arc::new(config);

    let mut reactor = Reactor::new()?;
    reactor.queue().add_observer(Reporter::stderr());
    let sessions = Recipients::new(reactor.queue());
    let address = next("no address")?.parse()?;
    let acceptor = Acceptor::bind(&reactor, address, move |reactor, socket, peer| {
        let session = sessions.try_insert_with(|own| {
            let source = tls::source::TlsSource::new(socket, &config)?;
            let stream = Stream::new(reactor, source, own, echo::Session::on_ready)?;
            Ok::<_, Box<dyn std::error::Error>>(echo::Session { stream })
        });
        match session {
            Ok(session) => session.set_label(peer.to_string()),
            Err(error) => eprintln!("{peer}: {error}"),
        }
    })?;
    println!("echoing at {}", acceptor.local_addr()?);
    Ok(reactor.run()?)
}

#[cfg(not(unix))]
fn main() {}
