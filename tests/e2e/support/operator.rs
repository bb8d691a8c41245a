//! The operator, as a process of its own.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;

use super::children::Child;
use super::world::KEYS;

pub struct Operator(Child);

impl Operator {
    /// Starts `crs-operator run`, with times that make a test take seconds.
    pub fn start(name: &str, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
        command
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info,crs_operator=debug")
            .args(["run", "--cloud-lag", "1s", "--request-lifetime", "3s", "--resync", "1s", "--cloud-rate", "0"])
            .args(["--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0"])
            .args(arguments);
        Operator::start_as(name, &mut command)
    }

    /// Starts it as `command` says.
    pub fn start_as(name: &str, command: &mut Command) -> Operator {
        Operator(Child::start(&format!("{name}-operator"), command))
    }

    pub fn log(&self) -> String {
        self.0.log()
    }

    /// SIGKILL: no time for anything.
    pub async fn kill(mut self) {
        self.0.signal("KILL");
        self.0.ended().await;
    }

    /// SIGTERM, as the kubelet does it; gives the exit status.
    pub async fn terminate(mut self) -> ExitStatus {
        self.0.signal("TERM");
        self.0.ended().await
    }

    /// Stops it where it is, until `thaw`.
    pub fn freeze(&self) {
        self.0.signal("STOP");
    }

    pub fn thaw(&self) {
        self.0.signal("CONT");
    }
}

impl Drop for Operator {
    /// In whatever test: no secret and no signature is ever logged.
    fn drop(&mut self) {
        let log = self.log();
        let leaked = KEYS.iter().chain(&["Signature="]).find(|secret| log.contains(**secret));
        if let (Some(secret), false) = (leaked, thread::panicking()) {
            panic!("the operator's log has {secret} in it");
        }
    }
}
