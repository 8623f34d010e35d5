//! What a block costs on disk and to read: bytes per sample by section, and samples per second written and scanned.
//!
//! `cargo run --release -p ferula-storage-engine --example block_size -- [targets] [samples] [noisy percent]`. Without a percentage the series
//! are those of the measurements behind the format (set S480: per target 71 series of counters, seconds, gauges, noise, constants and
//! classic histograms, scraped every 15 s with a few milliseconds of jitter). With one, each target has 100 counters and gauges, of which that
//! share are random floats. CPU time of the thread, so that a busy machine disturbs little.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use ferula_storage_engine::block::{
    Block, BlockId, BlockOptions, BlockWriter, Profile, block_order,
};
use ferula_storage_engine::io::StandardDisk;
use ferula_storage_engine::model::{Labels, SampleColumns, SeriesSamples, TimestampMs};
use ferula_storage_engine::shard_api::{ReadNotes, TimeRange};

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
    /// At least 0, less than 1.
    fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

type Series = (Labels, SeriesSamples);

/// One target: its name, its moments, and what it has exposed so far.
struct Target<'a> {
    instance: String,
    times: Vec<TimestampMs>,
    out: &'a mut Vec<Series>,
}

impl Target<'_> {
    fn push(&mut self, name: &str, extra: &[(&str, String)], values: Vec<f64>) {
        let mut pairs = vec![
            ("__name__", name.to_owned()),
            ("instance", self.instance.clone()),
            ("job", "app".to_owned()),
        ];
        pairs.extend(extra.iter().map(|(n, v)| (*n, v.clone())));
        let labels = match Labels::from_pairs(pairs) {
            Ok(labels) => labels,
            Err(error) => panic!("BUG: {error}"),
        };
        let mut samples = SeriesSamples::default();
        samples.floats.timestamps = self.times.clone();
        samples.floats.values = values;
        self.out.push((labels, samples));
    }
}

fn moments(random: &mut Random, samples: usize) -> Vec<TimestampMs> {
    let offset = random.below(15_000) as i64;
    (0..samples as i64)
        .map(|i| {
            let late = if random.below(25) == 0 {
                3 + random.below(37) as i64
            } else {
                0
            };
            1_795_000_000_000 + offset + i * 15_000 + late
        })
        .collect()
}

/// More by day, less by night.
fn load(i: usize) -> f64 {
    1.0 + 0.5 * ((i as f64 * 15.0) / 86_400.0 * std::f64::consts::TAU).sin()
}

fn mixed_target(random: &mut Random, samples: usize, target: &mut Target<'_>) {
    let all = || 0..samples;
    for k in 0..6 {
        let rate = 10_f64.powf(random.between(0.0, 4.0));
        let bits = 10 + random.below(26);
        let mut count = random.below(1 << bits);
        let values = all()
            .map(|i| {
                let expected = rate * load(i) * 15.0;
                let noise = random.unit() + random.unit() + random.unit() - 1.5;
                count += (expected + expected.sqrt() * noise * 2.0).max(0.0) as u64;
                count as f64
            })
            .collect();
        let code = ["200", "404", "500"][k % 3].to_owned();
        target.push(
            "http_requests_total",
            &[("code", code), ("handler", format!("/h{}", k / 3))],
            values,
        );
    }
    for k in 0..4 {
        let chance = 0.03 * (k + 1) as f64;
        let mut count = random.below(5000);
        let values = all()
            .map(|_| {
                if random.unit() < chance {
                    count += 1 + random.below(3);
                }
                count as f64
            })
            .collect();
        target.push("errors_total", &[("kind", format!("k{k}"))], values);
    }
    for mode in ["idle", "user", "system", "iowait"] {
        let share = random.between(0.01, 0.9);
        let mut ticks = random.below(100_000_000);
        let values = all()
            .map(|i| {
                ticks += (share * load(i) * random.between(0.8, 1.2) * 1500.0) as u64;
                ticks as f64 / 100.0
            })
            .collect();
        target.push(
            "node_cpu_seconds_total",
            &[("mode", mode.to_owned()), ("cpu", "0".to_owned())],
            values,
        );
    }
    let mut sum = 0.0;
    let values = all()
        .map(|i| {
            for _ in 0..3 {
                sum += 0.003 * load(i) * random.unit();
            }
            sum
        })
        .collect();
    target.push("http_request_duration_seconds_sum", &[], values);
    gauges(random, samples, target);
    for k in 0..14 {
        let constant = [
            0.0,
            1.0,
            random.below(100_000) as f64,
            1.7e9 + random.below(1_000_000) as f64 + 0.37,
        ];
        target.push(
            "config_info",
            &[("k", format!("{k}"))],
            vec![constant[k % 4]; samples],
        );
    }
    for k in 0..2 {
        classic_histogram(random, samples, target, k);
    }
}

fn gauges(random: &mut Random, samples: usize, target: &mut Target<'_>) {
    let walks: [(&str, u64, f64, f64, f64, f64); 4] = [
        // name, series, least start, greatest start, step, rounding (0: none)
        ("memory_bytes", 4, 4096.0, 4_194_304.0, 0.0, -4096.0),
        ("cpu_percent", 3, 20.0, 80.0, 2.0, 100.0),
        ("temp_celsius", 2, 30.0, 60.0, 0.3, 1000.0),
        ("noise_ratio", 2, 0.1, 2.0, 0.01, 0.0),
    ];
    for (name, series, low, high, step, rounding) in walks {
        for k in 0..series {
            let mut value = random.between(low, high);
            let step = if step == 0.0 { value * 0.002 } else { step };
            let values = (0..samples)
                .map(|_| {
                    value += (random.unit() - 0.5) * step;
                    match rounding {
                        0.0 => value,
                        r if r < 0.0 => value.max(1.0).floor() * -r,
                        r => (value * r).round() / r,
                    }
                })
                .collect();
            target.push(name, &[("k", format!("{k}"))], values);
        }
    }
    for k in 0..3 {
        let mut value = 5.0 + random.below(495) as f64;
        let values = (0..samples)
            .map(|_| {
                if random.unit() < 0.4 {
                    value = (value + random.below(7) as f64 - 3.0).max(0.0);
                }
                value
            })
            .collect();
        target.push("goroutines", &[("p", format!("{k}"))], values);
    }
}

fn classic_histogram(random: &mut Random, samples: usize, target: &mut Target<'_>, k: usize) {
    let bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
    ];
    let shares = [
        0.02, 0.1, 0.3, 0.6, 0.82, 0.93, 0.97, 0.99, 0.996, 0.999, 1.0, 1.0,
    ];
    let rate = random.between(0.5, 30.0);
    let mut counts = [0_u64; 12];
    let mut columns = vec![Vec::new(); 12];
    let (mut sum, mut sums) = (0.0, Vec::new());
    for i in 0..samples {
        let observed = (rate * load(i) * 15.0 * random.between(0.7, 1.3)) as usize;
        for _ in 0..observed.min(400) {
            let place = random.unit();
            let bucket = shares.iter().position(|s| place <= *s).unwrap_or(11);
            counts[bucket..].iter_mut().for_each(|c| *c += 1);
            sum += place * place * 0.2;
        }
        for (column, count) in columns.iter_mut().zip(counts) {
            column.push(count as f64);
        }
        sums.push(sum);
    }
    let m = ("m", format!("m{k}"));
    let total = columns[11].clone();
    for (bound, column) in bounds.iter().zip(columns) {
        target.push(
            "rpc_latency_seconds_bucket",
            &[("le", (*bound).to_owned()), m.clone()],
            column,
        );
    }
    target.push("rpc_latency_seconds_count", std::slice::from_ref(&m), total);
    target.push("rpc_latency_seconds_sum", &[m], sums);
}

fn noisy_target(random: &mut Random, samples: usize, target: &mut Target<'_>, percent: u64) {
    for k in 0..100_u64 {
        let mut value = random.below(1_000_000) as f64;
        let rate = 1 + random.below(1000);
        let values = (0..samples)
            .map(|_| {
                if k < percent {
                    return random.unit() * 100.0;
                }
                value += match k % 4 {
                    0 | 1 => random.below(rate) as f64,
                    2 => random.below(7) as f64 - 3.0,
                    _ => 0.0,
                };
                value
            })
            .collect();
        target.push(
            &format!("metric_{}", k / 10),
            &[("k", format!("{}", k % 10))],
            values,
        );
    }
}

fn make(targets: usize, samples: usize, noisy: Option<u64>) -> Vec<Series> {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let mut out = Vec::new();
    for number in 0..targets {
        let mut target = Target {
            instance: format!("10.0.{}.{}:9100", number / 256, number % 256),
            times: moments(&mut random, samples),
            out: &mut out,
        };
        match noisy {
            Some(percent) => noisy_target(&mut random, samples, &mut target, percent),
            None => mixed_target(&mut random, samples, &mut target),
        }
    }
    out.sort_by(|a, b| block_order(a.0.as_bytes(), b.0.as_bytes()));
    out
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let mut number = || arguments.next().transpose();
    let targets = number()?.unwrap_or(40) as usize;
    let samples = number()?.unwrap_or(480) as usize;
    let noisy = number()?;
    let all = make(targets, samples, noisy);
    let total: usize = all.iter().map(|(_, s)| s.len()).sum();
    println!("{} series, {total} samples", all.len());
    let dir = std::env::temp_dir();
    for profile in [Profile::Sealed, Profile::Compacted] {
        let path = dir.join(format!("ferula-block-size-{}.block", std::process::id()));
        let options = BlockOptions {
            id: BlockId::new(1_795_000_000_000, [3; 10]),
            profile,
            ..BlockOptions::default()
        };
        let began = cpu_nanos();
        let mut writer = BlockWriter::create(&StandardDisk, &path, options)?;
        for (labels, samples) in &all {
            writer.add(labels.as_bytes(), samples)?;
        }
        let meta = writer.finish()?.ok_or("no samples")?;
        let written = cpu_nanos() - began;
        let block = Block::open(&StandardDisk, &path)?;
        let mut best = u64::MAX;
        let everything = TimeRange {
            min: TimestampMs::MIN,
            max: TimestampMs::MAX,
        };
        let mut out = SampleColumns::default();
        let mut notes = ReadNotes::default();
        for _ in 0..5 {
            let began = cpu_nanos();
            let mut seen = 0;
            for ordinal in 0..meta.series {
                out.clear();
                block.read(ordinal, everything, &mut out, &mut notes);
                seen += out.len();
            }
            best = best.min(cpu_nanos() - began);
            assert_eq!(seen, total);
        }
        let began = cpu_nanos();
        let mut bytes = Vec::new();
        for ordinal in 0..meta.series {
            bytes.clear();
            block.put_canonical(ordinal, &mut bytes)?;
        }
        let labels = (cpu_nanos() - began) / u64::from(meta.series);
        for (ordinal, (_, samples)) in all.iter().enumerate() {
            out.clear();
            block.read(ordinal as u32, everything, &mut out, &mut notes);
            let same = out.timestamps == samples.floats.timestamps
                && out
                    .values
                    .iter()
                    .zip(&samples.floats.values)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "series {ordinal} came back changed");
        }
        let per = |bytes: u64| bytes as f64 / total as f64;
        println!("{profile:?}: {:.4} bytes per sample", per(meta.bytes));
        for (name, bytes) in block.section_sizes() {
            println!("  {name:12} {:8.4}  {bytes} bytes", per(bytes));
        }
        println!("  pages        {:?}", block.page_kinds()?);
        let speed = |nanos: u64| total as f64 * 1e3 / nanos as f64;
        println!(
            "  written at {:.1}, read at {:.0} million samples a second; labels of a series in {labels} ns",
            speed(written),
            speed(best)
        );
        std::fs::remove_file(&path)?;
    }
    Ok(())
}
