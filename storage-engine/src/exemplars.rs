//! The exemplars of a shard: a ring of fixed size, newest of all series in, oldest out.
//!
//! Promise: the rules are those of Prometheus's exemplar storage. Within a series exemplars ascend by time (then value,
//! then hash of the labels); one that repeats the newest, or has the time of an older one, changes nothing; one at or
//! before the newest minus the out-of-order window is refused. A series' entry keeps a copy of its labels, so that
//! exemplars outlive their series in the head. Putting in what was put in before changes nothing, as long as it is still here.
//!
//! Not here: the log's bytes (`wal::exemplars`), references that senders hold (`shard`), the API.

use crate::model::{EXEMPLAR_LABEL_RUNES_MAX, Exemplar, Labels, Matcher, SeriesRef, TimestampMs};
use crate::shard_api::{ExemplarRefusal, SeriesExemplars, TimeRange};
use crate::wal::exemplars::LoggedExemplar;
use hashbrown::HashMap;
use std::ops::Range;

/// No place in the ring.
const NONE: u32 = u32::MAX;
/// What a series costs beside the bytes of its labels, roughly: its entry and its places in two tables.
const SERIES_BYTES: u64 = 112;

/// One place of the ring.
struct Slot {
    exemplar: Exemplar,
    /// Number of the series' entry.
    series: u32,
    /// Place of the series' next older one.
    older: u32,
    /// Place of the series' next newer one.
    newer: u32,
}

/// A series with exemplars.
struct SeriesEntry {
    reference: SeriesRef,
    labels: Labels,
    oldest: u32,
    newest: u32,
}

/// What became of an exemplar that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is in the ring now.
    Stored,
    /// It was there already, or no exemplars are kept.
    Unchanged,
}

/// Numbers of the ring, for the self metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExemplarNumbers {
    /// Put in since start, those of the log among them.
    pub(crate) stored: u64,
    pub(crate) out_of_order: u64,
    pub(crate) held: u64,
    pub(crate) series: u64,
    /// Time of the one that goes next.
    pub(crate) oldest: Option<TimestampMs>,
    pub(crate) bytes: u64,
}

/// The ring.
#[derive(Default)]
pub(crate) struct Exemplars {
    ring: Vec<Slot>,
    /// The place that is written next; the one that has been there longest, once the ring is full.
    next: usize,
    capacity: usize,
    window_ms: i64,
    series: Vec<Option<SeriesEntry>>,
    free: Vec<u32>,
    by_reference: HashMap<SeriesRef, u32>,
    by_labels: HashMap<Labels, u32>,
    label_bytes: u64,
    stored: u64,
    out_of_order: u64,
}

impl Exemplars {
    /// An empty ring of `capacity` places; 0 keeps nothing. For `window_ms` see [`Self::set_window`].
    pub(crate) fn new(capacity: usize, window_ms: i64) -> Self {
        Exemplars {
            capacity: capacity.min(NONE as usize),
            window_ms: window_ms.max(0),
            ..Exemplars::default()
        }
    }

    /// How far behind its series' newest an exemplar may come, in milliseconds; 0: not at all.
    pub(crate) fn set_window(&mut self, window_ms: i64) {
        self.window_ms = window_ms.max(0);
    }

    /// Is anything kept?
    pub(crate) fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Puts an exemplar in, in place of the oldest one if the ring is full. `labels` makes the labels of a series that
    /// has nothing here under this reference.
    pub(crate) fn add(
        &mut self,
        reference: SeriesRef,
        labels: impl FnOnce() -> Labels,
        exemplar: &Exemplar,
    ) -> Result<Added, ExemplarRefusal> {
        if self.capacity == 0 {
            return Ok(Added::Unchanged);
        }
        if exemplar.label_runes() > EXEMPLAR_LABEL_RUNES_MAX {
            return Err(ExemplarRefusal::LabelsTooLong);
        }
        let id = match self.find(reference, labels) {
            Ok(id) => id,
            Err(labels) => self.create(reference, labels),
        };
        match self.judge(id, exemplar) {
            Ok(true) => {}
            Ok(false) => return Ok(Added::Unchanged),
            Err(refusal) => return Err(refusal),
        }
        let place = self.make_room(id, exemplar);
        self.link(place, id);
        self.stored += 1;
        Ok(Added::Stored)
    }

    /// Would [`Self::add`] take it now? Nothing changes.
    pub(crate) fn check(
        &self,
        reference: SeriesRef,
        labels: impl FnOnce() -> Labels,
        exemplar: &Exemplar,
    ) -> Result<(), ExemplarRefusal> {
        if self.capacity == 0 {
            return Ok(());
        }
        if exemplar.label_runes() > EXEMPLAR_LABEL_RUNES_MAX {
            return Err(ExemplarRefusal::LabelsTooLong);
        }
        let known = self.by_reference.get(&reference);
        match known.or_else(|| self.by_labels.get(&labels())) {
            Some(&id) => self.judge(id, exemplar).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Counts a refusal, but not those of a replay.
    pub(crate) fn count_refusal(&mut self, refusal: ExemplarRefusal) {
        self.out_of_order += u64::from(refusal == ExemplarRefusal::OutOfOrder);
    }

    /// The entry of a series, by the reference or, should it have another one now, by the labels.
    fn find(
        &mut self,
        reference: SeriesRef,
        labels: impl FnOnce() -> Labels,
    ) -> Result<u32, Labels> {
        if let Some(&id) = self.by_reference.get(&reference) {
            return Ok(id);
        }
        let labels = labels();
        let Some(&id) = self.by_labels.get(&labels) else {
            return Err(labels);
        };
        let entry = entry_mut(&mut self.series, id);
        self.by_reference.remove(&entry.reference);
        entry.reference = reference;
        self.by_reference.insert(reference, id);
        Ok(id)
    }

    fn create(&mut self, reference: SeriesRef, labels: Labels) -> u32 {
        self.label_bytes += labels.as_bytes().len() as u64;
        let entry = SeriesEntry {
            reference,
            labels: labels.clone(),
            oldest: NONE,
            newest: NONE,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.series[id as usize] = Some(entry);
                id
            }
            None => {
                self.series.push(Some(entry));
                self.series.len() as u32 - 1
            }
        };
        self.by_reference.insert(reference, id);
        self.by_labels.insert(labels, id);
        id
    }

    /// May it go in? `false`: it is here already.
    fn judge(&self, id: u32, exemplar: &Exemplar) -> Result<bool, ExemplarRefusal> {
        let entry = self.series[id as usize].as_ref();
        let entry = entry.expect("BUG: the entry was just found");
        let Some(newest) = self.at(entry.newest) else {
            return Ok(true);
        };
        if newest.is_repeated_by(exemplar) {
            return Ok(false);
        }
        let (t, newest_t) = (exemplar.timestamp, newest.timestamp);
        let before_window = t < newest_t && t <= newest_t.saturating_sub(self.window_ms);
        let hash = |e: &Exemplar| e.labels.prometheus_hash();
        let before_at_its_time = t == newest_t
            && (exemplar.value < newest.value
                || (exemplar.value == newest.value && hash(exemplar) < hash(newest)));
        if before_window || before_at_its_time {
            return Err(ExemplarRefusal::OutOfOrder);
        }
        if t >= newest_t {
            return Ok(true);
        }
        // One time, one exemplar, behind the newest: a repetition most likely, as Prometheus has it.
        let before = self.at(self.newest_until(entry.newest, t));
        Ok(before.is_none_or(|before| before.timestamp != t))
    }

    fn at(&self, place: u32) -> Option<&Exemplar> {
        self.ring.get(place as usize).map(|slot| &slot.exemplar)
    }

    /// The newest place of a series, going back from `place`, that is not later than `t`.
    fn newest_until(&self, mut place: u32, t: TimestampMs) -> u32 {
        while let Some(slot) = self.ring.get(place as usize)
            && slot.exemplar.timestamp > t
        {
            place = slot.older;
        }
        place
    }

    /// Writes the exemplar into the next place, not yet linked to others. What was there is gone; the entry `keep` stays
    /// even when nothing is left of it.
    fn make_room(&mut self, keep: u32, exemplar: &Exemplar) -> u32 {
        let place = self.next;
        let slot = Slot {
            exemplar: exemplar.clone(),
            series: keep,
            older: NONE,
            newer: NONE,
        };
        if place == self.ring.len() {
            self.ring.push(slot);
            self.label_bytes += exemplar.labels.as_bytes().len() as u64;
        } else {
            self.unlink(place as u32, Some(keep));
            self.label_bytes += exemplar.labels.as_bytes().len() as u64;
            self.ring[place] = slot;
        }
        self.next = (place + 1) % self.capacity;
        place as u32
    }

    /// Takes a place out of its series; an entry that is left empty goes, unless it is `keep`.
    fn unlink(&mut self, place: u32, keep: Option<u32>) {
        let slot = &self.ring[place as usize];
        let (id, older, newer) = (slot.series, slot.older, slot.newer);
        self.label_bytes -= slot.exemplar.labels.as_bytes().len() as u64;
        let entry = entry_mut(&mut self.series, id);
        match self.ring.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => entry.oldest = newer,
        }
        match self.ring.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => entry.newest = older,
        }
        if entry.newest == NONE && keep != Some(id) {
            self.label_bytes -= entry.labels.as_bytes().len() as u64;
            self.by_reference.remove(&entry.reference);
            self.by_labels.remove(&entry.labels);
            self.series[id as usize] = None;
            self.free.push(id);
        }
    }

    /// Links a written place into the order of its series.
    fn link(&mut self, place: u32, id: u32) {
        let t = self.ring[place as usize].exemplar.timestamp;
        let newest = entry_mut(&mut self.series, id).newest;
        let older = self.newest_until(newest, t);
        let entry = entry_mut(&mut self.series, id);
        let newer = match self.ring.get_mut(older as usize) {
            Some(slot) => std::mem::replace(&mut slot.newer, place),
            None => std::mem::replace(&mut entry.oldest, place),
        };
        match self.ring.get_mut(newer as usize) {
            Some(slot) => slot.older = place,
            None => entry.newest = place,
        }
        let slot = &mut self.ring[place as usize];
        slot.older = older;
        slot.newer = newer;
    }

    /// Changes the number of places; when there are fewer, the oldest exemplars go.
    pub(crate) fn resize(&mut self, capacity: usize) {
        let capacity = capacity.min(NONE as usize);
        if capacity == self.capacity {
            return;
        }
        let mut resized = Exemplars::new(capacity, self.window_ms);
        // Into the new ring in the order of arrival, which may not be that of time: as wide a window as there is.
        let skip = self.ring.len().saturating_sub(capacity);
        for (reference, labels, exemplar) in self.iter().skip(skip) {
            let id = match resized.find(reference, || labels.clone()) {
                Ok(id) => id,
                Err(labels) => resized.create(reference, labels),
            };
            let place = resized.make_room(id, exemplar);
            resized.link(place, id);
        }
        resized.stored = self.stored;
        resized.out_of_order = self.out_of_order;
        *self = resized;
    }

    /// All exemplars in the order of their arrival, with their series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeriesRef, &Labels, &Exemplar)> {
        let first = if self.ring.len() < self.capacity {
            0
        } else {
            self.next
        };
        let (late, early) = self.ring.split_at(first.min(self.ring.len()));
        early.iter().chain(late).filter_map(|slot| {
            let entry = self.series.get(slot.series as usize)?.as_ref()?;
            Some((entry.reference, &entry.labels, &slot.exemplar))
        })
    }

    /// The number that the next arrival will have.
    pub(crate) fn arrivals_end(&self) -> u64 {
        self.stored
    }

    /// Up to `count` exemplars in the order of arrival, of the numbers in `range` as far as they are still here, and the number to go on
    /// with; numbers grow by one with each arrival, so that what comes or goes meanwhile shifts nothing.
    pub(crate) fn arrivals(&self, range: Range<u64>, count: u64) -> (Vec<LoggedExemplar>, u64) {
        let first = self.stored - self.ring.len() as u64;
        let from = range.start.max(first);
        let count = count.min(range.end.saturating_sub(from)) as usize;
        let arrivals = self.iter().skip((from - first) as usize).take(count);
        let logged = arrivals.map(|(series, _, exemplar)| LoggedExemplar {
            series,
            exemplar: exemplar.clone(),
        });
        let logged: Vec<LoggedExemplar> = logged.collect();
        let next = from + logged.len() as u64;
        (logged, next)
    }

    /// Looks at `count` series from number `from` on: those that pass all matchers of one of the selectors, and have
    /// exemplars in the range. Returns the number to go on with, `None` when all have been looked at.
    pub(crate) fn select(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        from: usize,
        count: usize,
        out: &mut Vec<SeriesExemplars>,
    ) -> Option<usize> {
        for entry in self.series.iter().skip(from).take(count).flatten() {
            let passes = |matchers: &Vec<Matcher>| {
                let mut matchers = matchers.iter();
                matchers.all(|m| m.matches(entry.labels.value(&m.name)))
            };
            if !selectors.iter().any(passes) {
                continue;
            }
            let mut exemplars = Vec::new();
            let mut place = entry.oldest;
            while let Some(slot) = self.ring.get(place as usize)
                && slot.exemplar.timestamp <= range.max
            {
                if slot.exemplar.timestamp >= range.min {
                    exemplars.push(slot.exemplar.clone());
                }
                place = slot.newer;
            }
            if !exemplars.is_empty() {
                let labels = entry.labels.clone();
                out.push(SeriesExemplars { labels, exemplars });
            }
        }
        let next = from.saturating_add(count);
        (next < self.series.len()).then_some(next)
    }

    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        let slots = self.ring.capacity() * size_of::<Slot>();
        slots as u64 + self.label_bytes + self.by_labels.len() as u64 * SERIES_BYTES
    }

    pub(crate) fn numbers(&self) -> ExemplarNumbers {
        ExemplarNumbers {
            stored: self.stored,
            out_of_order: self.out_of_order,
            held: self.ring.len() as u64,
            series: self.by_labels.len() as u64,
            oldest: self.iter().next().map(|(_, _, e)| e.timestamp),
            bytes: self.bytes(),
        }
    }
}

fn entry_mut(series: &mut [Option<SeriesEntry>], id: u32) -> &mut SeriesEntry {
    let entry = series.get_mut(id as usize).and_then(Option::as_mut);
    entry.expect("BUG: a place of the ring names an entry that is gone")
}

#[cfg(test)]
mod tests;
