//! The operator, as a process of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::children::Child;
use super::leaks;
use super::wait_for;

pub struct Operator(Child);

impl Operator {
    /// Starts `crs-operator run`, with times that make a test take seconds. Those are set in the environment: an argument goes before.
    pub fn start(name: &str, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        Operator::start_as(name, &mut Operator::command(kubeconfig, arguments))
    }

    /// The same, killed or stopped at a point of the protocol: as `CRS_OPERATOR_FAILPOINT` has it.
    pub fn start_with_failpoint(name: &str, kubeconfig: &Path, arguments: &[&str], failpoint: &str) -> Operator {
        let mut command = Operator::command(kubeconfig, arguments);
        Operator::start_as(name, command.env("CRS_OPERATOR_FAILPOINT", failpoint))
    }

    fn command(kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
        command
            .env("KUBECONFIG", kubeconfig)
            // All that a user can switch on; but for the random numbers of TLS handshakes, which look like signatures.
            .env("RUST_LOG", "trace,rustls=debug")
            .env("NO_COLOR", "1")
            .envs([("CLOUD_LAG", "1s"), ("REQUEST_LIFETIME", "3s"), ("RESYNC", "1s"), ("CLOUD_RATE", "0")].map(flag))
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .envs([("METRICS_BIND_ADDRESS", "127.0.0.1:0"), ("HEALTH_PROBE_BIND_ADDRESS", "127.0.0.1:0")].map(flag))
            .arg("run")
            .args(arguments);
        command
    }

    /// Starts it as `command` says.
    pub fn start_as(name: &str, command: &mut Command) -> Operator {
        Operator(Child::start(&format!("{name}-operator"), command))
    }

    pub fn runs(&mut self) -> bool {
        self.0.runs()
    }

    /// GET on its address for `health` or `metrics`, which it logs when it starts.
    pub async fn http_get(&self, which: &str, path: &str) -> String {
        let url = format!("http://{}{path}", self.address(which).expect("it logs its addresses"));
        reqwest::get(url).await.expect("it answers").text().await.expect("a whole answer")
    }

    fn address(&self, which: &str) -> Option<SocketAddr> {
        let log = self.log();
        // In text, or in JSON.
        let found =
            [format!(" {which}="), format!("\"{which}\":\"")].iter().find_map(|key| Some(log.split_once(key)?.1));
        found?.split([' ', '"', '\n']).next()?.parse().ok()
    }

    /// The metrics, unless it has ended or is frozen.
    fn last_metrics(&mut self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if !self.runs() || self.is_still() {
                return None;
            }
            match self.get_metrics() {
                Ok(text) => return Some(text),
                Err(error) if Instant::now() > deadline => panic!("no metrics: {error}; its log:\n{}", self.log()),
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
    }

    fn get_metrics(&self) -> io::Result<String> {
        let address = self.address("metrics").ok_or(io::ErrorKind::NotConnected)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    pub fn log(&self) -> String {
        self.0.log()
    }

    /// SIGKILL: no time for anything.
    pub async fn kill(mut self) {
        self.0.signal("KILL");
        self.0.ended().await;
    }

    /// Waits until its failpoint strikes: `kill` or `stop`.
    pub async fn struck(&mut self, action: &str) {
        wait_for(&format!("its failpoint to {action} it"), async || {
            let struck = if action == "kill" { !self.runs() } else { self.is_still() };
            if struck { Ok(()) } else { Err(self.log()) }
        })
        .await;
        if action == "kill" {
            assert_eq!(self.ended().await.signal(), Some(9), "{}", self.log());
        }
        assert!(self.log().contains("failpoint "), "{}", self.log());
    }

    pub fn is_still(&self) -> bool {
        self.0.is_stopped()
    }

    /// Tells it to end, as `terminate` does, and doesn't wait.
    pub fn tell_to_end(&self) {
        self.0.signal("TERM");
    }

    /// SIGTERM, as the kubelet does it; gives the exit status.
    pub async fn terminate(mut self) -> ExitStatus {
        self.0.signal("TERM");
        self.0.ended().await
    }

    /// Waits until it ends by itself; gives the exit status.
    pub async fn ended(&mut self) -> ExitStatus {
        self.0.ended().await
    }

    pub fn thaw(&self) {
        self.0.signal("CONT");
    }
}

fn flag((name, value): (&str, &'static str)) -> (String, &'static str) {
    (format!("CRS_OPERATOR_{name}"), value)
}

impl Drop for Operator {
    /// (Its log is looked at when its process ends.)
    fn drop(&mut self) {
        if let (false, Some(metrics)) = (std::thread::panicking(), self.last_metrics()) {
            assert!(metrics.contains("crs_operator_"), "no metrics: {metrics}");
            leaks::assert_none("the metrics", &metrics);
        }
    }
}
