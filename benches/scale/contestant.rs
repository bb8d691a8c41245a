//! The two that are measured, each a process as a user would start it.

use std::{env, net::TcpListener, path::Path, process::Command, time::Duration};

use super::support::children::Child;

#[derive(Clone, Copy)]
pub struct Contestant {
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ours,
    Peer,
}

pub const OURS: Contestant = Contestant { name: "crs-operator", kind: Kind::Ours };
pub const PEER: Contestant = Contestant { name: "controller-runtime", kind: Kind::Peer };

pub struct Running {
    kind: Kind,
    child: Child,
    metrics: String,
    http: reqwest::Client,
}

impl Contestant {
    pub fn start(self, kubeconfig: &Path, cloud: &str, arguments: &[&str]) -> Running {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let mut command = match self.kind {
            Kind::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
                command.args(["run", "--health-probe-bind-address", "127.0.0.1:0"]).args(arguments);
                command
            }
            Kind::Peer => Command::new(env::var("PEER").expect("PEER names the peer's binary: see `make bench`")),
        };
        let endpoint = format!("{cloud}/v2/index.php");
        command.env("KUBECONFIG", kubeconfig).args(["--api-endpoint", &endpoint, "--metrics-bind-address", &address]);
        let metrics = format!("http://{address}/metrics");
        Running { kind: self.kind, child: Child::start(self.name, &mut command), metrics, http: reqwest::Client::new() }
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its metrics are asked for as seldom as the answer allows: that costs it time, too.
    pub async fn wait_until_observed(&self, size: usize) {
        let pause = if self.kind == Kind::Ours { 20 } else { 200 };
        while self.observed().await < size as f64 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn observed(&self) -> f64 {
        let metric = match self.kind {
            Kind::Ours => "crs_operator_instances{",
            // One for each object, once: it comes back to it after --resync.
            Kind::Peer => "controller_runtime_reconcile_total{controller=\"redisinstance\",result=\"requeue_after\"}",
        };
        let Ok(answer) = self.http.get(&self.metrics).send().await else { return 0.0 };
        let text = answer.text().await.unwrap_or_default();
        super::meter::sum(&text, metric)
    }
}
