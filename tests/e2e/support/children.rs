//! Processes that end with the test, whatever ends the test.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use super::leaks;

/// Where this run's logs and data are; those of runs that are over get removed.
pub static RUN_DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    for old in fs::read_dir(&all).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let own = all.join(process::id().to_string());
    fs::create_dir_all(&own).expect("a folder for logs");
    own
});

/// A shell that lives until our end closes its stdin, and then kills what is still on its list: destructors don't run when a test
/// process is killed or exits.
static REAPER: LazyLock<Mutex<process::Child>> = LazyLock::new(|| {
    let script = r#"trap '' INT TERM HUP
        declare -A pids; while read -r sign pid; do if [ $sign = + ]; then pids[$pid]=; else unset "pids[$pid]"; fi; done
        [ ${#pids[@]} = 0 ] || kill -KILL "${!pids[@]}""#;
    let reaper = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash starts");
    Mutex::new(reaper)
});

fn tell_reaper(sign: char, pid: u32) {
    let mut reaper = REAPER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let stdin = reaper.stdin.as_mut().expect("stdin is piped");
    let _ = writeln!(stdin, "{sign} {pid}");
}

/// A process whose output goes to a file, which is shown when the test fails. Killed when dropped.
pub struct Child {
    process: process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its stderr in a log called `name`, and its stdout there too or, with `first_line`, read for one line.
    pub fn start(name: &str, command: &mut Command) -> Child {
        let (log, file) = new_log(name);
        let stdout = file.try_clone().expect("a second handle on the log");
        Child::spawn(log, command.stdin(Stdio::null()).stdout(stdout).stderr(file))
    }

    /// As `start`, for one whose first line on stdout says that it is ready. Returns that line too.
    pub fn start_and_read_line(name: &str, command: &mut Command) -> (Child, String) {
        let (log, file) = new_log(name);
        let mut child = Child::spawn(log, command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file));
        let mut line = String::new();
        let stdout = child.process.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        assert!(!line.is_empty(), "{name} ended without a word; its log:\n{}", child.log());
        (child, line.trim_end().to_owned())
    }

    fn spawn(log: PathBuf, command: &mut Command) -> Child {
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        tell_reaper('+', process.id());
        Child { process, log }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, called as `kill` calls it.
    pub fn signal(&self, name: &str) {
        signal(&self.id().to_string(), name);
    }

    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("a child can be waited for").is_none()
    }

    /// Stands it still, by SIGSTOP?
    pub fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.process.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "still runs after 30 s; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Child {
    /// In whatever test: no secret and no signature is ever written.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        tell_reaper('-', self.process.id());
        leaks::assert_none(&self.log.display().to_string(), &self.log());
        if std::thread::panicking() {
            let log = self.log();
            let mut tail: VecDeque<_> = log.lines().collect();
            tail.drain(..tail.len().saturating_sub(60));
            eprintln!("--- the end of {}", self.log.display());
            tail.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Sends a signal to any process. (`kill` is built into bash; as a program it is not on every machine.)
pub fn signal(pid: &str, name: &str) {
    let status = Command::new("bash").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, pid.trim()]).status();
    assert!(status.is_ok_and(|status| status.success()), "no SIG{name} to {pid}");
}

/// A file for the output of `name` in this run's folder, a new one for every start.
fn new_log(name: &str) -> (PathBuf, File) {
    (1..)
        .find_map(|n| {
            let path = RUN_DIR.join(format!("{name}-{n}.log"));
            File::create_new(&path).ok().map(|file| (path, file))
        })
        .expect("some number is free")
}

#[test]
#[should_panic(expected = "has key-of-the-shop-nobody-may-see in it")]
fn a_process_that_writes_a_secret_fails_its_test() {
    let (said, _) =
        Child::start_and_read_line("careless", Command::new("bash").args(["-c", "echo $0 >&2; echo done", super::KEY]));
    drop(said);
}
