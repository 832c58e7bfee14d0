//! The pages of the folder `docs`. Their code runs as doctests.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(all(unix, feature = "mio"))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

#[doc = include_str!("../docs/lifecycle.md")]
pub mod lifecycle {}

#[cfg(feature = "mio")]
#[doc = include_str!("../docs/rules.md")]
pub mod rules {}

#[cfg(all(unix, feature = "mio"))]
#[doc = include_str!("../docs/servers.md")]
pub mod servers {}

#[doc = include_str!("../docs/proxy.md")]
pub mod proxy {}

#[cfg(all(unix, feature = "mio"))]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[doc = include_str!("../docs/samples.md")]
pub mod samples {}

#[cfg(all(feature = "mio", feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[cfg(feature = "mio")]
#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/reliability.md")]
pub mod reliability {}
