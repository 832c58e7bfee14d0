//! What the tests, the fuzz targets and the benches share: fixtures, models, laws and acts. Not
//! published.

pub mod counting;
#[cfg(all(unix, feature = "mio"))]
pub mod fuzz;
#[cfg(feature = "mio")]
pub mod manual;
#[cfg(all(unix, feature = "mio"))]
pub mod net;
pub mod random;
#[cfg(all(unix, feature = "mio"))]
pub mod rig;
pub mod sequences;
pub mod util;
