//! The parts of a server: buffered streams, a relay between two, and an acceptor.
//!
//! Each part is small and uses only the API of a [`Registration`](crate::reactor::Registration), so you
//! can replace it by your own.
//!
//! - [`Stream`]: a source with bounded buffers for both directions, each of which ends by itself.
//! - [`relay`]: writes what one stream reads to another one, in both directions.
//! - [`Acceptor`]: accepts connections, and survives a lack of descriptors.
//!
//! # Examples
//!
//! An echo server. It works, with bounded memory, for a peer that never reads, one that reads a byte at
//! a time, one that closes its side first, and one that resets the connection:
//!
//! ```
//! use mio::net::TcpStream;
//! use switchboard::reactor::Reactor;
//! use switchboard::streams::{Acceptor, Stream};
//! use switchboard::{Context, Recipients};
//!
//! struct Session { stream: Stream<TcpStream> }
//!
//! impl Session {
//!     fn on_ready(&mut self, cx: &Context<'_, Self>) {
//!         let status = self.stream.drive(|input, output| {
//!             output.append(input); // as far as there is room: what the peer does not take back waits
//!             if input.is_over() {
//!                 output.finish(); // closes our side, behind what waits
//!             }
//!         });
//!         if status.is_over() {
//!             cx.hang_up(); // both sides are closed, or the connection is broken
//!         }
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let sessions = Recipients::new(reactor.queue());
//! let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, move |reactor, socket, _peer| {
//!     let session = sessions.try_insert_with(|own| {
//!         let stream = Stream::new(reactor, socket, own, Session::on_ready)?;
//!         Ok::<_, Box<dyn std::error::Error>>(Session { stream })
//!     });
//!     if let Err(error) = session {
//!         eprintln!("connection dropped: {error}");
//!     }
//! })?;
//! # use std::io::{Read, Write};
//! # let address = acceptor.local_addr()?;
//! # let remote = reactor.remote();
//! # let client = std::thread::spawn(move || -> std::io::Result<String> {
//! #     let mut socket = std::net::TcpStream::connect(address)?;
//! #     socket.write_all(b"hello")?;
//! #     socket.shutdown(std::net::Shutdown::Write)?;
//! #     let mut text = String::new();
//! #     socket.read_to_string(&mut text)?;
//! #     remote.call(|reactor| reactor.stop()).expect("it runs");
//! #     Ok(text)
//! # });
//! reactor.run()?;
//! # assert_eq!(client.join().expect("no panic")?, "hello");
//! # assert_eq!(acceptor.accepted(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acceptor;
mod buffers;
mod bytes;
mod relay;
mod source;
mod stream;
mod transfer;

pub use acceptor::Acceptor;
pub use buffers::{Input, Output};
pub use relay::relay;
pub use source::{ListenSource, StreamSource};
pub(crate) use stream::READS;
pub use stream::{Stream, StreamStatus};
