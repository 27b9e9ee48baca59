//! The answer for an address.

use std::{ops::Deref, slice, sync::Arc};

use super::Frame;

/// The frames at one address, the innermost inlined function first and the function that the code lies in last. Empty where nothing
/// is known. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Frames(Held);

/// Most addresses that names are asked for have one frame, which needs no memory of its own.
#[derive(Clone, Debug, Default)]
enum Held {
    #[default]
    None,
    One(Frame),
    Many(Arc<[Frame]>),
}

impl Frames {
    pub(crate) fn one(frame: Frame) -> Self {
        Self(Held::One(frame))
    }

    pub(crate) fn new(mut frames: impl ExactSizeIterator<Item = Frame>) -> Self {
        Self(match frames.len() {
            0 => Held::None,
            1 => frames.next().map_or(Held::None, Held::One),
            _ => Held::Many(frames.collect()),
        })
    }

    /// The function that the code lies in.
    pub fn outermost(&self) -> Option<&Frame> {
        self.last()
    }
}

impl Deref for Frames {
    type Target = [Frame];

    fn deref(&self) -> &[Frame] {
        match &self.0 {
            Held::None => &[],
            Held::One(frame) => slice::from_ref(frame),
            Held::Many(frames) => frames,
        }
    }
}

impl PartialEq for Frames {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Frames {}

impl<'a> IntoIterator for &'a Frames {
    type Item = &'a Frame;
    type IntoIter = slice::Iter<'a, Frame>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
