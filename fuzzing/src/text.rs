//! Pages of metrics: the parser ends, stays on the page, and reads a line the same wherever it stands.

use ingest::text::{Dialect, Entry, Parser};

/// Entries of a page as text, up to the end or the first error; whether it was read to its end.
fn entries(page: &[u8], dialect: Dialect) -> (Vec<String>, bool) {
    let mut parser = Parser::new(page, dialect);
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        match parser.next_entry() {
            Ok(Some(entry)) => {
                let here = parser.offset();
                assert!(offset < here && here <= page.len(), "{offset} to {here}");
                offset = here;
                if let Entry::Series(series) = &entry {
                    let mut labels = Vec::new();
                    if series.labels(&mut labels).is_ok() {
                        assert_eq!(labels[0].0, "__name__");
                    }
                }
                all.push(format!("{entry:?}"));
            }
            Ok(None) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

/// The first byte chooses the dialect.
pub fn page(data: &[u8]) {
    let Some((mode, page)) = data.split_first() else {
        return;
    };
    if mode % 2 == 1 {
        entries(page, Dialect::OpenMetrics);
        return;
    }
    let (all, complete) = entries(page, Dialect::Prometheus);
    // Types reach over lines, and quotes may; without them a page is its lines.
    let plain = !page.contains(&b'"') && !page.windows(4).any(|word| word == b"TYPE");
    if complete && plain {
        let mut line_by_line = Vec::new();
        for line in page.split_inclusive(|byte| *byte == b'\n') {
            let (of_line, complete) = entries(line, Dialect::Prometheus);
            assert!(complete, "a line of a good page is bad: {line:?}");
            line_by_line.extend(of_line);
        }
        assert_eq!(all, line_by_line);
    }
}
