//! What an append costs: CPU per sample (validate, store, encode the log record) and heap per series.
//!
//! `cargo run --release -p ferula-storage-engine --example append_cost -- [series] [rounds]`. Each round is one sample
//! for each series in batches of 2,000, once in order and once in an order shuffled per round. CPU time of the thread,
//! so that a busy machine disturbs little. Values: 45 % counters, 25 % constants, 20 % gauges with two decimals, 10 %
//! random floats.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use ferula_storage_engine::model::{Labels, MatchOp, Matcher, SampleColumns, SeriesRef};
use ferula_storage_engine::shard::{Action, Event, Shard, ShardConfig};
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendMode, ReadNotes, SampleSeries, TimeRange,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged; the counter beside it touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's layout is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from `alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn cpu_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let given = arguments.next().and_then(|a| a.parse().ok());
        given.unwrap_or(default)
    };
    let (series, rounds) = (number(100_000), number(60));
    let mut random = Random(0x1234_5678_9abc_def1);
    let before = LIVE.load(Relaxed);
    let mut shard = Shard::new(ShardConfig {
        hash_seed: 7,
        ..ShardConfig::default()
    });
    let mut refs: Vec<SeriesRef> = Vec::with_capacity(series);
    let mut values = vec![0.0_f64; series];
    let mut order: Vec<u32> = (0..series as u32).collect();
    let harness = LIVE.load(Relaxed) - before;
    let mut actions = Vec::new();
    let mut logged = 0_usize;
    let mut clock = 1_700_000_000_000_i64;

    let mut created_nanos = 0;
    for chunk in order.chunks(2000) {
        let mut batch = Box::new(AppendBatch::default());
        for (i, &s) in chunk.iter().enumerate() {
            let labels = Labels::from_pairs([
                ("__name__", format!("node_metric_{}", s % 200)),
                (
                    "instance",
                    format!("10.0.{}.{}:9100", s / 51_200, (s / 200) % 256),
                ),
                ("job", "node".to_owned()),
                ("cluster", format!("c{}", s / 20_000)),
                ("mode", format!("m{}", s % 8)),
                ("cpu", format!("{}", s % 25)),
                ("env", "production".to_owned()),
                ("region", format!("r{}", (s / 200) % 4)),
                ("pod", format!("pod-{:08x}", s / 200)),
            ]);
            let Ok(labels) = labels else { return };
            batch.new_series.push(labels.as_bytes());
            batch.series.push(SampleSeries::New(i as u32));
            batch.timestamps.push(clock);
            batch.values.push(0.0);
        }
        let start = cpu_nanos();
        send(
            &mut shard,
            batch,
            &mut actions,
            &mut logged,
            Some(&mut refs),
        );
        created_nanos += cpu_nanos() - start;
    }
    println!(
        "{series} series created: {} ns each, {} bytes of log each",
        created_nanos / series as u64,
        logged / series
    );

    for shuffled in [false, true] {
        let mut nanos = 0;
        logged = 0;
        for _ in 0..rounds {
            clock += 15_000;
            for (i, value) in values.iter_mut().enumerate() {
                match i % 20 {
                    0..9 => *value += random.below(50) as f64,
                    9..14 => {}
                    14..18 => *value = random.below(100_000) as f64 / 100.0,
                    _ => *value = random.next() as f64 / u64::MAX as f64,
                }
            }
            if shuffled {
                for i in (1..order.len()).rev() {
                    order.swap(i, random.below(i as u64 + 1) as usize);
                }
            }
            for chunk in order.chunks(2000) {
                let mut batch = Box::new(AppendBatch::default());
                for &s in chunk {
                    batch.series.push(SampleSeries::Known(refs[s as usize]));
                    batch.timestamps.push(clock);
                    batch.values.push(values[s as usize]);
                }
                let start = cpu_nanos();
                send(&mut shard, batch, &mut actions, &mut logged, None);
                nanos += cpu_nanos() - start;
            }
        }
        let samples = (rounds * series) as f64;
        println!(
            "{}: {:.1} ns/sample appended and encoded, {:.2} bytes of log each",
            if shuffled { "shuffled" } else { "in order" },
            nanos as f64 / samples,
            logged as f64 / samples
        );
    }
    let live = LIVE.load(Relaxed) - before - harness;
    let stats = shard.stats();
    println!(
        "heap: {:.0} bytes/series with {} samples each",
        live as f64 / series as f64,
        stats.samples / stats.series
    );
    for (part, bytes) in [
        ("hot lines", stats.series_bytes),
        ("index", stats.index_bytes),
        ("open chunks", stats.open_chunk_bytes),
        ("sealed chunks", stats.sealed_chunk_bytes),
    ] {
        println!("  {part}: {:.1} bytes/series", bytes as f64 / series as f64);
    }

    let all = TimeRange {
        min: i64::MIN,
        max: i64::MAX,
    };
    let reader = shard.reader();
    let mut columns = SampleColumns::default();
    let mut read = 0;
    let everything = reader.select(&[], all);
    let mut notes = ReadNotes::default();
    let start = cpu_nanos();
    for one in 0..everything.len() {
        columns.clear();
        reader.read(&everything, one, all, &mut columns, &mut notes);
        read += columns.len();
    }
    println!(
        "read: {:.1} ns/sample",
        (cpu_nanos() - start) as f64 / read as f64
    );
    for matchers in [
        vec![Matcher::equal("__name__", "node_metric_7")],
        vec![
            Matcher::equal("__name__", "node_metric_7"),
            Matcher::equal("region", "r1"),
        ],
        Matcher::new(MatchOp::Regex, "pod", "pod-0000001[0-9a-c]")
            .into_iter()
            .collect(),
        Matcher::new(MatchOp::Regex, "__name__", "node_.*")
            .into_iter()
            .collect(),
    ] {
        let start = cpu_nanos();
        let found = reader.select(&matchers, all);
        let nanos = cpu_nanos() - start;
        println!(
            "{matchers:?}: {} series in {:.1} us",
            found.len(),
            nanos as f64 / 1000.0
        );
    }
}

fn send(
    shard: &mut Shard,
    batch: Box<AppendBatch>,
    actions: &mut Vec<Action>,
    logged: &mut usize,
    mut refs: Option<&mut Vec<SeriesRef>>,
) {
    let append = Event::Append {
        request: 1,
        batch,
        mode: AppendMode::Partial,
    };
    shard.on(0, append, actions);
    while !actions.is_empty() {
        for action in std::mem::take(actions) {
            match action {
                Action::Log { lsn, bytes } => {
                    *logged += bytes.len();
                    shard.on(
                        0,
                        Event::LogDone {
                            lsn,
                            result: Ok(lsn),
                        },
                        actions,
                    );
                }
                Action::Reply { result, .. } => {
                    if let (Some(refs), Ok(outcome)) = (refs.as_deref_mut(), result) {
                        refs.extend(outcome.created.into_iter().flatten());
                    }
                }
                Action::SyncLog { .. } | Action::ReleaseLog { .. } => {}
                Action::WakeAt(_) | Action::Exit => {}
            }
        }
    }
}
