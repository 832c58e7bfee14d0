//! What differs between systems: sockets that listen, errors, signals. Windows has no signals but those that
//! end the process, and no port that several sockets listen at.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use switchboard::Address;
use switchboard::reactor::ReactorHandle;
#[cfg(unix)]
use {mio::net::UnixStream, switchboard::reactor::Registration};

/// Errors that end once something else has ended.
#[cfg(unix)]
const SCARCE: &[Errno] =
    &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
#[cfg(not(unix))]
const SCARCE: &[Errno] = &[Errno::MFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL];

pub(crate) fn is_out_of_resources(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    number.is_some_and(|number| SCARCE.contains(&number))
}

/// Listens, alone or beside other loops.
#[cfg(unix)]
pub(crate) fn listen(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::net::{self, AddressFamily, SocketType, sockopt};

    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?; // what is accepted inherits it
    net::bind(&socket, &address)?;
    net::listen(&socket, 4096)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(not(unix))]
pub(crate) fn listen(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    if is_shared {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only one loop can listen here"));
    }
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The places of signals in [`Signals`].
#[derive(Clone, Copy)]
#[cfg_attr(not(unix), expect(dead_code, reason = "there are no signals"))]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    Report,
}

/// A pipe for each signal, which its handler writes to.
#[derive(Default)]
pub(crate) struct Signals {
    #[cfg(unix)]
    pipes: Vec<Registration<UnixStream>>,
}

impl Signals {
    /// Calls `notify` with the state of `control` on each signal, which must be taken then.
    #[cfg(unix)]
    pub(crate) fn new<T: 'static>(
        reactor: &ReactorHandle,
        control: &Address<T>,
        notify: fn(&mut T, Signal),
    ) -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

        let signals =
            [(SIGTERM, Signal::Terminate), (SIGINT, Signal::Interrupt), (SIGUSR1, Signal::Report)];
        let pipes = signals.into_iter().map(|(number, signal)| {
            let (reader, writer) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(number, writer)?;
            let interest = mio::Interest::READABLE;
            let pipe = reactor.register(reader, interest, control, move |control, _, _| {
                notify(control, signal);
            })?;
            pipe.unref();
            Ok(pipe)
        });
        Ok(Self { pipes: pipes.collect::<io::Result<_>>()? })
    }

    #[cfg(not(unix))]
    pub(crate) fn new<T: 'static>(
        _: &ReactorHandle,
        _: &Address<T>,
        _: fn(&mut T, Signal),
    ) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Empties the pipe of a signal, so that the next one notifies again.
    #[cfg(unix)]
    pub(crate) fn take(&mut self, signal: Signal) {
        use std::io::Read;

        let (mut bytes, interest) = ([0; 64], mio::Interest::READABLE);
        let Some(pipe) = self.pipes.get_mut(signal as usize) else { return };
        while let Ok(1..) = pipe.try_io(interest, |pipe| pipe.read(&mut bytes)) {}
    }

    #[cfg(not(unix))]
    pub(crate) fn take(&mut self, _: Signal) {}
}
