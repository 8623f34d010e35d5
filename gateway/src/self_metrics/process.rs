//! `process_*` metrics, read from /proc.

use super::Exposition;

/// Kernel clock ticks per second in /proc, fixed at 100 on every Linux architecture we run on.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;
/// Page size assumed for resident memory in /proc/self/stat.
const PAGE_BYTES: f64 = 4096.0;

/// Adds CPU, memory, descriptors and start time; leaves out what the system does not tell.
pub fn write_process_metrics(page: &mut Exposition, start_time_seconds: f64) {
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, rest)) = stat.rsplit_once(')')
    {
        let fields: Vec<f64> = rest
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0.0))
            .collect();
        // Fields are numbered from 3 (state) after the command: utime 14, stime 15, vsize 23, rss 24.
        let field = |n: usize| fields.get(n - 3).copied().unwrap_or(0.0);
        page.one_counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            (field(14) + field(15)) / CLOCK_TICKS_PER_SECOND,
        );
        page.one_gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            field(23),
        );
        page.one_gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            field(24) * PAGE_BYTES,
        );
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        page.one_gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            entries.count() as f64,
        );
    }
    if let Ok(limits) = std::fs::read_to_string("/proc/self/limits")
        && let Some(line) = limits.lines().find(|l| l.starts_with("Max open files"))
        && let Some(soft) = line
            .split_whitespace()
            .nth(3)
            .and_then(|v| v.parse::<f64>().ok())
    {
        page.one_gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            soft,
        );
    }
    page.one_gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        start_time_seconds,
    );
}
