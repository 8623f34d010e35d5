//! Every bound of this crate, with what happens at it.

/// Longest write-ahead-log record payload in bytes; a longer batch is split before it is logged.
pub const WAL_RECORD_BYTES_MAX: usize = 64 << 20;
/// Size at which a log segment is closed and the next one begun.
pub const WAL_SEGMENT_BYTES: u64 = 128 << 20;
/// Messages a shard's mailbox holds; a full mailbox refuses (the gateway waits or answers 503).
pub const MAILBOX_MESSAGES_MAX: usize = 1024;
/// Bytes of log that may wait for the commit in flight; beyond it appends are refused as overloaded.
pub const WAL_PENDING_BYTES_MAX: usize = 64 << 20;
/// Most spans, buckets and custom bounds of one native histogram together; one with more is invalid.
pub const HISTOGRAM_PARTS_MAX: usize = 1 << 20;
/// Default bound on active series in one shard; beyond it new series are refused, existing ones go on.
pub const SERIES_PER_SHARD_MAX: u32 = 20_000_000;
/// Default bound on new series in one shard within a minute; beyond it new series are refused, existing ones go on. High enough for
/// every sender of a full shard to come back at once, low enough that labels that never repeat do not fill the memory in a minute.
pub const NEW_SERIES_PER_MINUTE_MAX: u32 = 2_000_000;
/// Default bound on the labels of a new series; one with more is refused. Real exporters stay below 64, but metrics that copy the labels
/// of Kubernetes objects do not.
pub const LABELS_PER_SERIES_MAX: u32 = 128;
/// Default bound on the bytes of a label name of a new series; one with a longer name is refused.
pub const LABEL_NAME_BYTES_MAX: u32 = 1024;
/// Default bound on the bytes of a label value of a new series; one with a longer value is refused. Statements and paths as values are
/// longer than one would wish, and a refused series may be the one that is needed.
pub const LABEL_VALUE_BYTES_MAX: u32 = 32 << 10;
/// Query tasks that wait in one shard; one more is dropped, and its query fails.
pub const TASKS_PER_SHARD_MAX: usize = 4096;
/// Emptied log segments kept to be written again; more are removed.
pub const WAL_SPARE_SEGMENTS_MAX: usize = 2;
/// Bytes of log that were taken and are not durable; they are kept in memory, should a sync fail. Beyond it a sync comes before its time.
pub const WAL_UNSYNCED_BYTES_MAX: usize = 64 << 20;
/// Of the room for such bytes, what is kept when they are durable.
pub const WAL_UNSYNCED_BYTES_KEPT: usize = 1 << 20;
/// Longest time that a log that has failed or found the disk full waits before it tries again, in nanoseconds.
pub const WAL_FULL_RETRY_NANOS: u64 = 1_000_000_000;
/// Bytes of the reserve in a data directory, which is given up when the disk is full so that what frees room can be finished.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Bytes of log behind the last checkpoint that make the next one due, unless the last one was larger: then as many as that had.
pub const CHECKPOINT_LOG_BYTES: u64 = 32 << 20;
/// Bytes of log that make a checkpoint worth while before it is due, unless the last one was larger: it writes about as much.
pub const CHECKPOINT_LOG_BYTES_MIN: u64 = 16 << 20;
/// Share of the time that such checkpoints may take, in per cent of a core for each shard.
pub const CHECKPOINT_PERCENT: u64 = 5;
/// Checkpoints kept: should the newest be damaged, the one before it and the log behind that bring everything back.
pub const CHECKPOINTS_KEPT: usize = 2;
/// Bytes of series that are copied out of a shard at once for a checkpoint; what one damaged section costs at most when there is no
/// other checkpoint.
pub const CHECKPOINT_PIECE_BYTES: usize = 1 << 20;
/// Series that are copied in one slice of a shard's time.
pub const CHECKPOINT_SLICE_SERIES: u32 = 128;
/// Start timestamps after which such a slice takes no further series.
pub const CHECKPOINT_SLICE_STARTS: usize = 4096;
/// Messages that a shard takes from its mailbox before a query slice has its turn.
pub const MAIL_PER_TURN_MAX: usize = 64;
/// How long a shard with mail may stand still before the watchdog ends the process, in milliseconds.
pub const WATCHDOG_STALL_MS: u64 = 5_000;
/// Most shards of a store: more cores than this share the work of these.
pub const SHARDS_MAX: usize = 1024;
/// Most samples of one page of a block; a series with more has several pages.
pub const BLOCK_PAGE_SAMPLES_MAX: u32 = 1 << 16;
/// Most numbers of the native histograms in one page of a block; the next histogram begins another page.
pub const BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX: usize = 1 << 17;
/// Timestamps that a block's writer keeps to find parts of known time columns; older columns are forgotten, their parts written again.
pub const BLOCK_TIMES_CACHED_MAX: usize = 1 << 20;
/// Pages that a block's writer compares a new one with; when there are more, it begins anew and may write equal pages twice.
pub const BLOCK_PAGES_COMPARED_MAX: usize = 4 << 20;
/// Most bytes of a packed frame of pages once unpacked; a block that names a larger one is damaged.
pub const BLOCK_FRAME_BYTES_MAX: usize = 256 << 20;
/// Threads of maintenance (sealing, compaction, retention) for the whole store; shards beyond take turns on them.
pub const MAINTENANCE_THREADS_MAX: usize = 2;
/// Share of a core that a maintenance thread takes while its shard has mail, in percent; it pauses to keep to it.
pub const MAINTENANCE_BUSY_PERCENT: u64 = 25;
/// Share of a core that a maintenance thread takes otherwise, in percent.
pub const MAINTENANCE_IDLE_PERCENT: u64 = 75;
/// Longest single pause of a maintenance thread, in nanoseconds.
pub const MAINTENANCE_PAUSE_NANOS_MAX: u64 = 1_000_000_000;
/// How long maintenance waits before it tries a full mailbox again, in nanoseconds.
pub const MAINTENANCE_MAILBOX_RETRY_NANOS: u64 = 5_000_000;
/// Orders (deletions, snapshots) that wait for a maintenance thread; one more is refused.
pub const MAINTENANCE_ORDERS_MAX: usize = 64;
/// Longest time between two looks of maintenance at a shard, in nanoseconds. A look is cheap, and what the log grows by between two of them is
/// what a restart has to read beside the checkpoint.
pub const MAINTENANCE_LOOK_NANOS_MAX: u64 = 5_000_000_000;
/// Longest time between two looks whether a checkpoint is due, in nanoseconds: under full load a log grows by as much as makes one due in a
/// few seconds, and a restart reads what is behind the last one.
pub const CHECKPOINT_LOOK_NANOS_MAX: u64 = 1_000_000_000;
/// Series read from the head in one slice of a sealing.
pub const SLICE_SERIES_MAX: usize = 256;
/// Samples read from the head in one slice of a sealing, give or take one series.
pub const SLICE_SAMPLES_MAX: usize = 8_192;
/// Series that a sealing holds at a time.
pub const PIECE_SERIES_MAX: usize = 4_096;
/// Samples that a sealing holds at a time, give or take one series; 4 MiB of floats.
pub const PIECE_SAMPLES_MAX: usize = 262_144;
/// Blocks that are written at one time where samples of many ranges are sealed; more ranges take more passes over the head.
pub const BLOCKS_WRITTEN_AT_ONCE_MAX: usize = 8;
/// Ranges of the head that are sealed in one round before others have their turn; the rest follows with the next round.
pub const SEALS_PER_ROUND_MAX: usize = 256;
/// How much newer than the moment a block was made its samples may be, in milliseconds; beyond it a query is not warned of its damage.
pub const QUARANTINE_SLACK_MS: i64 = 3_600_000;
/// Room that a compaction leaves free on the disk beside what its blocks take, in bytes; with less it waits.
pub const COMPACTION_SPARE_BYTES: u64 = 64 << 20;
/// On a small file system it leaves one part in this many free instead.
pub const COMPACTION_SPARE_PART: u64 = 20;
