//! The pages of the folder `docs`, and the examples. The pages' code runs as doctests.

#[cfg(doctest)]
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
    samples: "../docs/samples.md";
    #[cfg(feature = "mio")] comparison: "../docs/comparison.md";
    design: "../docs/design.md";
    performance: "../docs/performance.md", "../docs/performance/table.md";
    reliability: "../docs/reliability.md";
    proxy: "../docs/proxy.md";
    #[cfg(feature = "journal")] study: "../docs/study.md";
    #[cfg(feature = "mio")] rules: "../docs/rules.md";
    #[cfg(all(unix, feature = "mio"))] embedding: "../docs/embedding.md";
    #[cfg(all(unix, feature = "mio"))] servers: "../docs/servers.md";
    #[cfg(all(unix, feature = "mio"))] operations: "../docs/operations.md";
    #[cfg(all(feature = "mio", feature = "testing"))] testing: "../docs/testing.md";
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
    "proxy": "../examples/proxy/main.rs",
    "relay": "../examples/relay.rs",
    "resolve_connect": "../examples/resolve_connect.rs",
    "tour": "../examples/tour/main.rs",
}
