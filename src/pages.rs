//! The guide: the pages of the folder `docs`, and the [examples](examples/index.html). The pages' code runs as
//! doctests. They follow each other:
//!
//! 1. [The life of a call](lifecycle/index.html)
//! 1. [The rules](rules/index.html)
//! 1. [Operations](operations/index.html)
//! 1. [The samples](samples/index.html)
//! 1. [Robust servers](servers/index.html)
//! 1. [A proxy, as an example of a whole program](proxy/index.html)
//! 1. [Embedding: the reactor in the host's loop](embedding/index.html)
//! 1. [Testing your recipients](testing/index.html)
//! 1. [An hour with the model](study/index.html)
//! 1. [Performance](performance/index.html)
//! 1. [Compared with others](comparison/index.html)
//! 1. [Design](design/index.html)
//! 1. [Reliability](reliability/index.html)

#[cfg(all(doctest, feature = "mio"))]
#[doc = include_str!("../README.md")]
mod readme {}

/// Pages as modules. Where the links of a page lead, which name files of the project, is defined at its
/// end for a forge. The first definition of a link counts, so here the links lead into the
/// documentation.
macro_rules! pages {
    ($($(#[$when:meta])* $name:ident: $($file:literal),+;)+) => {
        $(
            $(#[$when])*
            #[doc = include_str!("pages/links.txt")]
            $(#[doc = include_str!($file)])+
            pub mod $name {}
        )+
    };
}

pages! {
    lifecycle: "../docs/lifecycle.md";
    #[cfg(feature = "mio")] rules: "../docs/rules.md";
    #[cfg(all(unix, feature = "mio"))] operations: "../docs/operations.md";
    samples: "../docs/samples.md";
    #[cfg(all(unix, feature = "mio"))] servers: "../docs/servers.md";
    proxy: "../docs/proxy.md";
    #[cfg(all(unix, feature = "mio"))] embedding: "../docs/embedding.md";
    #[cfg(all(feature = "mio", feature = "testing"))] testing: "../docs/testing.md";
    #[cfg(feature = "journal")] study: "../docs/study.md";
    performance: "../docs/performance.md", "../docs/performance/table.md";
    #[cfg(feature = "mio")] comparison: "../docs/comparison.md";
    design: "../docs/design.md";
    reliability: "../docs/reliability.md";
}

/// A module with the code of examples.
macro_rules! examples {
    ($($name:literal: $file:literal),+ $(,)?) => {
        /// The code of the examples, which run in the folder of the project: `cargo run --example embed mio`.
        $(#[doc = concat!("## ", $name, "\n\n~~~rust\n", include_str!($file), "\n~~~")])+
        #[cfg(not(doctest))]
        pub mod examples {}
    };
}

examples! {
    "embed mio": "../examples/embed/mio.rs",
    "embed poll": "../examples/embed/poll.rs",
    "embed descriptor": "../examples/embed/descriptor.rs",
    "embed thread": "../examples/embed/thread.rs",
    "embed calloop": "../examples/embed/calloop.rs",
    "embed tokio": "../examples/embed/tokio.rs",
    "embed tick": "../examples/embed/tick.rs",
    "app": "../examples/embed/app.rs",
    "echo": "../examples/echo.rs",
    "relay": "../examples/relay.rs",
    "timer": "../examples/timer.rs",
    "cancel": "../examples/cancel.rs",
    "chat": "../examples/chat.rs",
    "resolve_connect": "../examples/resolve_connect.rs",
    "signals": "../examples/signals.rs",
    "child": "../examples/child.rs",
    "tls": "../examples/tls.rs",
    "tls source": "../examples/tls/source.rs",
    "proxy": "../examples/proxy/main.rs",
    "tour": "../examples/tour/main.rs",
}
