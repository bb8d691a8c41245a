//! The operator's own binary against a real kube-apiserver and etcd and the simulated cloud. What it did is judged by the cloud's ledger
//! and by what a person sees in the resources.
//!
//! One control plane serves all tests, each has its own namespaces, cloud and operator. `KUBEBUILDER_ASSETS` says where the servers are;
//! without it `tools/assets` builds them. Logs are in `target/tmp/e2e/`.

mod away;
mod book;
mod clocks;
mod console;
mod credentials;
mod dashboard;
mod doubled;
mod edits;
mod evidence;
mod faults;
mod frozen;
mod gitops;
mod growth;
mod killed;
mod money;
mod moving;
mod process;
mod shards;
mod support;
mod traces;
