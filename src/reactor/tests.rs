//! What needs a look behind the loop.
