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
        /// The code of the examples, which run in the folder of the project: `cargo run --example embed_mio`.
        $(#[doc = concat!("## ", $name, "\n\n~~~rust\n", include_str!($file), "\n~~~")])+
        #[cfg(not(doctest))]
        pub mod examples {}
    };
}

examples! {
    "embed_mio": "../examples/embed_mio.rs",
    "embed_poll": "../examples/embed_poll.rs",
    "embed_descriptor": "../examples/embed_descriptor.rs",
    "embed_thread": "../examples/embed_thread.rs",
    "embed_calloop": "../examples/embed_calloop.rs",
    "embed_tokio": "../examples/embed_tokio.rs",
    "embed_tick": "../examples/embed_tick.rs",
    "app": "../examples/app/mod.rs",
    "echo": "../examples/echo.rs",
    "proxy": "../examples/proxy/main.rs",
    "relay": "../examples/relay.rs",
    "resolve_connect": "../examples/resolve_connect.rs",
    "tour": "../examples/tour/main.rs",
}
