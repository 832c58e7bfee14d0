//! A relay between two streams.

use crate::streams::buffers::OutputEnd;
use crate::streams::source::StreamSource;
use crate::streams::stream::{ROUNDS, Stream, StreamStatus};

/// Writes what each of two streams reads to the other one, until both would block. Returns the status
/// of both. Each direction ends by itself: when one peer ends its stream, the relay ends the other one,
/// after all earlier bytes.
///
/// It is called in the handlers of both, which belong to one recipient. The status is Over if
/// everything is written, and both directions have ended; it is Broken if one of the streams is.
///
/// Bytes are not copied: they wait in the input that they were read into until the other stream takes
/// them. Nothing is read into an input that is more than half full, so a peer that does not read costs at
/// most the other stream's [limit](crate::streams::Input::set_limit). Earlier output of the streams is written first.
///
/// The example `relay` is a server that relays each connection to another server.
///
/// # Examples
///
/// ```
/// use mio::net::TcpStream;
/// use switchboard::Context;
/// use switchboard::streams::{Stream, relay};
///
/// struct Tunnel { client: Stream<TcpStream>, server: Stream<TcpStream> }
///
/// impl Tunnel {
///     fn on_ready(&mut self, cx: &Context<'_, Self>) { // of both
///         if relay(&mut self.client, &mut self.server).is_over() {
///             cx.hang_up();
///         }
///     }
/// }
/// # use std::io::{Read, Write};
/// # let mut reactor = switchboard::reactor::Reactor::new()?;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let client = TcpStream::connect(listener.local_addr()?)?;
/// # let (mut client_peer, _) = listener.accept()?;
/// # let server = TcpStream::connect(listener.local_addr()?)?;
/// # let (mut server_peer, _) = listener.accept()?;
/// # let tunnel = reactor.queue().try_recipient_with(|own| {
/// #     let client = Stream::new(&reactor, client, own, Tunnel::on_ready)?;
/// #     let server = Stream::new(&reactor, server, own, Tunnel::on_ready)?;
/// #     Ok::<_, Box<dyn std::error::Error>>(Tunnel { client, server })
/// # })?;
/// # client_peer.write_all(b"hello")?;
/// # client_peer.shutdown(std::net::Shutdown::Write)?;
/// # server_peer.shutdown(std::net::Shutdown::Write)?;
/// # while !tunnel.is_gone() {
/// #     let _ = reactor.turn(None)?;
/// # }
/// # let mut text = String::new();
/// # server_peer.read_to_string(&mut text)?;
/// # assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn relay<A: StreamSource, B: StreamSource>(
    a: &mut Stream<A>,
    b: &mut Stream<B>,
) -> StreamStatus {
    for _ in 0..ROUNDS {
        let there = pass(a, b);
        let back = pass(b, a);
        if !there && !back {
            return settle(a, b);
        }
    }
    // Whichever has something to report calls again.
    if a.can_read() || a.can_write() {
        a.ask_again();
    } else if b.can_read() || b.can_write() {
        b.ask_again();
    } else {
        return settle(a, b); // an event calls again
    }
    status(a, b)
}

/// Relays in one direction. Returns whether that changed anything.
fn pass<A: StreamSource, B: StreamSource>(from: &mut Stream<A>, to: &mut Stream<B>) -> bool {
    let mut changed = !from.input.is_high() && from.read();
    changed |= to.write();
    changed |= to.write_from(&mut from.input);
    if from.input.is_over() && to.output.end == OutputEnd::Open {
        to.output.finish();
        to.write();
        changed = true;
    }
    changed
}

fn settle<A: StreamSource, B: StreamSource>(a: &mut Stream<A>, b: &mut Stream<B>) -> StreamStatus {
    let _ = (a.settle(), b.settle());
    status(a, b)
}

fn status<A: StreamSource, B: StreamSource>(a: &Stream<A>, b: &Stream<B>) -> StreamStatus {
    match (a.status(), b.status()) {
        (StreamStatus::Broken, _) | (_, StreamStatus::Broken) => StreamStatus::Broken,
        (StreamStatus::Over, StreamStatus::Over) => StreamStatus::Over,
        _ => StreamStatus::Open,
    }
}
