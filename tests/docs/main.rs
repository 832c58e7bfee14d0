//! What the pages say: that what they name is there, and what no call would break.

mod guide;
mod links;
mod names;
mod operations;
mod pages;
mod promises;
