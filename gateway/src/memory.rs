//! How much memory this process may use: the machine's, or less where a control group says so.

/// Bytes of memory, the smallest bound that the system tells of; `None` where it tells none.
pub(crate) fn available_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|t| machine_bytes(&t));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|t| group_bytes(&t, |path| std::fs::read_to_string(path).ok()));
    machine.into_iter().chain(group).min()
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|l| l.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The tightest `memory.max` from the process's control group (version 2) up to the root.
fn group_bytes(cgroup: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut path = cgroup
        .lines()
        .find_map(|l| l.strip_prefix("0::"))?
        .trim_end_matches('/');
    let mut tightest = None;
    loop {
        let bound = read(&format!("/sys/fs/cgroup{path}/memory.max"))
            .and_then(|text| text.trim().parse::<u64>().ok());
        tightest = tightest.into_iter().chain(bound).min();
        match path.rfind('/') {
            Some(at) => path = &path[..at],
            None => return tightest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_bound_wins() {
        assert_eq!(
            machine_bytes("MemTotal:       1000 kB\nMemFree: 1 kB\n"),
            Some(1_024_000)
        );
        let read = |path: &str| match path {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_bytes("0::/a/b\n", read), Some(4096));
        assert_eq!(group_bytes("1:cpu:/x\n", |_| None), None);
    }
}
