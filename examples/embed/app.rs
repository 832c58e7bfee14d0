//! What the examples embed: an application that lives on a reactor, with any loop around that.
//!
//! It echoes what one client sends on a loopback socket. The client is a thread, which then calls
//! back through a [`RemoteAddress`]; that arms a timer; and when the timer fires, all is over.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use switchboard::mio::net::TcpStream;
use switchboard::reactor::{ReactorHandle, RemoteAddress, Timer};
use switchboard::streams::{Acceptor, Stream};
use switchboard::{Address, Callback, Context, Recipient};

const DELAY: Duration = Duration::from_millis(20);

pub(crate) struct App {
    reactor: ReactorHandle,
    acceptor: Option<Acceptor>,
    client: Option<Stream<TcpStream>>,
    timer: Option<Timer>,
    over: Option<Callback<()>>,
}

/// Starts the application, which answers `over` at its end.
pub(crate) fn start(
    reactor: &ReactorHandle,
    over: Callback<()>,
) -> Result<Recipient<App>, Box<dyn Error>> {
    let mut address = None;
    let app = reactor.queue().try_recipient_with(|app| {
        let to: Address<App> = app.clone();
        let acceptor = Acceptor::bind(reactor, "127.0.0.1:0".parse()?, move |_, socket, _| {
            to.call(|app, cx| app.serve(cx, socket).expect("a client"));
        })?;
        address = Some(acceptor.local_addr()?);
        let (reactor, acceptor, over) = (reactor.clone(), Some(acceptor), Some(over));
        Ok::<_, Box<dyn Error>>(App { reactor, acceptor, client: None, timer: None, over })
    })?;
    let (address, remote) = (address.expect("it listens"), reactor.remote_to(&app));
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
    fn serve(&mut self, cx: &Context<'_, Self>, socket: TcpStream) -> Result<(), Box<dyn Error>> {
        self.client = Some(Stream::new(&self.reactor, socket, cx, Self::echo)?);
        self.acceptor = None; // one client is enough
        Ok(())
    }

    fn echo(&mut self, _: &Context<'_, Self>) {
        let Some(client) = &mut self.client else { return };
        let status = client.drive(|input, output| {
            let echoed = output.append(input);
            if echoed > 0 {
                println!("socket: echoes {echoed} bytes");
            }
            if input.is_over() {
                output.finish();
            }
        });
        if status.is_over() {
            self.client = None;
        }
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
