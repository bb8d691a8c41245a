//! A real kube-apiserver and etcd, and kubectl.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;

use super::children::{self, RUN_DIR};
use super::wait_for;

/// A control plane. Ends with this process, or when dropped.
pub struct Cluster {
    process: process::Child,
    dir: PathBuf,
}

/// What kubectl said.
#[derive(Debug)]
pub struct Kubectl {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Cluster {
    /// The one that the tests share. Everything in it is by namespace.
    pub async fn shared() -> Arc<Cluster> {
        static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        SHARED.get_or_init(Cluster::start).await.clone()
    }

    /// One of one's own with the CRDs installed, for who takes it apart.
    pub async fn start() -> Arc<Cluster> {
        let cluster = Cluster::bare();
        cluster.install_crds().await;
        cluster
    }

    /// One of one's own without the CRDs.
    pub fn bare() -> Arc<Cluster> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have done it
        let dir = RUN_DIR.join(format!("control-plane-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let log = dir.with_extension("log");
        // It is not on the reaper's list: it ends, with its two servers, when its stdin does.
        let mut process = Command::new(repository().join("tools/control-plane"))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("tools/control-plane starts");
        let mut ready = String::new();
        let stdout = process.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("its output can be read");
        assert!(
            ready.starts_with("ready "),
            "no control plane:\n{}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );

        Arc::new(Cluster { process, dir })
    }

    async fn install_crds(&self) {
        let crds = repository().join("crds");
        self.kubectl(&["apply", "--server-side", "-f", &crds.to_string_lossy()]).await.expect("the CRDs are accepted");
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await.expect("the CRDs are established");
        // They are discovered a moment later; until then kubectl would remember that there are none.
        wait_for("the CRDs to be discovered", async || {
            let served =
                self.kubectl(&["api-resources", "--cached=false", "--api-group=crs.qcloud.com", "-o", "name"]).await;
            if served.stdout.lines().count() == 2 { Ok(()) } else { Err(format!("{served:?}")) }
        })
        .await;
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Sends a signal to `etcd` or `kube-apiserver`. One that it ends is started again.
    pub fn signal(&self, server: &str, name: &str) {
        let pid = std::fs::read_to_string(self.dir.join(server).with_extension("pid")).expect("it runs");
        children::signal(&pid, name);
    }

    /// Ends `etcd` or `kube-apiserver`, and keeps it down until `bring_back`.
    pub fn take_away(&self, server: &str) {
        File::create(self.dir.join(server).with_extension("hold")).expect("a file");
        self.signal(server, "KILL");
    }

    pub fn bring_back(&self, server: &str) {
        std::fs::remove_file(self.dir.join(server).with_extension("hold")).expect("it was taken away");
    }

    /// Is one of the two held down?
    pub fn is_away(&self) -> bool {
        ["etcd", "kube-apiserver"].iter().any(|server| self.dir.join(server).with_extension("hold").exists())
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Kubectl {
        self.kubectl_with(arguments, "").await
    }

    /// kubectl with something on its stdin.
    pub async fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> Kubectl {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).env("PATH", path_with_assets());
        command.env("KUBECACHEDIR", self.dir.join("kubectl")); // an earlier API server on this port knew other resources
        let stdin = stdin.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("kubectl is there or gets built");
            // One that failed early doesn't read its stdin: what it says tells more than the error of the write.
            let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
            let output = child.wait_with_output().expect("kubectl ends");
            Kubectl {
                ok: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }
        })
        .await
        .expect("the wait for kubectl does not panic")
    }

    /// A client for one test: it must not outlive the runtime that it was made in, and each test has its own.
    pub async fn client(&self) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a config");
        kube::Client::try_from(config).expect("a client")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Kubectl {
    /// Its stdout; it must have succeeded.
    #[track_caller]
    pub fn expect(self, what: &str) -> String {
        assert!(self.ok, "{what}: kubectl said: {}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its stderr; it must have failed.
    #[track_caller]
    pub fn expect_refusal(self, what: &str) -> String {
        assert!(!self.ok, "{what}: kubectl succeeded: {}", self.stdout);
        self.stderr
    }
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `make test` says where the assets are; kubectl is among them when the machine has none.
fn path_with_assets() -> OsString {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    env::join_paths(env::split_paths(&env::var_os("PATH").unwrap_or_default()).chain(assets)).expect("a PATH")
}
