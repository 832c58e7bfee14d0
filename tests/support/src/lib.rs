//! What the tests, the fuzz targets and the benches share: fixtures, and the stories with their worlds,
//! acts and laws. Not published.

pub mod alone;
pub mod counting;
#[cfg(feature = "mio")]
pub mod descriptors;
pub mod echo;
#[cfg(feature = "mio")]
pub mod manual;
#[cfg(feature = "mio")]
pub mod net;
#[cfg(feature = "mio")]
pub mod read_once;
#[cfg(all(unix, feature = "mio"))]
pub mod rig;
pub mod story;
pub mod util;
pub mod worlds;
