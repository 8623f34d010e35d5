//! Does this kernel, with this process's limits and filters, give us a ring that glommio can live with?
//!
//! glommio answers that question by panicking or ending the process, so it is asked here first: the memory limit is raised as far as
//! allowed, a ring is made, each operation that glommio submits is asked for, and one makes the round trip. About 0.2 ms; 5 µs if refused.

use io_uring::{IoUring, Probe, opcode};
use std::io;

/// Locked memory that glommio insists on, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Why io_uring cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingUnavailable {
    /// A seccomp profile, or the sysctl kernel.io_uring_disabled.
    #[error(
        "io_uring is forbidden here ({cause}): a seccomp profile (Docker's and Kubernetes's default) or kernel.io_uring_disabled"
    )]
    Forbidden {
        /// The system's words.
        cause: String,
    },
    /// Too old, or built without.
    #[error("this kernel has no io_uring")]
    NoKernelSupport,
    /// RLIMIT_MEMLOCK.
    #[error(
        "the limit of locked memory is {bytes} bytes, glommio needs {MEMLOCK_BYTES_MIN} (ulimit -l)"
    )]
    LockedMemory {
        /// The hard limit.
        bytes: u64,
    },
    /// The kernel lacks operations.
    #[error("this kernel's io_uring lacks {0}")]
    MissingOperations(String),
    /// Anything else.
    #[error("io_uring does not work here: {0}")]
    Broken(String),
}

/// Operations that glommio 0.9 submits.
const OPERATIONS: [(&str, u8); 23] = [
    ("Nop", opcode::Nop::CODE),
    ("Readv", opcode::Readv::CODE),
    ("Writev", opcode::Writev::CODE),
    ("Fsync", opcode::Fsync::CODE),
    ("ReadFixed", opcode::ReadFixed::CODE),
    ("WriteFixed", opcode::WriteFixed::CODE),
    ("PollAdd", opcode::PollAdd::CODE),
    ("PollRemove", opcode::PollRemove::CODE),
    ("SendMsg", opcode::SendMsg::CODE),
    ("RecvMsg", opcode::RecvMsg::CODE),
    ("Timeout", opcode::Timeout::CODE),
    ("TimeoutRemove", opcode::TimeoutRemove::CODE),
    ("Accept", opcode::Accept::CODE),
    ("LinkTimeout", opcode::LinkTimeout::CODE),
    ("Connect", opcode::Connect::CODE),
    ("Fallocate", opcode::Fallocate::CODE),
    ("OpenAt", opcode::OpenAt::CODE),
    ("Close", opcode::Close::CODE),
    ("Statx", opcode::Statx::CODE),
    ("Read", opcode::Read::CODE),
    ("Write", opcode::Write::CODE),
    ("Send", opcode::Send::CODE),
    ("Recv", opcode::Recv::CODE),
];

/// Raises the soft limit of locked memory to the hard one and returns it.
fn raise_memlock() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit to the pointer, which lives on our stack.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: the kernel only reads the struct; raising soft to hard needs no privilege.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
}

/// `Ok` if glommio may be started.
pub fn probe_ring() -> Result<(), RingUnavailable> {
    let broken = |error: io::Error| RingUnavailable::Broken(error.to_string());
    let bytes = raise_memlock().map_err(broken)?;
    if bytes < MEMLOCK_BYTES_MIN {
        return Err(RingUnavailable::LockedMemory { bytes });
    }
    let mut ring = IoUring::new(8).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS) => RingUnavailable::NoKernelSupport,
        Some(libc::EPERM | libc::EACCES) => RingUnavailable::Forbidden {
            cause: error.to_string(),
        },
        _ => broken(error),
    })?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(broken)?;
    let missing: Vec<_> = OPERATIONS
        .iter()
        .filter(|(_, code)| !probe.is_supported(*code))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        return Err(RingUnavailable::MissingOperations(missing.join(", ")));
    }
    let nop = opcode::Nop::new().build().user_data(1);
    // SAFETY: a Nop refers to no memory.
    let pushed = unsafe { ring.submission().push(&nop) };
    pushed.map_err(|error| RingUnavailable::Broken(error.to_string()))?;
    ring.submit_and_wait(1).map_err(broken)?;
    match ring.completion().next() {
        Some(entry) if entry.user_data() == 1 && entry.result() == 0 => Ok(()),
        _ => Err(RingUnavailable::Broken(
            "a no-op did not complete".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_answers_twice_the_same() {
        let first = probe_ring();
        println!("probe: {first:?}");
        assert_eq!(first, probe_ring());
    }
}
