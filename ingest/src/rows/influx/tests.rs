//! Lines in, rows out, read back from the message that they make.

use super::*;
use crate::limits::ROW_FAULTS_MAX;
use crate::wire::{Reader, started_sample};

/// The rows of a message: labels, time, value.
fn decode(message: &[u8]) -> Vec<String> {
    let (mut symbols, mut out) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Request").unwrap() {
        let content = reader.bytes().unwrap();
        if tag.field == 4 {
            symbols.push(std::str::from_utf8(content).unwrap());
            continue;
        }
        let mut series = Reader::new(content);
        series.tag("TimeSeries").unwrap();
        let mut references = Reader::new(series.bytes().unwrap());
        let mut labels = Vec::new();
        while !references.at_end() {
            let name = symbols[references.varint().unwrap() as usize];
            let value = symbols[references.varint().unwrap() as usize];
            labels.push(format!("{name}={value}"));
        }
        series.tag("TimeSeries").unwrap();
        let (time, value, _) = started_sample(series.bytes().unwrap()).unwrap();
        assert!(series.at_end());
        out.push(format!("{} {value} @{time}", labels.join(",")));
    }
    out
}

fn read(lines: &InfluxLines, body: &str) -> (Vec<String>, Vec<String>) {
    let mut rows = Rows::new();
    lines.read(body.as_bytes(), 42, &mut rows);
    let faults = rows.faults().to_vec();
    assert_eq!(faults.len(), rows.faulty().min(ROW_FAULTS_MAX));
    let count = rows.count();
    let rows = decode(&rows.into_message());
    assert_eq!(rows.len(), count);
    (rows, faults)
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    let (rows, faults) = read(&InfluxLines::default(), body);
    assert_eq!(rows, expected);
    assert_eq!(faults, [] as [String; 0]);
}

#[test]
fn lines_become_rows() {
    check(
        "cpu,host=a,region=eu usage=1.5,idle=2i,up=t 1700000000123456789\n",
        &[
            "__name__=cpu_usage,host=a,region=eu 1.5 @1700000000123",
            "__name__=cpu_idle,host=a,region=eu 2 @1700000000123",
            "__name__=cpu_up,host=a,region=eu 1 @1700000000123",
        ],
    );
    check("m v=1", &["__name__=m_v 1 @42"]);
    check(
        "# comment \"\n\n  \r\nm v=-1e3,w=7u,x=F \r\n",
        &[
            "__name__=m_v -1000 @42",
            "__name__=m_w 7 @42",
            "__name__=m_x 0 @42",
        ],
    );
    check(
        "my\\ m\\,x,a\\=b=c\\ d,e=f\\\\g,empty=\\, \"q\"=1,k\\ y=2 -1000000\n",
        &[
            "__name__=my m,x_\"q\",a=b=c d,e=f\\g,empty=, 1 @-1",
            "__name__=my m,x_k y,a=b=c d,e=f\\g,empty=, 2 @-1",
        ],
    );
    check(
        "m,a=\"b s=\"a, b=\\\"c\n d\",v=3 1000000\nm v=4 2000000",
        &["__name__=m_v,a=\"b 3 @1", "__name__=m_v 4 @2"],
    );
}

#[test]
fn bad_lines_cost_themselves() {
    for (line, reason) in [
        ("m", "missing fields"),
        (",a=b v=1", "missing measurement"),
        ("m,a v=1", "missing tag value"),
        ("m,=b v=1", "missing tag key"),
        ("m v=", "missing field value"),
        ("m =1", "missing field key"),
        ("m v", "missing field value"),
        ("m v=1 x", "bad timestamp"),
        ("m v=abc", "invalid field value \"abc\""),
        ("m v=0x10", "invalid field value \"0x10\""),
        ("m v=1e999", "invalid field value \"1e999\""),
        ("m v=1.5i", "invalid field value \"1.5i\""),
    ] {
        let body = format!("m v=1\n{line}\nm v=2 1000000\n");
        let (rows, faults) = read(&InfluxLines::default(), &body);
        assert_eq!(rows, ["__name__=m_v 1 @42", "__name__=m_v 2 @1"], "{line}");
        let quoted = go_quote(line.as_bytes());
        assert_eq!(faults, [format!("unable to parse {quoted}: {reason}")]);
    }
    // A quote that does not end takes what follows with it.
    let (rows, faults) = read(&InfluxLines::default(), "m v=1\nm v=\"a\nm v=2\n");
    assert_eq!((rows.len(), faults.len()), (1, 1));
    let many = "m\n".repeat(100);
    let (_, faults) = read(&InfluxLines::default(), &many);
    assert_eq!(faults.len(), ROW_FAULTS_MAX);
    // A line is taken whole or not at all.
    let (rows, faults) = read(&InfluxLines::default(), "m v=1,w=x\nm u=2\n");
    assert_eq!((rows.len(), faults.len()), (1, 1));
}

#[test]
fn units_of_time_and_the_database() {
    for (name, expected) in [
        ("ns", 0_i64),
        ("us", 7),
        ("u", 7),
        ("ms", 7_200),
        ("s", 7_200_000),
        ("m", 432_000_000),
        ("h", 25_920_000_000),
    ] {
        let lines = InfluxLines {
            precision: Precision::from_name(name).unwrap(),
            db: "d".to_owned(),
        };
        let (rows, _) = read(&lines, "m v=1 7200\n");
        assert_eq!(rows, [format!("__name__=m_v,db=d 1 @{expected}")]);
    }
    assert_eq!(Precision::from_name("x"), None);
    let lines = InfluxLines {
        precision: Precision::Hours,
        db: "d".to_owned(),
    };
    let (rows, faults) = read(&lines, "m,db=own v=1\nm v=1 9223372036854775807\n");
    assert_eq!(rows, ["__name__=m_v,db=own 1 @42"]);
    assert!(faults[0].ends_with("time outside range"), "{faults:?}");
}

#[test]
fn damaged_lines_never_panic() {
    let body = "my\\ m,a\\=b=c\\ d f=1.5,s=\"x\\\"y\n\",i=2i 1700000000123456789\n# c\nm v=t\n";
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..5000 {
        let mut damaged = body.as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            match random(3) {
                0 => damaged[at] = random(256) as u8,
                1 => {
                    damaged.remove(at);
                }
                _ => damaged.insert(at, b"\"\\\n,= #"[random(7)]),
            }
        }
        let mut rows = Rows::new();
        InfluxLines::default().read(&damaged, 0, &mut rows);
        assert!(rows.count() <= damaged.len());
        decode(&rows.into_message());
    }
}
