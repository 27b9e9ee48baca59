//! Random addresses in a file's executable sections, the same ones in each run.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSection as _, ReadCache, SectionFlags, elf};

/// Numbers that look random and follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each file, so that taking one file out changes no other's addresses.
    pub fn of(name: &str, seed: u64) -> Self {
        // FNV-1a: std's own hash is free to change.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self(hash ^ seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A section of code.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    pub start: u64,
    pub size: u64,
    /// Whether it is a procedure linkage table, which has no symbols of its own.
    pub is_plt: bool,
}

impl Code {
    pub fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.start)
            .is_some_and(|offset| offset < self.size)
    }
}

/// The sections that hold code: allocated, executable and in the file.
pub fn executable(file: &Path) -> Result<Vec<Code>> {
    let data = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let cache = ReadCache::new(data);
    let object = object::File::parse(&cache).with_context(|| file.display().to_string())?;
    let wanted = u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR);
    let code: Vec<Code> = object
        .sections()
        .filter(|section| {
            matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & wanted == wanted)
                && section.kind() == object::SectionKind::Text
                && section.size() > 0
        })
        .map(|section| Code {
            start: section.address(),
            size: section.size(),
            is_plt: section
                .name()
                .is_ok_and(|name| name == ".plt" || name.starts_with(".plt.")),
        })
        .collect();
    ensure!(
        !code.is_empty(),
        "{}: no executable section",
        file.display()
    );
    Ok(code)
}

/// `count` addresses, each byte of code as likely as any other.
pub fn pick(code: &[Code], random: &mut Random, count: usize) -> Vec<u64> {
    let total: u64 = code.iter().map(|section| section.size).sum();
    (0..count)
        .map(|_| {
            let mut at = random.next() % total;
            for section in code {
                if at < section.size {
                    return section.start + at;
                }
                at -= section.size;
            }
            unreachable!("an offset below the sum of all sizes lies in one of them")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Code, Random, executable, pick};

    #[test]
    fn addresses_repeat_lie_in_code_and_differ_by_file() {
        let this = std::env::current_exe().expect("this program");
        let code = executable(&this).expect("its code");
        let of = |name| pick(&code, &mut Random::of(name, 1), 1_000);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        let is_code = |&address: &u64| code.iter().any(|section| section.contains(address));
        assert!(of("a").iter().all(is_code));
    }

    #[test]
    fn each_section_gets_its_share() {
        let sections = [(1_000, 10), (9_000, 30)].map(|(start, size)| Code {
            start,
            size,
            is_plt: false,
        });
        let picked = pick(&sections, &mut Random::of("", 7), 10_000);
        let low = picked.iter().filter(|&&address| address < 2_000).count();
        assert!((2_200..2_800).contains(&low), "{low}");
        assert!(picked.contains(&1_000) && picked.contains(&9_029));
    }
}
