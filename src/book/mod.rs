//! The account book.

mod permit;

pub use permit::SendPermit;
