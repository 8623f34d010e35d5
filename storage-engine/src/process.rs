//! Limits of the process itself, and the priority of its threads.
//!
//! Not here: locked memory for io_uring, which the probe of the runtime raises when it is needed.

use std::io;

/// Raises the soft limit of open files to `wanted`, or to the hard limit where that is lower; never lowers it. Returns the limit in force.
pub fn raise_open_files_limit(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit to the pointer, which lives on our stack.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let target = wanted.min(limit.rlim_max);
    if target <= limit.rlim_cur {
        return Ok(limit.rlim_cur);
    }
    limit.rlim_cur = target;
    // SAFETY: the kernel reads one rlimit from the pointer, which lives on our stack.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(target)
}

/// How much nicer than the rest a background thread is.
const BACKGROUND_NICENESS: libc::c_int = 10;

/// Lets every other thread of the process go before the calling one.
pub(crate) fn lower_thread_priority() -> io::Result<()> {
    // On Linux priorities belong to threads; 0 is the calling one.
    // SAFETY: the call takes numbers only.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BACKGROUND_NICENESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_and_never_falls() {
        let now = raise_open_files_limit(0).unwrap();
        assert!(now > 0);
        let raised = raise_open_files_limit(u64::MAX).unwrap();
        assert!(raised >= now);
        assert_eq!(raise_open_files_limit(1).unwrap(), raised);
    }
}
