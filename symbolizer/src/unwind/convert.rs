//! Goes through a file's code by address and asks each source what it says.

use std::{iter::Peekable, ops::Range, slice};

use gimli::{BaseAddresses, DebugFrame, EhFrame, LittleEndian, UnwindSection, Vendor};

use super::{
    Conversion,
    frames::{Bytes, Fde, Frames},
    image::{Image, Part},
    known::{self, Known},
    numbers::Numbers,
    pages::{Page, Pages},
    rule::{Machine, Rule, Unsupported},
    rules::Rules,
    translate::Translated,
};
use crate::{Error, elf::source::Source};

pub(super) fn convert(
    source: &Source<'_>,
    rules: &mut Rules,
    sink: impl FnMut(Page<'_>),
) -> Result<Conversion, Error> {
    let image = Image::read(source)?;
    let eh_bytes = read(&image, image.eh_frame.as_ref())?;
    let debug_bytes = read(&image, image.debug_frame.as_ref())?;
    let mut eh = eh_frames(&image, &eh_bytes)?;
    let mut debug = debug_frames(&image, &debug_bytes)?;
    let known = known::find(&image)?;
    let has_tables = !(eh.fdes.is_empty() && debug.fdes.is_empty());

    let mut conversion = Conversion {
        eh_frame: eh_bytes.len() as u64,
        debug_frame: debug_bytes.len() as u64,
        elsewhere: eh.elsewhere + debug.elsewhere,
        ..Conversion::of(image.machine)
    };
    conversion.count(Unsupported::Encoding, eh.unknown + debug.unknown);
    let mut writer = Writer {
        pages: Pages::new(sink),
        numbers: Numbers::new(rules),
        known: known.iter().peekable(),
        trampoline: None,
        conversion,
    };
    let gap = if image.is_go || !has_tables {
        Rule::FramePointer
    } else {
        Rule::None
    };
    let malformed = |part: &Option<Part>, why| {
        let what = part.as_ref().map_or("its tables", Part::what);
        Error::malformed(source.name(), what, why)
    };
    let fdes = (
        std::mem::take(&mut eh.fdes),
        std::mem::take(&mut debug.fdes),
    );
    let mut merged = Merged::new(&fdes.0, &fdes.1);
    for text in &image.text {
        let mut at = text.addresses.start;
        while let Some((origin, fde, limit)) = merged.next_before(text.addresses.end) {
            let start = fde.start.max(at);
            let end = fde.end().min(text.addresses.end).min(limit);
            if start > fde.start || limit < fde.end() {
                writer.conversion.overlapping += 1;
            }
            if start >= end {
                continue;
            }
            writer.gap(at..start, gap);
            match origin {
                Origin::EhFrame => writer
                    .entry(&mut eh, fde, start..end, image.machine)
                    .map_err(|why| malformed(&image.eh_frame, why))?,
                Origin::DebugFrame => writer
                    .entry(&mut debug, fde, start..end, image.machine)
                    .map_err(|why| malformed(&image.debug_frame, why))?,
            }
            at = end;
        }
        writer.gap(at..text.addresses.end, gap);
    }
    Ok(writer.finish())
}

fn read(image: &Image<'_>, part: Option<&Part>) -> Result<Vec<u8>, Error> {
    part.map_or_else(|| Ok(Vec::new()), |part| part.read(image.source))
}

fn eh_frames<'a>(
    image: &Image<'_>,
    bytes: &'a [u8],
) -> Result<Frames<'a, EhFrame<Bytes<'a>>>, Error> {
    let part = image.eh_frame.as_ref();
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(vendor(image.machine));
    let bases =
        BaseAddresses::default().set_eh_frame(part.map_or(0, |part| part.addresses().start));
    let is_open = part.is_some_and(|part| part.is_open);
    frames(image, section, bytes, bases, is_open, part)
}

fn debug_frames<'a>(
    image: &Image<'_>,
    bytes: &'a [u8],
) -> Result<Frames<'a, DebugFrame<Bytes<'a>>>, Error> {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(vendor(image.machine));
    let bases = BaseAddresses::default();
    frames(
        image,
        section,
        bytes,
        bases,
        false,
        image.debug_frame.as_ref(),
    )
}

fn frames<'a, Section: UnwindSection<Bytes<'a>>>(
    image: &Image<'_>,
    section: Section,
    bytes: &'a [u8],
    bases: BaseAddresses,
    is_open: bool,
    part: Option<&Part>,
) -> Result<Frames<'a, Section>, Error> {
    let is_text = |address| image.text_at(address).is_some();
    Frames::read(section, bytes, bases, is_open, is_text).map_err(|why| {
        let what = part.map_or("its tables", Part::what);
        Error::malformed(image.source.name(), what, why)
    })
}

fn vendor(machine: Machine) -> Vendor {
    match machine {
        Machine::X86_64 => Vendor::Default,
        Machine::Aarch64 => Vendor::AArch64,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    EhFrame,
    DebugFrame,
}

/// The entries of both sections by address.
struct Merged<'a> {
    eh: Peekable<slice::Iter<'a, Fde>>,
    debug: Peekable<slice::Iter<'a, Fde>>,
}

impl<'a> Merged<'a> {
    fn new(eh: &'a [Fde], debug: &'a [Fde]) -> Self {
        Self {
            eh: eh.iter().peekable(),
            debug: debug.iter().peekable(),
        }
    }

    /// The next entry that starts before an address, and the address up to which it may say something.
    fn next_before(&mut self, end: u64) -> Option<(Origin, &'a Fde, u64)> {
        let starts = (
            self.eh.peek().map(|fde| fde.start),
            self.debug.peek().map(|fde| fde.start),
        );
        let is_debug = match starts {
            (Some(eh), Some(debug)) => debug < eh,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_debug {
            let fde = self.debug.next_if(|fde| fde.start < end)?;
            Some((Origin::DebugFrame, fde, starts.0.unwrap_or(u64::MAX)))
        } else {
            let fde = self.eh.next_if(|fde| fde.start < end)?;
            Some((Origin::EhFrame, fde, u64::MAX))
        }
    }
}

/// Whether an entry says of code that signal handlers return to it.
fn is_trampoline(rule: Rule) -> bool {
    match rule {
        Rule::SignalFrame => true,
        Rule::Frame(frame) => frame.is_signal,
        _ => false,
    }
}

/// Writes ranges of code into pages, with the known code among them.
struct Writer<'a, Sink> {
    pages: Pages<Sink>,
    numbers: Numbers<'a>,
    known: Peekable<slice::Iter<'a, Known>>,
    /// Where the trampoline of signal handlers ends that was written last, with its rule, until something else was.
    trampoline: Option<(u64, Rule)>,
    conversion: Conversion,
}

impl<Sink: FnMut(Page<'_>)> Writer<'_, Sink> {
    /// A range that no entry is for.
    fn gap(&mut self, mut range: Range<u64>, rule: Rule) {
        if range.is_empty() {
            return;
        }
        // A trampoline's last instruction is the system call. What is in that has its address behind it, which is in no entry (glibc's `__restore_rt`).
        if let Some((end, trampoline)) = self.trampoline.take()
            && end == range.start
        {
            range.start += 1;
            self.write(end..range.start, trampoline, true);
        }
        self.write(range, rule, true);
    }

    /// A range that an entry is for, which may be longer.
    fn entry<'a, Section: UnwindSection<Bytes<'a>>>(
        &mut self,
        frames: &mut Frames<'a, Section>,
        fde: &Fde,
        within: Range<u64>,
        machine: Machine,
    ) -> Result<(), String> {
        self.conversion.entries += 1;
        let mut at = within.start;
        frames.rows(fde, machine, |range, translated| {
            let end = range.end.min(within.end);
            if end > at {
                self.row(at..end, translated);
                at = end;
            }
        })?;
        // An entry's rows reach to its end, but for one whose addresses go round past the last one there is.
        self.gap(at..within.end, Rule::None);
        Ok(())
    }

    fn row(&mut self, range: Range<u64>, translated: Translated) {
        self.conversion.rows += 1;
        if translated.lost_frame_pointer {
            self.conversion.count(Unsupported::FramePointer, 1);
        }
        if let Rule::Unsupported(kind) = translated.rule {
            self.conversion.count(kind, 1);
        }
        self.trampoline = is_trampoline(translated.rule).then_some((range.end, translated.rule));
        self.write(range, translated.rule, false);
    }

    fn write(&mut self, range: Range<u64>, rule: Rule, is_gap: bool) {
        let mut at = range.start;
        while let Some(&known) = self.known.peek() {
            if known.addresses.start >= range.end {
                break;
            }
            let start = known.addresses.start.max(at);
            let end = known.addresses.end.min(range.end);
            if start < end && (is_gap || known.is_certain) {
                self.push(at..start, rule);
                self.push(start..end, known.rule);
                at = end;
            }
            if known.addresses.end > range.end {
                // It goes on in the next range.
                break;
            }
            self.known.next();
        }
        self.push(at..range.end, rule);
    }

    fn push(&mut self, range: Range<u64>, rule: Rule) {
        if range.is_empty() {
            return;
        }
        let number = self.numbers.number(rule).unwrap_or_else(|| {
            self.conversion.count(Unsupported::RulesFull, 1);
            Rules::RULES_FULL
        });
        self.pages.push(range.start, range.end, number);
    }

    fn finish(mut self) -> Conversion {
        self.pages.finish();
        Conversion {
            kept: self.pages.kept,
            pages: self.pages.pages,
            ..self.conversion
        }
    }
}
