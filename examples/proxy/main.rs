//! A forward proxy for HTTP/1.1: see the README beside this.
//!
//! `cargo run --release --example proxy -- --listen 127.0.0.1:3128`

pub(crate) mod allow;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod flags;
pub(crate) mod framing;
pub(crate) mod heads;
pub(crate) mod pool;
pub(crate) mod proxy;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod system;
#[cfg(feature = "journal")]
pub(crate) mod timeline;

use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = match flags::read(std::env::args_os().skip(1)) {
        Ok(flags::Command::Help) => {
            print!("{}", flags::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(flags::Command::Serve(settings)) => serve::serve(&settings),
        Err(error) => {
            eprintln!("{error}; see --help");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
