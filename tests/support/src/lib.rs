//! What the tests, the fuzz targets and the benches share: fixtures, models, laws and acts. Not
//! published.

pub mod counting;
#[cfg(feature = "mio")]
pub mod descriptors;
pub mod echo;
#[cfg(all(unix, feature = "mio"))]
pub mod fuzz;
#[cfg(feature = "mio")]
pub mod manual;
#[cfg(feature = "mio")]
pub mod net;
pub mod random;
#[cfg(all(unix, feature = "mio"))]
pub mod reactor_stories;
#[cfg(feature = "mio")]
pub mod read_once;
#[cfg(all(unix, feature = "mio"))]
pub mod rig;
pub mod sequences;
#[cfg(all(feature = "mio", feature = "testing"))]
pub mod simulation;
pub mod user_code;
pub mod util;
