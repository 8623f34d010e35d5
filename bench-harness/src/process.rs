//! A server we started: its process, its cost, its end. Only processes started here are ever signalled.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use loadgen::http_client::Connection;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks per second of CPU times in /proc.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;
/// Pause between two looks at a server that is starting.
const POLL: Duration = Duration::from_millis(5);

/// A running child process that answers HTTP.
pub(crate) struct Server {
    child: Child,
    /// `host:port`.
    pub(crate) authority: String,
    log: PathBuf,
}

impl Server {
    /// Starts `program` in a directory, where its output goes too.
    pub(crate) fn start(
        program: &Path,
        args: &[String],
        directory: &Path,
        authority: &str,
    ) -> Result<Self> {
        Server::start_in(program, args, directory, directory, authority)
    }

    /// Starts `program` in a directory, with its output in another.
    pub(crate) fn start_in(
        program: &Path,
        args: &[String],
        directory: &Path,
        log_directory: &Path,
        authority: &str,
    ) -> Result<Self> {
        let name = program
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into());
        let log = log_directory.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Server {
            child,
            authority: authority.to_owned(),
            log,
        })
    }

    /// Waits until `path` answers 200; how long that took.
    pub(crate) async fn wait_ready(&mut self, path: &str, limit: Duration) -> Result<Duration> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status} while starting; its output: {}",
                    self.tail()
                );
            }
            let mut connection = Connection::new(self.authority.clone());
            let request = http::Request::get(path);
            if let Ok((200, _)) = connection.send(request, Bytes::new()).await {
                return Ok(started.elapsed());
            }
            if started.elapsed() > limit {
                bail!("not ready after {limit:?}; its output: {}", self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last lines of its output.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!(
            "/proc/{}/{file}",
            self.child.id()
        ))?)
    }

    /// User and system CPU seconds so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_in(&self.proc("stat")?)
    }

    /// CPU seconds so far of the threads that are there now, by the scheduler's account: finer than [`Self::cpu_seconds`], which counts ticks.
    pub(crate) fn scheduled_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while we look.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let first = text.split_whitespace().next().unwrap_or_default();
            nanoseconds += first.parse::<f64>().unwrap_or(0.0);
        }
        Ok(nanoseconds / 1e9)
    }

    /// CPU seconds so far of ferula's keepers, the threads that seal, compact and take checkpoints; 0 of a server without them.
    pub(crate) fn keeper_cpu_seconds(&self) -> Result<f64> {
        let mut seconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while we look.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else {
                continue;
            };
            if stat.contains("(keeper-") {
                seconds += cpu_seconds_in(&stat)?;
            }
        }
        Ok(seconds)
    }

    /// Resident memory now, bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory since the start or the last [`Self::reset_peak`], bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Forgets the most resident memory so far.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&path, "5").with_context(|| path)
    }

    fn memory(&self, name: &str) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|l| l.starts_with(name));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1))
            .with_context(|| format!("no {name}"))?
            .parse()?;
        Ok(kib * 1024)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then wait for the end.
    pub(crate) fn terminate(mut self) -> Result<()> {
        // The id is of our own child, which has not been waited for.
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        if sent.is_ok_and(|s| s.success()) {
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of all files under `directory`, as blocks allocated on disk are counted by length.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => directory_bytes(&entry.path()),
            Ok(meta) => {
                use std::os::unix::fs::MetadataExt;
                (meta.blocks() * 512).min(meta.len().next_multiple_of(512))
            }
            Err(_) => 0,
        })
        .sum()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// User and system CPU seconds of a `stat` file of `/proc`.
fn cpu_seconds_in(stat: &str) -> Result<f64> {
    let (_, rest) = stat.rsplit_once(')').context("unexpected /proc/…/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields count from 3 (state) after the command; utime is 14, stime 15.
    let ticks = |n: usize| {
        fields
            .get(n - 3)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    Ok((ticks(14) + ticks(15)) / CLOCK_TICKS_PER_SECOND)
}
