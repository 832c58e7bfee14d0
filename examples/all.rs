//! All examples as modules, and their tests: a test cannot depend on an example, but this root lies among
//! them. One hazard a module.

#![allow(dead_code, reason = "of an example, what its main function alone uses")]

mod embed {
    #[cfg(feature = "mio")]
    mod app;
    #[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
    pub(crate) mod calloop;
    #[cfg(all(target_os = "linux", feature = "timerfd", not(mio_unsupported_force_poll_poll)))]
    pub(crate) mod descriptor;
    #[cfg(feature = "mio")]
    pub(crate) mod mio;
    #[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
    pub(crate) mod poll;
    #[cfg(feature = "mio")]
    pub(crate) mod thread;
    pub(crate) mod tick;
    #[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
    pub(crate) mod tokio;
}

#[cfg(feature = "mio")]
mod echo;

#[cfg(all(unix, feature = "mio"))]
mod proxy {
    pub(crate) mod allow;
    mod connect;
    mod exchange;
    mod framing;
    pub(crate) mod heads;
    mod pool;
    #[expect(clippy::module_inception, reason = "the example consists of more than the proxy")]
    pub(crate) mod proxy;
    pub(crate) mod serve;
    mod session;
    pub(crate) mod settings;
    pub(crate) mod story;
    #[cfg(feature = "journal")]
    mod timeline;
}

#[cfg(feature = "mio")]
mod relay;

#[cfg(feature = "mio")]
mod resolve_connect;

#[cfg(feature = "mio")]
mod throughput {
    pub(crate) mod flags;
    pub(crate) mod measure;
    pub(crate) mod report;
    mod work;
}

#[cfg(feature = "mio")]
mod tour {
    mod basics;
    pub(crate) mod flags;
    mod narrator;
    pub(crate) mod paint;
    mod record;
    pub(crate) mod run;
    mod samples;
    mod sockets;
    mod story;
    mod summary;
}

mod tests {
    #[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
    mod embedding;
    #[cfg(feature = "mio")]
    mod resolve_connect;
    #[cfg(all(unix, feature = "mio"))]
    mod servers;
    #[cfg(feature = "mio")]
    mod throughput_figures;
    mod tick;
    #[cfg(feature = "mio")]
    mod tour_flags;

    /// The example `proxy`, with real clients and origins, good and bad.
    #[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
    mod proxy {
        mod bench;
        mod leaving;
        mod passing;
        #[cfg(target_os = "linux")]
        mod process;
        mod reading;
        mod refusing;
    }
}
