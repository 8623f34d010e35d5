//! The footer of a block: a flatbuffers table that names everything else.
//!
//! The accessors below are what `flatc` would write for the schema in `docs/format/block.md`; slots are never reused, new ones go behind.
//! Promise: bytes are verified (offsets, lengths, alignment) before any is believed. Not here: whether what it says fits the file.

use super::format::SectionPlace;
use super::numbers::Profile;
use super::{BlockId, BlockMeta};
use flatbuffers::{
    FlatBufferBuilder, Follow, ForwardsUOffset, InvalidFlatbuffer, Table, Vector, Verifiable,
    Verifier, VerifierOptions,
};

/// Slot numbers of the table, as offsets into its vtable.
mod slot {
    pub(super) const SHARD: u16 = 4;
    pub(super) const MIN_TIME: u16 = 6;
    pub(super) const MAX_TIME: u16 = 8;
    pub(super) const SERIES: u16 = 10;
    pub(super) const FLOAT_SAMPLES: u16 = 12;
    pub(super) const HISTOGRAM_SAMPLES: u16 = 14;
    pub(super) const LEVEL: u16 = 16;
    pub(super) const PARENTS: u16 = 18;
    pub(super) const SEALED_UNTIL: u16 = 20;
    pub(super) const HAS_SEALED_UNTIL: u16 = 22;
    pub(super) const OUT_OF_ORDER: u16 = 24;
    pub(super) const PROFILE: u16 = 26;
    pub(super) const SECTIONS: u16 = 28;
}

/// Most sections that a footer may name.
const SECTIONS_MAX: usize = 64;
/// Most parents that a footer may name.
const PARENTS_MAX: usize = 1 << 16;
/// 64-bit words of a section in the footer: kind, offset, bytes, checksum.
const SECTION_WORDS: usize = 4;

/// What a footer holds; `meta.id` and `meta.bytes` come from the header and tail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Footer {
    pub(super) meta: BlockMeta,
    pub(super) profile: Profile,
    pub(super) sections: Vec<SectionPlace>,
}

impl Footer {
    /// The footer as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let meta = &self.meta;
        let mut builder = FlatBufferBuilder::with_capacity(1024);
        let parents: Vec<u64> = meta
            .parents
            .iter()
            .flat_map(|id| [id.0 as u64, (id.0 >> 64) as u64])
            .collect();
        let parents = builder.create_vector(&parents);
        let sections: Vec<u64> = self
            .sections
            .iter()
            .flat_map(|s| [u64::from(s.kind), s.offset, s.bytes, s.checksum])
            .collect();
        let sections = builder.create_vector(&sections);
        let table = builder.start_table();
        builder.push_slot::<i64>(slot::MIN_TIME, meta.min_time, 0);
        builder.push_slot::<i64>(slot::MAX_TIME, meta.max_time, 0);
        builder.push_slot::<u64>(slot::FLOAT_SAMPLES, meta.float_samples, 0);
        builder.push_slot::<u64>(slot::HISTOGRAM_SAMPLES, meta.histogram_samples, 0);
        builder.push_slot::<i64>(slot::SEALED_UNTIL, meta.sealed_until.unwrap_or(0), 0);
        builder.push_slot::<u32>(slot::SHARD, meta.shard, 0);
        builder.push_slot::<u32>(slot::SERIES, meta.series, 0);
        builder.push_slot_always(slot::PARENTS, parents);
        builder.push_slot_always(slot::SECTIONS, sections);
        builder.push_slot::<u8>(slot::LEVEL, meta.level, 0);
        builder.push_slot::<bool>(slot::HAS_SEALED_UNTIL, meta.sealed_until.is_some(), false);
        builder.push_slot::<bool>(slot::OUT_OF_ORDER, meta.out_of_order, false);
        let profile = match self.profile {
            Profile::Sealed => 0,
            Profile::Compacted => 1,
        };
        builder.push_slot::<u8>(slot::PROFILE, profile, 0);
        let root = builder.end_table(table);
        builder.finish_minimal(root);
        builder.finished_data().to_vec()
    }

    /// Verifies and reads a footer.
    pub(super) fn from_bytes(bytes: &[u8], id: BlockId) -> Result<Footer, &'static str> {
        let options = VerifierOptions {
            max_depth: 4,
            max_tables: 4,
            ..VerifierOptions::default()
        };
        let table = flatbuffers::root_with_opts::<FooterTable<'_>>(&options, bytes)
            .map_err(|_| "footer is not a sound table")?;
        let parents = table.words(slot::PARENTS);
        let sections = table.words(slot::SECTIONS);
        if parents.len() % 2 != 0
            || parents.len() / 2 > PARENTS_MAX
            || sections.len() % SECTION_WORDS != 0
            || sections.len() / SECTION_WORDS > SECTIONS_MAX
        {
            return Err("lists of the footer");
        }
        let has_sealed_until = table.number::<bool>(slot::HAS_SEALED_UNTIL, false);
        let sealed_until = table.number::<i64>(slot::SEALED_UNTIL, 0);
        let sections = sections.chunks_exact(SECTION_WORDS).map(|s| {
            Ok::<_, &'static str>(SectionPlace {
                kind: u32::try_from(s[0]).map_err(|_| "section number")?,
                offset: s[1],
                bytes: s[2],
                checksum: s[3],
            })
        });
        Ok(Footer {
            meta: BlockMeta {
                id,
                shard: table.number::<u32>(slot::SHARD, 0),
                min_time: table.number::<i64>(slot::MIN_TIME, 0),
                max_time: table.number::<i64>(slot::MAX_TIME, 0),
                series: table.number::<u32>(slot::SERIES, 0),
                float_samples: table.number::<u64>(slot::FLOAT_SAMPLES, 0),
                histogram_samples: table.number::<u64>(slot::HISTOGRAM_SAMPLES, 0),
                level: table.number::<u8>(slot::LEVEL, 0),
                parents: parents
                    .chunks_exact(2)
                    .map(|p| BlockId(u128::from(p[0]) | u128::from(p[1]) << 64))
                    .collect(),
                sealed_until: has_sealed_until.then_some(sealed_until),
                out_of_order: table.number::<bool>(slot::OUT_OF_ORDER, false),
                bytes: 0,
            },
            profile: match table.number::<u8>(slot::PROFILE, 0) {
                0 => Profile::Sealed,
                1 => Profile::Compacted,
                _ => return Err("unknown profile"),
            },
            sections: sections.collect::<Result<_, _>>()?,
        })
    }
}

/// The table over verified bytes.
#[derive(Clone, Copy)]
struct FooterTable<'a>(Table<'a>);

impl<'a> FooterTable<'a> {
    /// A number of the table; `T` is the type with which [`Verifiable`] below has verified `slot`.
    fn number<T: Follow<'a, Inner = T> + 'a>(&self, slot: u16, default: T) -> T {
        // SAFETY: the verifier has seen a `T` in this slot, or that the slot is empty.
        unsafe { self.0.get::<T>(slot, None) }.unwrap_or(default)
    }

    fn words(&self, slot: u16) -> Vec<u64> {
        // SAFETY: the verifier has seen a vector of 64-bit words in this slot, or that the slot is empty.
        let words = unsafe { self.0.get::<ForwardsUOffset<Vector<'a, u64>>>(slot, None) };
        words.map(|w| w.iter().collect()).unwrap_or_default()
    }
}

impl<'a> Follow<'a> for FooterTable<'a> {
    type Inner = FooterTable<'a>;

    unsafe fn follow(buffer: &'a [u8], at: usize) -> Self::Inner {
        // SAFETY: the caller promises a table at `at`.
        FooterTable(unsafe { Table::new(buffer, at) })
    }
}

impl Verifiable for FooterTable<'_> {
    fn run_verifier(verifier: &mut Verifier<'_, '_>, at: usize) -> Result<(), InvalidFlatbuffer> {
        verifier
            .visit_table(at)?
            .visit_field::<u32>("shard", slot::SHARD, false)?
            .visit_field::<i64>("min_time", slot::MIN_TIME, false)?
            .visit_field::<i64>("max_time", slot::MAX_TIME, false)?
            .visit_field::<u32>("series", slot::SERIES, false)?
            .visit_field::<u64>("float_samples", slot::FLOAT_SAMPLES, false)?
            .visit_field::<u64>("histogram_samples", slot::HISTOGRAM_SAMPLES, false)?
            .visit_field::<u8>("level", slot::LEVEL, false)?
            .visit_field::<ForwardsUOffset<Vector<'_, u64>>>("parents", slot::PARENTS, true)?
            .visit_field::<i64>("sealed_until", slot::SEALED_UNTIL, false)?
            .visit_field::<bool>("has_sealed_until", slot::HAS_SEALED_UNTIL, false)?
            .visit_field::<bool>("out_of_order", slot::OUT_OF_ORDER, false)?
            .visit_field::<u8>("profile", slot::PROFILE, false)?
            .visit_field::<ForwardsUOffset<Vector<'_, u64>>>("sections", slot::SECTIONS, true)?
            .finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    fn sample() -> Footer {
        Footer {
            meta: BlockMeta {
                id: BlockId(77),
                shard: 3,
                min_time: -5,
                max_time: 1_700_000_000_000,
                series: 12,
                float_samples: 1 << 40,
                histogram_samples: 9,
                level: 2,
                parents: vec![BlockId(1), BlockId(u128::MAX)],
                sealed_until: Some(0),
                out_of_order: true,
                bytes: 0,
            },
            profile: Profile::Compacted,
            sections: (1..=12)
                .map(|kind| SectionPlace {
                    kind,
                    offset: 64 << kind,
                    bytes: 11,
                    checksum: u64::MAX - u64::from(kind),
                })
                .collect(),
        }
    }

    #[test]
    fn footers_come_back() {
        let footer = sample();
        let bytes = footer.to_bytes();
        assert_eq!(Footer::from_bytes(&bytes, BlockId(77)), Ok(footer.clone()));
        let mut other = footer;
        other.meta.sealed_until = None;
        other.meta.parents.clear();
        other.meta.out_of_order = false;
        other.profile = Profile::Sealed;
        assert_eq!(
            Footer::from_bytes(&other.to_bytes(), BlockId(77)),
            Ok(other)
        );
    }

    #[test]
    fn damaged_footers_do_not_panic() {
        let bytes = sample().to_bytes();
        for cut in 0..bytes.len() {
            let _ = Footer::from_bytes(&bytes[..cut], BlockId(77));
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = Footer::from_bytes(&damaged, BlockId(77));
        }
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..random.below(200))
                .map(|_| random.below(30) as u8)
                .collect();
            let _ = Footer::from_bytes(&noise, BlockId(77));
        }
    }
}
