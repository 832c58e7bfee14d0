//! What the examples embed: an application that lives on a reactor, whoever turns it.
//!
//! It echoes what one client sends on a loopback socket. The client is a thread, which then calls
//! back through a [`RemoteAddress`]; that arms a timer; and when the timer fires, all is over.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use switchboard::reactor::{ReactorHandle, Readiness, Registration, RemoteAddress, Timer};
use switchboard::{Callback, Context, Recipient};

const DELAY: Duration = Duration::from_millis(20);

pub(crate) struct App {
    reactor: ReactorHandle,
    listener: Option<Registration<TcpListener>>,
    socket: Option<Registration<TcpStream>>,
    timer: Option<Timer>,
    over: Option<Callback<()>>,
}

/// Starts the application, which answers `over` at its end.
pub(crate) fn start(
    reactor: &ReactorHandle,
    over: Callback<()>,
) -> Result<Recipient<App>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    let app = reactor.queue().try_recipient_with(|app| {
        let listener =
            reactor.register(listener, Interest::READABLE, app, |app: &mut App, cx, _| {
                app.accept(cx).expect("a client");
            })?;
        let (reactor, listener, over) = (reactor.clone(), Some(listener), Some(over));
        Ok::<_, Box<dyn Error>>(App { reactor, listener, socket: None, timer: None, over })
    })?;
    let remote = reactor.remote_to(&app);
    thread::spawn(move || client(address, &remote).expect("an echo"));
    Ok(app)
}

/// What the thread does.
fn client(address: SocketAddr, app: &RemoteAddress<App>) -> Result<(), Box<dyn Error>> {
    let mut socket = net::TcpStream::connect(address)?;
    socket.write_all(b"hello")?;
    socket.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    app.call(move |app, cx| app.echoed(cx, &text))?;
    Ok(())
}

impl App {
    fn accept(&mut self, cx: &Context<'_, Self>) -> Result<(), Box<dyn Error>> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let (socket, _) = match listener.source().accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        let socket = self.reactor.register(socket, Interest::READABLE, cx, |app, _, ready| {
            app.echo(ready).expect("a client that reads what it is sent");
        })?;
        self.socket = Some(socket);
        self.listener = None; // one client is enough
        Ok(())
    }

    fn echo(&mut self, ready: &Readiness<'_>) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut buffer = [0; 64];
        match socket.source_mut().read(&mut buffer) {
            Ok(0) => self.socket = None,
            Ok(read) => {
                println!("socket: echoes {read} bytes");
                socket.source_mut().write_all(&buffer[..read])?;
                ready.again(); // there may be more
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn echoed(&mut self, cx: &Context<'_, Self>, text: &str) {
        println!("thread: {text:?} has come back");
        let passed = cx.callback(|app: &mut Self, _, ()| {
            println!("timer: {} ms have passed", DELAY.as_millis());
            let over = app.over.take().expect("the timer fires once");
            over.answer(());
        });
        self.timer = Some(self.reactor.after(DELAY, passed));
    }
}
