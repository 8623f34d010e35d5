//! Every bound of this crate, with what happens at it.

/// Longest form body of an API request in bytes (Go's `ParseForm` bound); a longer one is refused.
pub const FORM_BYTES_MAX: usize = 10 << 20;

/// Longest configuration file in bytes; a longer one is refused at load.
pub const CONFIG_FILE_BYTES_MAX: u64 = 64 << 20;

/// Longest answer that `ferula promql` takes from a server in bytes; a longer one is refused.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 1 << 30;

/// Deepest nesting of a configuration document; a deeper one is refused, as recursion follows the nesting.
pub const CONFIG_NESTING_MAX: usize = 100;

/// Most nodes of a configuration document after aliases are followed; beyond it the file is refused. A few lines of aliases of
/// aliases could otherwise fill the memory.
pub const CONFIG_NODES_MAX: usize = 5_000_000;

/// Deepest nesting of `@file` arguments on the command line; beyond it the start is refused (a file may name itself).
pub const ARGS_FILE_NESTING_MAX: usize = 10;

/// Longest `@file` of arguments in bytes; a longer one is refused.
pub const ARGS_FILE_BYTES_MAX: u64 = 1 << 20;

/// Reload requests that may wait for the one in progress; a further one is answered with an error.
pub const RELOADS_WAITING_MAX: usize = 64;

/// File descriptors that the process asks for at start; the hard limit of the system wins.
pub const OPEN_FILES_WANTED: u64 = 1 << 20;

/// How long stopping workers may take before the process goes on to close the store without them.
pub const SHUTDOWN_DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(15);

/// Bytes of a refused body that are still read and thrown away, so that the sender reads our answer instead of a broken connection; a
/// longer one is cut off.
pub const BODY_DRAINED_BYTES_MAX: u64 = 128 << 20;
/// Most that a declared body length makes us set aside before a byte of it has come.
pub const BODY_RESERVED_BYTES_MAX: u64 = 1 << 20;
/// Longest compressed body of a remote-write request; a longer one is refused with 413.
pub const WRITE_BODY_BYTES_MAX: usize = 32 << 20;
/// Longest decompressed body of a remote-write request, as Prometheus; a longer one is refused with 400 before memory is taken.
pub const WRITE_DECODED_BYTES_MAX: usize = 32 << 20;

/// Longest answer that an Alertmanager may give; a longer one counts as a failure.
pub const NOTIFY_ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long stopping waits for alerts to be sent; then they are given up.
pub const NOTIFY_DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// Groups of rules that are evaluated at the same moment; a further one waits, and what it misses meanwhile is counted.
pub const GROUPS_EVALUATING_MAX: usize = 64;
/// How often the samples of a rule are handed to a shard that is overloaded; then the rule has failed.
pub const RULE_APPEND_TRIES_MAX: usize = 20;
/// How long to wait between two of these.
pub const RULE_APPEND_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// Longest compressed body of a remote read; a longer one is refused with 400.
pub const READ_BODY_BYTES_MAX: usize = 4 << 20;
/// Longest decompressed body of a remote read; a longer one is refused with 400.
pub const READ_DECODED_BYTES_MAX: usize = 16 << 20;
/// Frames of a remote read that wait for a slow client; the next is encoded when one has gone.
pub const READ_FRAMES_WAITING_MAX: usize = 2;

/// Longest body of a push, compressed or not; a longer one is refused with 413.
pub const PUSH_BODY_BYTES_MAX: usize = 64 << 20;
/// Requests that may wait for the push gateway; further ones are answered with 503.
pub const PUSH_QUEUE_MAX: usize = 1000;
/// Bytes of pushes that may wait to be written; beyond it a push is answered with 503, unless it is alone.
pub const PUSH_QUEUE_BYTES_MAX: usize = 256 << 20;
/// Bytes of changes that share a write of the push log; what comes beyond them waits for the next.
pub const PUSH_COMMIT_BYTES_MAX: usize = 4 << 20;
/// How far the push log may grow beyond twice its length when it was last written anew; then it is written anew.
pub const PUSH_LOG_SLACK_BYTES: u64 = 16 << 20;

/// Highest cost of a bcrypt hash in the web configuration (16: about four seconds a check); a higher one is refused at load.
pub const BCRYPT_COST_MAX: u32 = 16;
/// Passwords that are checked at once at most, on threads of their own; never more than half the cores, but one.
pub const PASSWORDS_CHECKED_AT_ONCE_MAX: usize = 4;
/// Callers that may wait for their password to be checked; further ones are answered with 503.
pub const PASSWORDS_WAITING_MAX: usize = 256;
/// Good passwords that are known without a check; beyond it all are forgotten.
pub const PASSWORDS_KNOWN_MAX: usize = 1024;
/// Shortest bearer token; a shorter one is refused at load.
pub const TOKEN_BYTES_MIN: usize = 16;
/// How often the web configuration and the files that it names are looked at.
pub const WEB_CONFIG_LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Longest head of an HTTP/1.1 request in bytes; a longer one is refused with 431. (At most 100 headers; hyper's own bound.)
pub const HEAD_BYTES_MAX: usize = 400 << 10;
/// Longest header list of an HTTP/2 request in bytes; a longer one is refused.
pub const HEADER_LIST_BYTES_MAX: u32 = 400 << 10;
/// Requests that one HTTP/2 connection may have open at once, as Go's server.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 250;
/// Longest time between the first byte of a request's head and its last, and of a TLS handshake; a slower connection is closed.
pub const HEAD_SECONDS_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// How often a worker looks for connections that are too slow or idle for too long; the bounds above are kept to within this.
pub const CONNECTIONS_LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// Queries that `status/top_queries` looks back on; the oldest are forgotten.
pub const QUERIES_REMEMBERED_MAX: usize = 10_000;
/// Bytes of the texts of these queries together; the oldest are forgotten.
pub const QUERIES_REMEMBERED_BYTES_MAX: usize = 8 << 20;
/// A query that took less is not remembered.
pub const QUERY_REMEMBERED_AFTER: std::time::Duration = std::time::Duration::from_millis(1);
/// How often a live stream without news gets a line, so that it does not look dead.
pub const LIVE_COMMENT_EVERY: std::time::Duration = std::time::Duration::from_secs(15);
