//! The two that are measured, each a process as a user would start it.

use std::{env, net::TcpListener, path::Path, process::Command, time::Duration};

use super::{
    meter::{sum, within},
    support::children::Child,
};

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
    /// `rate`: of ours alone; the peer knows no limit.
    pub fn start(self, kubeconfig: &Path, cloud: &str, resync: &str, rate: &str) -> Running {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let mut command = match self.kind {
            Kind::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
                command.args(["run", "--health-probe-bind-address", "127.0.0.1:0", "--cloud-rate", rate]);
                command
            }
            Kind::Peer => Command::new(env::var("PEER").expect("PEER names the peer's binary: see `make bench`")),
        };
        let endpoint = format!("{cloud}/v2/index.php");
        command.env("KUBECONFIG", kubeconfig).args(["--api-endpoint", &endpoint, "--metrics-bind-address", &address]);
        command.args(["--resync", resync]);
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
        let (metric, pause) = match self.kind {
            Kind::Ours => ("crs_operator_instances{", 20),
            // One for each object, once: it comes back to it after --resync.
            Kind::Peer => {
                ("controller_runtime_reconcile_total{controller=\"redisinstance\",result=\"requeue_after\"}", 200)
            }
        };
        self.wait_for(metric, size, Duration::from_millis(pause)).await;
    }

    /// For nothing of so many is on its way any more.
    pub async fn wait_until_ready(&self, size: usize) {
        self.wait_for("crs_operator_instances{state=\"ready\"}", size, Duration::from_secs(1)).await;
    }

    async fn wait_for(&self, metric: &str, size: usize, pause: Duration) {
        within(async {
            loop {
                if let Ok(answer) = self.http.get(&self.metrics).send().await
                    && sum(&answer.text().await.unwrap_or_default(), metric) >= size as f64
                {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        })
        .await;
    }
}
