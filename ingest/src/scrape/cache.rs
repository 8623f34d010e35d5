//! What a target's pages have taught us: series text to stored series, and which series must go stale.
//!
//! Promise: a line that was on the last page in the same place costs one comparison of bytes; labels are parsed and
//! relabeled only when a series is first seen. Entries that vanish are dropped once they are worth a sweep.
//! Not here: sending samples (`page`, `target_loop`).
//!
//! Two tables, because one series can be written in two ways: *lines* are keyed by the text on the page, *series* by the
//! 128-bit hash of their final labels. Staleness follows series.

use crate::limits::SCRAPE_CACHE_TEXT_BYTES_MAX;
use crate::text::MetricType;
use hashbrown::HashTable;
use storage_engine::model::SeriesRef;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Index of a line.
pub(super) type LineId = u32;
/// Index of a series.
pub(super) type SeriesId = u32;

const DROPPED: SeriesId = u32::MAX;
/// A sweep is worth its cost when this many lines, or a quarter of all, are dead.
const DEAD_LINES_MIN: usize = 1000;

/// What besides the text decides the labels: the type changes how `le` and `quantile` are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextClass {
    Plain,
    Histogram,
    Summary,
    /// A key of a page in protobuf.
    Protobuf,
    /// `up` and its like: made here, never on a page.
    Report,
}

impl TextClass {
    pub(super) fn of(metric_type: MetricType) -> Self {
        match metric_type {
            MetricType::Histogram => TextClass::Histogram,
            MetricType::Summary => TextClass::Summary,
            _ => TextClass::Plain,
        }
    }

    pub(super) fn metric_type(self) -> MetricType {
        match self {
            TextClass::Histogram => MetricType::Histogram,
            TextClass::Summary => MetricType::Summary,
            TextClass::Plain | TextClass::Protobuf | TextClass::Report => MetricType::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Line {
    start: u32,
    len: u32,
    series: SeriesId,
    /// Number of the last scrape that had it.
    seen: u32,
    /// Its place on the last page.
    position: u32,
    class: TextClass,
}

/// A stored series.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedSeries {
    identity: u128,
    /// Home shard.
    pub(super) shard: u32,
    /// A line that spells it.
    pub(super) line: LineId,
    /// The shard's own name for it, once known.
    pub(super) reference: Option<SeriesRef>,
    /// Last scrape that counts for staleness.
    tracked: u32,
    /// Batch that carries the labels, and their index there.
    pending: (u32, u32),
}

/// What the cache knows about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Never seen, or not since long: labels are needed.
    No,
    /// Metric relabeling drops it.
    Dropped,
    /// On this page for the second time.
    Again(LineId, SeriesId),
    /// A known series. `fresh` when it was not on the last good page nor on a failed one since.
    Yes {
        line: LineId,
        series: SeriesId,
        fresh: bool,
    },
}

/// The cache of one target.
#[derive(Debug, Default)]
pub(super) struct SeriesCache {
    text: Vec<u8>,
    lines: Vec<Line>,
    line_table: HashTable<LineId>,
    series: Vec<CachedSeries>,
    series_table: HashTable<SeriesId>,
    order: Vec<LineId>,
    next_order: Vec<LineId>,
    cursor: usize,
    tracked_before: Vec<SeriesId>,
    tracked_now: Vec<SeriesId>,
    scrape: u32,
    /// Number of the batch being filled; a scrape that throws its batch away starts another.
    batch: u32,
    last_success: u32,
    successful_lines: usize,
}

fn line_hash(text: &[u8], class: TextClass) -> u64 {
    xxh3_64_with_seed(text, class as u64)
}

fn identity_hash(identity: u128) -> u64 {
    identity as u64
}

impl SeriesCache {
    /// Number of the scrape at hand.
    pub(super) fn scrape(&self) -> u32 {
        self.scrape
    }

    /// Starts a scrape.
    pub(super) fn begin(&mut self) {
        // 0 means "never": a target scraped every second for 136 years would meet it again.
        self.scrape = self.scrape.wrapping_add(1).max(1);
        self.batch = self.batch.wrapping_add(1).max(1);
        self.cursor = 0;
        self.next_order.clear();
        self.tracked_now.clear();
    }

    fn key(&self, line: &Line) -> &[u8] {
        let start = line.start as usize;
        self.text
            .get(start..start + line.len as usize)
            .unwrap_or_default()
    }

    /// Text and class of a line, to make its labels anew.
    pub(super) fn spelling(&self, line: LineId) -> Option<(&[u8], TextClass)> {
        let line = self.lines.get(line as usize)?;
        Some((self.key(line), line.class))
    }

    fn find(&mut self, text: &[u8], class: TextClass) -> Option<LineId> {
        // The line that followed last time.
        if let Some(&id) = self.order.get(self.cursor)
            && let Some(line) = self.lines.get(id as usize)
            && line.class == class
            && self.key(line) == text
        {
            self.cursor += 1;
            return Some(id);
        }
        let found = self.line_table.find(line_hash(text, class), |&id| {
            self.lines
                .get(id as usize)
                .is_some_and(|line| line.class == class && self.key(line) == text)
        });
        let id = *found?;
        self.cursor = self.lines.get(id as usize)?.position as usize + 1;
        Some(id)
    }

    /// Looks a line up and marks it as seen.
    pub(super) fn lookup(&mut self, text: &[u8], class: TextClass) -> Known {
        let Some(id) = self.find(text, class) else {
            return Known::No;
        };
        let (scrape, last_success) = (self.scrape, self.last_success);
        let position = self.next_order.len() as u32;
        let Some(line) = self.lines.get_mut(id as usize) else {
            return Known::No;
        };
        if line.seen == scrape {
            return match line.series {
                DROPPED => Known::Dropped,
                series => Known::Again(id, series),
            };
        }
        let fresh = line.seen < last_success;
        line.seen = scrape;
        line.position = position;
        self.next_order.push(id);
        match line.series {
            DROPPED => Known::Dropped,
            series => Known::Yes {
                line: id,
                series,
                fresh,
            },
        }
    }

    fn insert_line(&mut self, text: &[u8], class: TextClass, series: SeriesId) -> LineId {
        let id = self.lines.len() as LineId;
        self.lines.push(Line {
            start: self.text.len() as u32,
            len: text.len() as u32,
            series,
            seen: self.scrape,
            position: self.next_order.len() as u32,
            class,
        });
        self.text.extend_from_slice(text);
        self.next_order.push(id);
        let (lines, all_text) = (&self.lines, &self.text);
        self.line_table
            .insert_unique(line_hash(text, class), id, |&id| {
                lines.get(id as usize).map_or(0, |line| {
                    let start = line.start as usize;
                    let key = all_text.get(start..start + line.len as usize);
                    line_hash(key.unwrap_or_default(), line.class)
                })
            });
        id
    }

    /// Remembers that relabeling drops a line.
    pub(super) fn insert_dropped(&mut self, text: &[u8], class: TextClass) {
        self.insert_line(text, class, DROPPED);
    }

    /// Remembers a line and the series that it means, which another line may have brought already.
    pub(super) fn insert(
        &mut self,
        text: &[u8],
        class: TextClass,
        identity: u128,
        shard: u32,
    ) -> (LineId, SeriesId) {
        let line = self.lines.len() as LineId;
        let known = self
            .series_table
            .find(identity_hash(identity), |&id| {
                self.series
                    .get(id as usize)
                    .is_some_and(|s| s.identity == identity)
            })
            .copied();
        let series = known.unwrap_or_else(|| {
            let id = self.series.len() as SeriesId;
            self.series.push(CachedSeries {
                identity,
                shard,
                line,
                reference: None,
                tracked: 0,
                pending: (0, 0),
            });
            let series = &self.series;
            self.series_table
                .insert_unique(identity_hash(identity), id, |&id| {
                    series
                        .get(id as usize)
                        .map_or(0, |s| identity_hash(s.identity))
                });
            id
        });
        if let Some(entry) = self.series.get_mut(series as usize) {
            entry.line = line;
        }
        (self.insert_line(text, class, series), series)
    }

    /// A series by its index.
    pub(super) fn series(&self, id: SeriesId) -> Option<&CachedSeries> {
        self.series.get(id as usize)
    }

    /// The series that a line means.
    pub(super) fn series_of(&self, line: LineId) -> Option<SeriesId> {
        let series = self.lines.get(line as usize)?.series;
        (series != DROPPED).then_some(series)
    }

    /// Learns or forgets the shard's reference.
    pub(super) fn set_reference(&mut self, id: SeriesId, reference: Option<SeriesRef>) {
        if let Some(series) = self.series.get_mut(id as usize) {
            series.reference = reference;
        }
    }

    /// Index of the labels in the batch, if they are there already.
    pub(super) fn pending(&self, id: SeriesId) -> Option<u32> {
        let (batch, index) = self.series.get(id as usize)?.pending;
        (batch == self.batch).then_some(index)
    }

    /// Notes where the batch has the labels.
    pub(super) fn set_pending(&mut self, id: SeriesId, index: u32) {
        let batch = self.batch;
        if let Some(series) = self.series.get_mut(id as usize) {
            series.pending = (batch, index);
        }
    }

    /// The batch was thrown away: no labels are in it any more.
    pub(super) fn start_batch_anew(&mut self) {
        self.batch = self.batch.wrapping_add(1).max(1);
    }

    /// The series has a sample that counts for staleness.
    #[inline]
    pub(super) fn track(&mut self, id: SeriesId) {
        let scrape = self.scrape;
        if let Some(series) = self.series.get_mut(id as usize)
            && series.tracked != scrape
        {
            series.tracked = scrape;
            self.tracked_now.push(id);
        }
    }

    /// Series of the last scrape that this one does not have.
    pub(super) fn vanished(&self) -> impl Iterator<Item = &CachedSeries> {
        self.tracked_before
            .iter()
            .filter_map(|id| self.series.get(*id as usize))
            .filter(|series| series.tracked != self.scrape)
    }

    /// Series of the last scrape, whatever this one has.
    pub(super) fn all_tracked(&self) -> impl Iterator<Item = &CachedSeries> {
        self.tracked_before
            .iter()
            .filter_map(|id| self.series.get(*id as usize))
    }

    /// Ends a scrape that went well and had a page.
    pub(super) fn finish_page(&mut self) {
        std::mem::swap(&mut self.tracked_before, &mut self.tracked_now);
        std::mem::swap(&mut self.order, &mut self.next_order);
        self.last_success = self.scrape;
        let dead = self.lines.len().saturating_sub(self.order.len());
        if dead > DEAD_LINES_MIN.max(self.order.len() / 4)
            || self.text.len() > SCRAPE_CACHE_TEXT_BYTES_MAX
            || self.series.len() > self.lines.len() + DEAD_LINES_MIN
        {
            let page = std::mem::take(&mut self.order);
            self.sweep(&page);
        }
        self.successful_lines = self.lines.len();
    }

    /// Ends a scrape without samples: failed, or an empty page. True when the cache had to be swept because failed
    /// scrapes with ever new labels made it grow.
    pub(super) fn finish_without_page(&mut self) -> bool {
        self.tracked_before.clear();
        self.tracked_now.clear();
        let grown = self.lines.len() > self.successful_lines * 2 + 1000;
        if grown {
            let page = std::mem::take(&mut self.next_order);
            self.sweep(&page);
            self.successful_lines = self.lines.len();
        }
        grown
    }

    /// Forgets what lines mean, keeps the references and what is tracked: relabeling has changed.
    pub(super) fn forget_lines(&mut self) {
        self.lines.clear();
        self.line_table.clear();
        self.text.clear();
        self.order.clear();
        // A series gets a line again when it is next seen.
        for series in &mut self.series {
            series.line = LineId::MAX;
        }
        self.successful_lines = 0;
    }

    /// Rebuilds the cache with the lines of a page of the scrape at hand, in page order, and the report series.
    fn sweep(&mut self, page: &[LineId]) {
        let old = std::mem::take(self);
        self.scrape = old.scrape;
        self.batch = old.batch;
        self.last_success = old.last_success;
        let mut moved: Vec<Option<SeriesId>> = vec![None; old.series.len()];
        let reports = (0..old.lines.len() as LineId).filter(|id| {
            let line = old.lines.get(*id as usize);
            line.is_some_and(|l| l.class == TextClass::Report)
        });
        let kept = page.iter().copied();
        for id in kept.chain(reports) {
            let Some(line) = old.lines.get(id as usize) else {
                continue;
            };
            let text = old.key(line);
            match old.series.get(line.series as usize) {
                None => self.insert_dropped(text, line.class),
                Some(series) => {
                    let (_, new) = self.insert(text, line.class, series.identity, series.shard);
                    if let Some(entry) = self.series.get_mut(new as usize) {
                        entry.reference = series.reference;
                        entry.tracked = series.tracked;
                        entry.pending = series.pending;
                    }
                    if let Some(slot) = moved.get_mut(line.series as usize) {
                        *slot = Some(new);
                    }
                }
            }
        }
        self.tracked_before = old
            .tracked_before
            .iter()
            .filter_map(|id| moved.get(*id as usize).copied().flatten())
            .collect();
        self.order = std::mem::take(&mut self.next_order);
    }

    /// Lines known, dropped ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cache: &mut SeriesCache, lines: &[&str]) -> Vec<Known> {
        cache.begin();
        let mut out = Vec::new();
        for text in lines {
            let known = cache.lookup(text.as_bytes(), TextClass::Plain);
            let series = match known {
                Known::No if text.starts_with('-') => {
                    cache.insert_dropped(text.as_bytes(), TextClass::Plain);
                    None
                }
                Known::No => {
                    let trimmed = text.trim_end_matches('\'');
                    let identity = u128::from(xxh3_64_with_seed(trimmed.as_bytes(), 0));
                    Some(
                        cache
                            .insert(text.as_bytes(), TextClass::Plain, identity, 0)
                            .1,
                    )
                }
                Known::Yes { series, .. } => Some(series),
                Known::Dropped | Known::Again(..) => None,
            };
            if let Some(series) = series {
                cache.track(series);
            }
            out.push(known);
        }
        out
    }

    fn vanished(cache: &SeriesCache) -> Vec<String> {
        cache
            .vanished()
            .map(|s| {
                let (text, _) = cache.spelling(s.line).unwrap();
                String::from_utf8(text.to_vec()).unwrap()
            })
            .collect()
    }

    fn fresh(known: &[Known]) -> Vec<bool> {
        known
            .iter()
            .map(|k| matches!(k, Known::No | Known::Yes { fresh: true, .. }))
            .collect()
    }

    #[test]
    fn staleness_follows_series_not_spelling() {
        let mut cache = SeriesCache::default();
        page(&mut cache, &["a", "b", "-c"]);
        cache.finish_page();
        // `a'` is another spelling of `a`.
        let known = page(&mut cache, &["-c", "a'", "a'"]);
        assert!(matches!(
            known.as_slice(),
            [Known::Dropped, Known::No, Known::Again(..)]
        ));
        assert_eq!(vanished(&cache), ["b"]);
        cache.finish_page();
        page(&mut cache, &["a"]);
        assert!(vanished(&cache).is_empty());
        cache.finish_page();
        let known = page(&mut cache, &["b", "a"]);
        assert_eq!(fresh(&known), [true, false], "b was away for a page");
    }

    #[test]
    fn failed_scrapes_keep_what_is_known() {
        let mut cache = SeriesCache::default();
        page(&mut cache, &["a", "b"]);
        cache.finish_page();
        page(&mut cache, &["a"]);
        assert_eq!(cache.all_tracked().count(), 2);
        assert!(!cache.finish_without_page());
        assert_eq!(cache.all_tracked().count(), 0);
        let known = page(&mut cache, &["a", "b"]);
        assert_eq!(fresh(&known), [false, false]);
        cache.finish_page();
        assert_eq!(cache.all_tracked().count(), 2);
    }

    #[test]
    fn dead_lines_are_swept_and_references_survive() {
        let mut cache = SeriesCache::default();
        let names: Vec<String> = (0..3000).map(|i| format!("s{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        page(&mut cache, &names);
        cache.finish_page();
        assert_eq!(cache.len(), 3000);
        page(&mut cache, &["s7", "-x"]);
        let id = cache.series_of(7).unwrap();
        let reference = SeriesRef {
            index: 9,
            generation: 1,
        };
        cache.set_reference(id, Some(reference));
        assert_eq!(cache.vanished().count(), 2999);
        cache.finish_page();
        assert_eq!(cache.len(), 2);
        let known = page(&mut cache, &["s7", "-x", "s8"]);
        let [
            Known::Yes {
                series,
                fresh: false,
                ..
            },
            Known::Dropped,
            Known::No,
        ] = known.as_slice()
        else {
            panic!("{known:?}");
        };
        assert_eq!(cache.series(*series).unwrap().reference, Some(reference));
        assert!(vanished(&cache).is_empty());
    }

    #[test]
    fn failing_scrapes_with_new_labels_do_not_grow_the_cache_for_ever() {
        let mut cache = SeriesCache::default();
        page(&mut cache, &["a"]);
        cache.finish_page();
        let mut swept = 0;
        for round in 0..30 {
            let names: Vec<String> = (0..100).map(|i| format!("r{round}_{i}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            page(&mut cache, &names);
            swept += usize::from(cache.finish_without_page());
        }
        assert!(
            swept >= 2 && cache.len() < 1500,
            "{swept} sweeps, {} lines",
            cache.len()
        );
    }
}
