//! crs-operator keeps Tencent Cloud CRS (Redis) instances at the memory size that their owners declare, and never pays twice.
//!
//! The way of the data: `controller` is woken for one `RedisInstance`; `observe` has seen its instance; `decide` says what to
//! do; `act` does it, through the `book` and the `cloud`; `report` tells people.

pub mod api;
pub mod book;
pub mod cloud;
pub mod decide;
