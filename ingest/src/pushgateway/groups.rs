//! All groups, by their labels, and an index of families over them, so that a push meets only the families that it touches.
//!
//! Promise: `check` says yes to a push only if all groups together still make one consistent page. Its cost grows with the push, not with
//! the number of groups.
//! Series of two groups can only be equal when the groups' labels have different names: groups with the same names differ in a value,
//! and every series carries its group's labels. So the series of a family are indexed only while it is in groups of differing names.

use super::check::{Faults, not_of_kind, seen_before, suffix_collision};
use super::encode::{EncodedFamily, PreparedPush};
use super::family::Kind;
use super::key::Grouping;
use super::page::{PageFamily, PushPage, time_metric};
use super::view::metric_messages;
use super::{PUSH_FAILURE_HELP, PUSH_FAILURE_NAME, PUSH_TIME_HELP, PUSH_TIME_NAME};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bounds on what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Groups; a push that would make one more is refused.
    pub groups_max: usize,
    /// Bytes of all groups together, about; a push that would exceed them is refused.
    pub bytes_max: usize,
}

/// Why a push was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// It does not fit what is there, or itself. The text is the Pushgateway's.
    #[error("pushed metrics are invalid or inconsistent with existing metrics: {0}")]
    Inconsistent(String),
    /// It would make one group too many.
    #[error("the limit of {0} groups is reached")]
    TooManyGroups(usize),
    /// There would be too much in all groups together.
    #[error("the limit of {0} bytes in all groups is reached")]
    TooManyBytes(usize),
}

/// A change of the groups; what a log keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A push that was taken.
    Push {
        /// The group.
        grouping: Grouping,
        /// When, nanoseconds since the epoch.
        time_ns: i64,
        /// Do other families of the group go?
        replace: bool,
        /// How long the group lives after its last change, milliseconds; 0: for ever.
        ttl_ms: u64,
        /// What was pushed.
        families: Vec<EncodedFamily>,
    },
    /// A push that did not fit.
    Failure {
        /// The group.
        grouping: Grouping,
        /// When, nanoseconds since the epoch.
        time_ns: i64,
        /// Of a group that this makes; see `Push`.
        ttl_ms: u64,
    },
    /// The end of a group.
    Delete(Grouping),
    /// The end of all groups.
    Wipe,
    /// A group with all that it has.
    Whole {
        /// The group.
        grouping: Grouping,
        /// When it was last pushed to; 0: never.
        push_ns: i64,
        /// When a push to it last failed; 0: never.
        failure_ns: i64,
        /// When those two came to be known.
        times_set_ns: (i64, i64),
        /// See `Push`.
        ttl_ms: u64,
        /// Families with the time of the push that brought each.
        families: Vec<(EncodedFamily, i64)>,
    },
}

/// A family in a group.
#[derive(Debug, Clone)]
struct Held {
    family: EncodedFamily,
    time_ns: i64,
}

#[derive(Debug)]
struct Group {
    grouping: Grouping,
    /// Groups with the same label names have the same number.
    shape: u32,
    families: BTreeMap<Arc<str>, Held>,
    push_ns: i64,
    failure_ns: i64,
    times_set_ns: (i64, i64),
    ttl_ms: u64,
    size: usize,
    deadline_ms: Option<i64>,
}

/// What takes room in a group besides its families, about.
const GROUP_BYTES: usize = 400;

/// Where a family is.
#[derive(Debug, Default)]
struct FamilyIndex {
    /// Groups that have it, with its type there.
    holders: BTreeMap<u32, Kind>,
    /// How many of them have labels of which names.
    shapes: Vec<(u32, usize)>,
    /// Its series by hash, each with its group; only while there are holders of two shapes.
    series: Option<HashMap<u64, u32>>,
}

/// What all groups come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Groups.
    pub groups: usize,
    /// Metrics that were pushed; a histogram is one.
    pub metrics: usize,
    /// Bytes, about.
    pub bytes: usize,
}

/// A group as the API shows it.
#[derive(Debug, Clone)]
pub struct GroupDescription {
    /// Its labels.
    pub grouping: Grouping,
    /// Was the last push taken?
    pub last_push_successful: bool,
    /// Families, those that the gateway makes among them, with the time of the push that brought each (nanoseconds since the epoch).
    pub families: Vec<(PageFamily, i64)>,
}

/// The groups.
#[derive(Debug)]
pub struct Groups {
    limits: GroupLimits,
    seed: u64,
    by_labels: BTreeMap<Grouping, u32>,
    slots: Vec<Option<Group>>,
    free: Vec<u32>,
    families: BTreeMap<Arc<str>, FamilyIndex>,
    shapes: HashMap<Vec<String>, u32>,
    deadlines: BTreeSet<(i64, u32)>,
    totals: Totals,
}

impl Groups {
    /// No groups. The seed keeps senders from choosing labels that collide.
    pub fn new(limits: GroupLimits, seed: u64) -> Groups {
        Groups {
            limits,
            seed,
            by_labels: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            families: BTreeMap::new(),
            shapes: HashMap::new(),
            deadlines: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    /// The seed of series hashes, for [`super::parse_push`].
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What there is.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// May this push be applied? Says so without a change.
    pub fn check(
        &self,
        grouping: &Grouping,
        replace: bool,
        push: &PreparedPush,
    ) -> Result<(), GroupsError> {
        let slot = self.by_labels.get(grouping).copied();
        let size = push.size();
        if slot.is_none() && self.totals.groups >= self.limits.groups_max {
            return Err(GroupsError::TooManyGroups(self.limits.groups_max));
        }
        let freed = slot.map_or(0, |slot| self.size_replaced(slot, replace, push));
        let after = (self.totals.bytes + size).saturating_sub(freed);
        if after > self.limits.bytes_max && size > freed {
            return Err(GroupsError::TooManyBytes(self.limits.bytes_max));
        }
        if push.has_timestamps {
            let text = "pushed metrics must not have timestamps".to_owned();
            return Err(GroupsError::Inconsistent(text));
        }
        let mut faults = push.faults.clone();
        let clashing = self.clashing(slot, replace, push, &mut faults);
        for (i, family) in push.families.iter().enumerate() {
            if !clashing.contains(&i) {
                self.check_family(grouping, slot, family, &mut faults);
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(GroupsError::Inconsistent(faults.into_text())),
        }
    }

    fn size_replaced(&self, slot: u32, replace: bool, push: &PreparedPush) -> usize {
        let Some(group) = self.group(slot) else {
            return 0;
        };
        let gone = |name: &str| replace || push.families.iter().any(|f| &*f.name == name);
        let held = group.families.iter().filter(|(name, _)| gone(name));
        held.map(|(_, held)| held.family.size()).sum()
    }

    /// The families of a push whose names clash with the lines of a summary or histogram, or the reverse.
    fn clashing(
        &self,
        slot: Option<u32>,
        replace: bool,
        push: &PreparedPush,
        faults: &mut Faults,
    ) -> HashSet<usize> {
        let mut clashing = HashSet::new();
        // Families that are there with this type, in whatever group, clash with nothing that is there, so not with each other.
        let is_known = |family: &EncodedFamily| {
            let index = self.families.get(&family.name);
            let kind = index.and_then(|index| index.holders.values().next());
            kind == Some(&family.kind)
        };
        if push.families.iter().all(is_known) {
            return clashing;
        }
        let position = |(i, family)| -> (&str, usize) {
            let family: &EncodedFamily = family;
            (&family.name, i)
        };
        let pushed: HashMap<&str, usize> = push.families.iter().enumerate().map(position).collect();
        for (i, family) in push.families.iter().enumerate() {
            let kind_of = |name: &str| {
                if let Some(own) = pushed.get(name) {
                    // Of two that clash the later is named.
                    return (*own < i).then(|| push.families[*own].kind);
                }
                let holders = &self.families.get(name)?.holders;
                let mut stay = holders
                    .iter()
                    .filter(|(h, _)| !replace || Some(**h) != slot);
                stay.next().map(|(_, kind)| *kind)
            };
            if let Some(text) = suffix_collision(&family.name, family.kind, kind_of) {
                faults.add(|| text);
                clashing.insert(i);
            }
        }
        clashing
    }

    fn check_family(
        &self,
        grouping: &Grouping,
        slot: Option<u32>,
        family: &EncodedFamily,
        faults: &mut Faults,
    ) {
        let index = self.families.get(&family.name);
        let other_kind = index.and_then(|index| {
            let mut others = index
                .holders
                .iter()
                .filter(|(holder, _)| Some(**holder) != slot);
            others.next().map(|(_, kind)| *kind)
        });
        if let Some(kind) = other_kind.filter(|kind| *kind != family.kind) {
            for message in metric_messages(&family.metrics) {
                faults.add(|| not_of_kind(&family.name, kind, message));
            }
            return;
        }
        let held = slot.and_then(|slot| self.group(slot)?.families.get(&family.name));
        if held.is_none_or(|held| held.family.hashes != family.hashes) {
            self.check_series(grouping, slot, index, family, faults);
        }
    }

    /// Is every series of the family there once?
    fn check_series(
        &self,
        grouping: &Grouping,
        slot: Option<u32>,
        index: Option<&FamilyIndex>,
        family: &EncodedFamily,
        faults: &mut Faults,
    ) {
        let others = index.filter(|index| index.has_other_shape(self.shapes.get(&names(grouping))));
        let mut seen: HashSet<u64> = HashSet::with_capacity(family.hashes.len());
        let mut elsewhere: HashSet<u64> = HashSet::new();
        if let Some(index) = others
            && index.series.is_none()
        {
            // This push brings the second shape: the series so far are looked through once.
            for held in index.holders.keys().filter(|holder| Some(**holder) != slot) {
                let held = self.group(*held).and_then(|g| g.families.get(&family.name));
                elsewhere.extend(held.iter().flat_map(|held| held.family.hashes.iter()));
            }
        }
        let is_elsewhere = |hash: &u64| match others.and_then(|index| index.series.as_ref()) {
            Some(series) => series.get(hash).is_some_and(|holder| Some(*holder) != slot),
            None => elsewhere.contains(hash),
        };
        let mut doubles: Vec<usize> = Vec::new();
        for (i, hash) in family.hashes.iter().enumerate() {
            if !seen.insert(*hash) || is_elsewhere(hash) {
                doubles.push(i);
            }
        }
        if doubles.is_empty() {
            return;
        }
        let messages: Vec<&[u8]> = metric_messages(&family.metrics).collect();
        for i in doubles {
            if let Some(message) = messages.get(i) {
                faults.add(|| seen_before(&family.name, message));
            }
        }
    }

    /// Makes a change. Pushes have been checked.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Wipe => {
                let slots: Vec<u32> = self.by_labels.values().copied().collect();
                slots.into_iter().for_each(|slot| self.remove(slot));
            }
            Change::Delete(grouping) => {
                if let Some(slot) = self.by_labels.get(&grouping).copied() {
                    self.remove(slot);
                }
            }
            Change::Failure {
                grouping,
                time_ns,
                ttl_ms,
            } => {
                let slot = self.slot(grouping, time_ns, ttl_ms);
                if let Some(group) = self.slots[slot as usize].as_mut() {
                    group.failure_ns = time_ns;
                    group.times_set_ns.1 = time_ns;
                }
                self.set_deadline(slot, time_ns);
            }
            Change::Push {
                grouping,
                time_ns,
                replace,
                ttl_ms,
                families,
            } => {
                let slot = self.slot(grouping, time_ns, ttl_ms);
                if replace {
                    self.keep_only(slot, &families);
                }
                for family in families {
                    self.put(slot, family, time_ns);
                }
                if let Some(group) = self.slots[slot as usize].as_mut() {
                    group.push_ns = time_ns;
                    group.times_set_ns.0 = time_ns;
                    group.ttl_ms = ttl_ms;
                }
                self.set_deadline(slot, time_ns);
            }
            Change::Whole {
                grouping,
                push_ns,
                failure_ns,
                times_set_ns,
                ttl_ms,
                families,
            } => {
                let slot = self.slot(grouping, push_ns, ttl_ms);
                self.keep_only(slot, &[]);
                for (family, time_ns) in families {
                    self.put(slot, family, time_ns);
                }
                if let Some(group) = self.slots[slot as usize].as_mut() {
                    (group.push_ns, group.failure_ns) = (push_ns, failure_ns);
                    group.times_set_ns = times_set_ns;
                    group.ttl_ms = ttl_ms;
                }
                self.set_deadline(slot, push_ns.max(failure_ns));
            }
        }
    }

    fn group(&self, slot: u32) -> Option<&Group> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The slot of a group, which is made when it is not there.
    fn slot(&mut self, grouping: Grouping, time_ns: i64, ttl_ms: u64) -> u32 {
        if let Some(slot) = self.by_labels.get(&grouping) {
            return *slot;
        }
        let next_shape = self.shapes.len() as u32;
        let shape = *self.shapes.entry(names(&grouping)).or_insert(next_shape);
        let size = GROUP_BYTES + grouping.text_bytes() * 2;
        self.totals.groups += 1;
        self.totals.bytes += size;
        let group = Group {
            grouping: grouping.clone(),
            shape,
            families: BTreeMap::new(),
            push_ns: 0,
            failure_ns: 0,
            times_set_ns: (time_ns, time_ns),
            ttl_ms,
            size,
            deadline_ms: None,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(group);
        self.by_labels.insert(grouping, slot);
        slot
    }

    fn set_deadline(&mut self, slot: u32, changed_ns: i64) {
        let Some(group) = self.slots[slot as usize].as_mut() else {
            return;
        };
        if let Some(old) = group.deadline_ms.take() {
            self.deadlines.remove(&(old, slot));
        }
        if group.ttl_ms > 0 {
            let ttl_ms = i64::try_from(group.ttl_ms).unwrap_or(i64::MAX);
            let at = (changed_ns / 1_000_000).saturating_add(ttl_ms);
            group.deadline_ms = Some(at);
            self.deadlines.insert((at, slot));
        }
    }

    /// Takes all families out of a group that are not among these.
    fn keep_only(&mut self, slot: u32, families: &[EncodedFamily]) {
        let Some(group) = self.group(slot) else {
            return;
        };
        let stays = |name: &str| families.iter().any(|f| &*f.name == name);
        let gone: Vec<Arc<str>> = group
            .families
            .keys()
            .filter(|n| !stays(n))
            .cloned()
            .collect();
        for name in gone {
            self.take(slot, &name);
        }
    }

    fn put(&mut self, slot: u32, mut family: EncodedFamily, time_ns: i64) {
        let Groups {
            families,
            slots,
            totals,
            ..
        } = self;
        // The name is kept once for all groups.
        let name = match families.get_key_value(&family.name) {
            Some((name, _)) => name.clone(),
            None => family.name.clone(),
        };
        family.name = name.clone();
        let Some(group) = slots[slot as usize].as_mut() else {
            return;
        };
        if let Some(held) = group.families.get_mut(&name)
            && held.family.kind == family.kind
            && held.family.hashes == family.hashes
        {
            // The same series with other values: no index changes.
            if held.family.help == family.help {
                family.help = held.family.help.clone();
            }
            family.hashes = held.family.hashes.clone();
            let (old, new) = (held.family.size(), family.size());
            *held = Held { family, time_ns };
            group.size = group.size + new - old;
            totals.bytes = totals.bytes + new - old;
            return;
        }
        self.take(slot, &name);
        let Some(group) = self.slots[slot as usize].as_mut() else {
            return;
        };
        let size = family.size();
        group.size += size;
        self.totals.bytes += size;
        self.totals.metrics += family.hashes.len();
        let shape = group.shape;
        let (kind, hashes) = (family.kind, family.hashes.clone());
        group
            .families
            .insert(name.clone(), Held { family, time_ns });
        let index = self.families.entry(name.clone()).or_default();
        index.holders.insert(slot, kind);
        match index.shapes.iter_mut().find(|(own, _)| *own == shape) {
            Some((_, count)) => *count += 1,
            None => index.shapes.push((shape, 1)),
        }
        match &mut index.series {
            Some(series) => series.extend(hashes.iter().map(|hash| (*hash, slot))),
            None if index.shapes.len() > 1 => {
                let mut series = HashMap::new();
                for holder in index.holders.keys() {
                    let group = self.slots[*holder as usize].as_ref();
                    let held = group.and_then(|g| g.families.get(&name));
                    let hashes = held.iter().flat_map(|held| held.family.hashes.iter());
                    series.extend(hashes.map(|hash| (*hash, *holder)));
                }
                index.series = Some(series);
            }
            None => {}
        }
    }

    /// Takes a family out of a group.
    fn take(&mut self, slot: u32, name: &Arc<str>) {
        let Some(group) = self.slots[slot as usize].as_mut() else {
            return;
        };
        let Some(held) = group.families.remove(name) else {
            return;
        };
        let size = held.family.size();
        group.size -= size;
        self.totals.bytes -= size;
        self.totals.metrics -= held.family.hashes.len();
        let shape = group.shape;
        let Some(index) = self.families.get_mut(name) else {
            return;
        };
        index.holders.remove(&slot);
        if let Some(at) = index.shapes.iter().position(|(own, _)| *own == shape) {
            index.shapes[at].1 -= 1;
            if index.shapes[at].1 == 0 {
                index.shapes.swap_remove(at);
            }
        }
        if index.holders.is_empty() {
            self.families.remove(name);
            return;
        }
        if index.shapes.len() < 2 {
            index.series = None;
        } else if let Some(series) = &mut index.series {
            for hash in held.family.hashes.iter() {
                if series.get(hash) == Some(&slot) {
                    series.remove(hash);
                }
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        self.keep_only(slot, &[]);
        let Some(group) = self.slots[slot as usize].take() else {
            return;
        };
        if let Some(deadline) = group.deadline_ms {
            self.deadlines.remove(&(deadline, slot));
        }
        self.by_labels.remove(&group.grouping);
        self.totals.groups -= 1;
        self.totals.bytes -= group.size;
        self.free.push(slot);
        if self.by_labels.is_empty() {
            self.shapes.clear();
        }
    }

    /// Groups whose time has come.
    pub fn expired(&self, now_ms: i64) -> Vec<Grouping> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now_ms);
        due.filter_map(|(_, slot)| self.group(*slot))
            .map(|g| g.grouping.clone())
            .collect()
    }

    /// When the next group's time comes, milliseconds since the epoch.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Every group as a change that makes it, in order of labels.
    pub fn whole(&self) -> impl Iterator<Item = Change> {
        let groups = self.by_labels.values().filter_map(|slot| self.group(*slot));
        groups.map(|group| Change::Whole {
            grouping: group.grouping.clone(),
            push_ns: group.push_ns,
            failure_ns: group.failure_ns,
            times_set_ns: group.times_set_ns,
            ttl_ms: group.ttl_ms,
            families: group
                .families
                .values()
                .map(|h| (h.family.clone(), h.time_ns))
                .collect(),
        })
    }

    /// All families for a page, in order of name; cheap, as the metrics are shared.
    pub fn page(&self) -> PushPage {
        let mut families: Vec<PageFamily> = Vec::with_capacity(self.families.len() + 2);
        for (name, index) in &self.families {
            let holders = index.holders.keys().filter_map(|slot| self.group(*slot));
            let held: Vec<&Held> = holders.filter_map(|g| g.families.get(name)).collect();
            // Groups may disagree about the help: the newest push wins.
            let newest = held
                .iter()
                .filter(|h| h.family.help.is_some())
                .max_by_key(|h| h.time_ns);
            let Some(kind) = index.holders.values().next() else {
                continue;
            };
            families.push(PageFamily {
                name: name.clone(),
                help: newest.and_then(|held| held.family.help.clone()),
                kind: *kind,
                metrics: held
                    .iter()
                    .map(|held| held.family.metrics.clone())
                    .collect(),
            });
        }
        if !self.by_labels.is_empty() {
            let groups = || self.by_labels.values().filter_map(|slot| self.group(*slot));
            families.push(time_family(
                PUSH_TIME_NAME,
                groups().map(Group::push_metric),
            ));
            families.push(time_family(
                PUSH_FAILURE_NAME,
                groups().map(Group::failure_metric),
            ));
            families.sort_by(|a, b| a.name.cmp(&b.name));
        }
        PushPage { families }
    }

    /// All groups for the API, in order of labels.
    pub fn describe(&self) -> Vec<GroupDescription> {
        let groups = self.by_labels.values().filter_map(|slot| self.group(*slot));
        groups.map(Group::describe).collect()
    }

    /// Metrics of all groups, counted anew: for tests of the totals.
    #[cfg(test)]
    pub(super) fn recount(&self) -> Totals {
        let groups = self.slots.iter().flatten();
        let mut out = Totals::default();
        for group in groups {
            out.groups += 1;
            out.bytes += GROUP_BYTES + group.grouping.text_bytes() * 2;
            for held in group.families.values() {
                out.bytes += held.family.size();
                out.metrics += metric_messages(&held.family.metrics).count();
            }
        }
        out
    }

    /// Families whose series are indexed now.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.families
            .values()
            .filter(|index| index.series.is_some())
            .count()
    }
}

impl Group {
    fn push_metric(&self) -> Bytes {
        time_metric(&self.grouping, self.push_ns)
    }

    fn failure_metric(&self) -> Bytes {
        time_metric(&self.grouping, self.failure_ns)
    }

    fn describe(&self) -> GroupDescription {
        let held = self.families.values().map(|held| {
            let family = PageFamily {
                name: held.family.name.clone(),
                help: held.family.help.clone(),
                kind: held.family.kind,
                metrics: vec![held.family.metrics.clone()],
            };
            (family, held.time_ns)
        });
        let mut families: Vec<(PageFamily, i64)> = held.collect();
        let one = std::iter::once;
        let (push_set, failure_set) = self.times_set_ns;
        families.push((
            time_family(PUSH_TIME_NAME, one(self.push_metric())),
            push_set,
        ));
        families.push((
            time_family(PUSH_FAILURE_NAME, one(self.failure_metric())),
            failure_set,
        ));
        GroupDescription {
            grouping: self.grouping.clone(),
            last_push_successful: self.push_ns > self.failure_ns,
            families,
        }
    }
}

impl FamilyIndex {
    /// Is it in a group of another shape than this one? (`None`: a shape that no group has.)
    fn has_other_shape(&self, shape: Option<&u32>) -> bool {
        self.shapes.iter().any(|(own, _)| Some(own) != shape)
    }
}

fn names(grouping: &Grouping) -> Vec<String> {
    grouping
        .labels()
        .iter()
        .map(|(name, _)| name.clone())
        .collect()
}

fn time_family(name: &str, metrics: impl Iterator<Item = Bytes>) -> PageFamily {
    let help = match name {
        PUSH_TIME_NAME => PUSH_TIME_HELP,
        _ => PUSH_FAILURE_HELP,
    };
    PageFamily {
        name: Arc::from(name),
        help: Some(Arc::from(help)),
        kind: Kind::Gauge,
        metrics: metrics.collect(),
    }
}
