//! crs-operator keeps Tencent Cloud CRS (Redis) instances at the memory size that their owners declare, and never pays twice.
//!
//! The way of the data: [`controller`] is woken for one `RedisInstance`; [`observe`] has seen its instance in the cloud;
//! [`decide`] says what to do; [`act`] does it, through the [`book`] and the [`calls`] of the [`cloud`]; [`report`] tells people.

mod act; // carries a decision out, in the order that keeps the money safe
mod api; // the two resources: types, schema, rules
mod api_server; // calls of the API server: their bound, and what it says in words for people
mod assembly; // puts it together, runs it, and ends its work in order
mod balance; // accounts without money: one probe for each
#[cfg(feature = "benchmarks")]
pub mod benchmarks; // what benches/micro.rs measures
pub mod book; // the account book, and the permit that an order takes
mod calls; // calls of the cloud, limited and counted
mod claims; // which RedisInstance owns which instance
pub mod cli; // one file for each subcommand
pub mod cloud; // the cloud's API: plain types, clients, limits; knows no Kubernetes
mod controller; // watches, queue, reconcile
mod decide; // the policy: pure
pub mod failpoint; // where tests kill or freeze it; nothing in a release
#[cfg(any(test, fuzzing))]
pub mod fuzzing; // what outsiders write: each reader of it, with what must hold whatever it says
#[cfg(test)]
mod histories; // seeded histories of all of it together, in virtual time
mod index; // what is kept of each RedisInstance
mod leader; // leader election, for economy
#[cfg(test)]
mod model; // every interleaving of the protocol, up to a bound
mod observe; // the cloud's lists, and whom a change wakes
mod queue; // who is to be looked after next
mod report; // status and Events
mod secrets; // the cloud's keys
mod serve; // health, readiness, metrics
mod shared; // values of which many are alike
mod simulator; // the cloud's side, for tests, demo and trying out; shares nothing with the rest
mod telemetry; // logs, metrics, traces
