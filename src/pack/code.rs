//! The byte code of predicates: how it is written, and the check that makes running it safe.
//!
//! Code is a postfix sequence over a stack of values; branches only go forward. [`check`] runs it once over types instead of
//! values, so that [`super::predicate`] never meets an operand of the wrong type, an empty stack or a place outside the code.

use crate::scan::table::{TableId, Type};
use crate::version::Scheme;

/// One instruction; the operands follow its byte, little-endian.
pub mod op {
    /// truth u8
    pub const TRUTH: u8 = 0x01;
    /// i64
    pub const INT: u8 = 0x02;
    /// string u32
    pub const STR: u8 = 0x03;
    /// column u8
    pub const COLUMN: u8 = 0x04;
    /// column u8
    pub const HAS_COLUMN: u8 = 0x05;
    pub const NOT: u8 = 0x10;
    pub const AND: u8 = 0x11;
    pub const OR: u8 = 0x12;
    /// condition, then, otherwise
    pub const SELECT: u8 = 0x13;
    /// truth u8 (0 or 1), bytes to skip u32: skips when the top is exactly that; the top stays.
    pub const BRANCH: u8 = 0x14;
    /// comparison u8
    pub const COMPARE: u8 = 0x20;
    /// scheme u8, comparison u8
    pub const COMPARE_VERSION: u8 = 0x21;
    /// n u16, string u32 x n
    pub const IN_STRINGS: u8 = 0x22;
    /// n u16, i64 x n
    pub const IN_INTS: u8 = 0x23;
    /// item, text, separator: whether the item is a part of the text
    pub const IN_SPLIT: u8 = 0x24;
    /// text, separator: how many parts
    pub const SPLIT_SIZE: u8 = 0x25;
    /// operator u8
    pub const ARITHMETIC: u8 = 0x30;
    pub const NEGATE: u8 = 0x31;
    /// function u8
    pub const CALL: u8 = 0x40;
    /// pattern u32
    pub const MATCHES: u8 = 0x50;
    /// n u16, string u32 x n; first in the code: the row counts only if its first column matches one of these patterns
    pub const ONLY: u8 = 0x60;
}

/// What a check needs to know of the pack.
pub struct Bounds {
    pub strings: usize,
    pub patterns: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Str,
}

/// Deepest stack that a predicate may need.
pub const STACK_MAX: usize = 64;

/// Reads operands; `None` past the end.
pub struct Reader<'c> {
    code: &'c [u8],
    pub at: usize,
}

impl<'c> Reader<'c> {
    pub fn new(code: &'c [u8]) -> Reader<'c> {
        Reader { code, at: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.at >= self.code.len()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.code.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(bytes)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

pub fn scheme_from_u8(n: u8) -> Option<Scheme> {
    Scheme::ALL.get(usize::from(n)).copied()
}

pub fn scheme_to_u8(scheme: Scheme) -> u8 {
    // INVARIANT: fewer than 256 schemes.
    Scheme::ALL.iter().position(|s| *s == scheme).and_then(|n| u8::try_from(n).ok()).unwrap_or(u8::MAX)
}

struct Checker<'c> {
    reader: Reader<'c>,
    stack: Vec<Kind>,
    /// Where branches land, and how high the stack is there.
    landings: Vec<(usize, usize)>,
    table: TableId,
    bounds: &'c Bounds,
}

/// Checks a predicate over rows of a table: it leaves one Bool.
pub fn check(code: &[u8], table: TableId, bounds: &Bounds) -> Result<(), String> {
    let mut checker = Checker { reader: Reader::new(code), stack: Vec::new(), landings: Vec::new(), table, bounds };
    while !checker.reader.is_done() {
        checker.land()?;
        let at = checker.reader.at;
        checker.step().ok_or_else(|| format!("bad instruction at byte {at}"))?;
        if checker.stack.len() > STACK_MAX {
            return Err("its stack is too deep".to_owned());
        }
    }
    checker.land()?;
    if checker.stack != [Kind::Bool] || !checker.landings.is_empty() {
        return Err("it does not end with one condition".to_owned());
    }
    Ok(())
}

impl Checker<'_> {
    /// A branch must meet the stack that the straight way brings, with the condition it kept on top.
    fn land(&mut self) -> Result<(), String> {
        let (at, height) = (self.reader.at, self.stack.len());
        let top = self.stack.last().copied();
        if self.landings.iter().any(|(to, h)| *to < at || (*to == at && (*h != height || top != Some(Kind::Bool)))) {
            return Err(format!("a branch to byte {at} meets another stack"));
        }
        self.landings.retain(|(to, _)| *to != at);
        Ok(())
    }

    fn pop(&mut self, kind: Kind) -> Option<()> {
        (self.stack.pop()? == kind).then_some(())
    }

    fn push(&mut self, kind: Kind) -> Option<()> {
        self.stack.push(kind);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let id = self.reader.u32()?;
        (super::wire::index(id) < self.bounds.strings).then_some(())
    }

    fn column(&mut self) -> Option<Kind> {
        let column = self.reader.u8()?;
        Some(match self.table.table().columns.get(usize::from(column))?.ty {
            Type::Str => Kind::Str,
            Type::Int | Type::Mode => Kind::Int,
            Type::Bool => Kind::Bool,
        })
    }

    fn step(&mut self) -> Option<()> {
        let first = self.reader.at == 0;
        match self.reader.u8()? {
            op::TRUTH => {
                crate::judge::truth::Truth::from_u8(self.reader.u8()?)?;
                self.push(Kind::Bool)
            }
            op::INT => {
                self.reader.i64()?;
                self.push(Kind::Int)
            }
            op::STR => {
                self.string()?;
                self.push(Kind::Str)
            }
            op::COLUMN => {
                let kind = self.column()?;
                self.push(kind)
            }
            op::HAS_COLUMN => {
                self.column()?;
                self.push(Kind::Bool)
            }
            op::NOT => {
                self.pop(Kind::Bool)?;
                self.push(Kind::Bool)
            }
            op::AND | op::OR => {
                self.pop(Kind::Bool)?;
                self.pop(Kind::Bool)?;
                self.push(Kind::Bool)
            }
            op::SELECT => {
                let otherwise = self.stack.pop()?;
                self.pop(otherwise)?;
                self.pop(Kind::Bool)?;
                self.push(otherwise)
            }
            op::BRANCH => {
                (self.reader.u8()? <= 1).then_some(())?;
                let skip = super::wire::index(self.reader.u32()?);
                (*self.stack.last()? == Kind::Bool).then_some(())?;
                let to = self.reader.at.checked_add(skip).filter(|to| skip > 0 && *to <= self.reader.code.len())?;
                self.landings.push((to, self.stack.len()));
                Some(())
            }
            op::ONLY => {
                (first && self.table.table().columns[0].ty == Type::Str).then_some(())?;
                for _ in 0..self.reader.u16()? {
                    self.string()?;
                }
                Some(())
            }
            other => self.step_value(other),
        }
    }

    fn step_value(&mut self, instruction: u8) -> Option<()> {
        match instruction {
            op::COMPARE => {
                let ordering = super::wire::cmp_from_u8(self.reader.u8()?)?;
                let kind = self.stack.pop()?;
                self.pop(kind)?;
                use crate::rule::ir::Cmp;
                (kind != Kind::Bool || matches!(ordering, Cmp::Eq | Cmp::Ne)).then_some(())?;
                self.push(Kind::Bool)
            }
            op::COMPARE_VERSION => {
                scheme_from_u8(self.reader.u8()?)?;
                super::wire::cmp_from_u8(self.reader.u8()?)?;
                self.pop(Kind::Str)?;
                self.pop(Kind::Str)?;
                self.push(Kind::Bool)
            }
            op::IN_STRINGS => {
                for _ in 0..self.reader.u16()? {
                    self.string()?;
                }
                self.pop(Kind::Str)?;
                self.push(Kind::Bool)
            }
            op::IN_INTS => {
                for _ in 0..self.reader.u16()? {
                    self.reader.i64()?;
                }
                self.pop(Kind::Int)?;
                self.push(Kind::Bool)
            }
            op::IN_SPLIT => {
                for _ in 0..3 {
                    self.pop(Kind::Str)?;
                }
                self.push(Kind::Bool)
            }
            op::SPLIT_SIZE => {
                self.pop(Kind::Str)?;
                self.pop(Kind::Str)?;
                self.push(Kind::Int)
            }
            op::ARITHMETIC => {
                (self.reader.u8()? <= 4).then_some(())?;
                self.pop(Kind::Int)?;
                self.pop(Kind::Int)?;
                self.push(Kind::Int)
            }
            op::NEGATE => {
                self.pop(Kind::Int)?;
                self.push(Kind::Int)
            }
            op::CALL => {
                let (arguments, result) = signature(self.reader.u8()?)?;
                for kind in arguments.iter().rev() {
                    self.pop(*kind)?;
                }
                self.push(result)
            }
            op::MATCHES => {
                let pattern = super::wire::index(self.reader.u32()?);
                (pattern < self.bounds.patterns).then_some(())?;
                self.pop(Kind::Str)?;
                self.push(Kind::Bool)
            }
            _ => None,
        }
    }
}

/// Functions by their number in the code.
pub mod func {
    pub const STARTS_WITH: u8 = 0;
    pub const ENDS_WITH: u8 = 1;
    pub const CONTAINS: u8 = 2;
    pub const LOWER: u8 = 3;
    pub const TRIM: u8 = 4;
    pub const CONCAT: u8 = 5;
    pub const SIZE: u8 = 6;
    pub const AT_MOST: u8 = 7;
    pub const MODE_OF: u8 = 8;
    pub const INT_OF: u8 = 9;
}

fn signature(function: u8) -> Option<(&'static [Kind], Kind)> {
    use Kind::{Bool, Int, Str};
    Some(match function {
        func::STARTS_WITH | func::ENDS_WITH | func::CONTAINS => (&[Str, Str], Bool),
        func::LOWER | func::TRIM => (&[Str], Str),
        func::CONCAT => (&[Str, Str], Str),
        func::SIZE | func::MODE_OF | func::INT_OF => (&[Str], Int),
        func::AT_MOST => (&[Int, Int], Bool),
        _ => return None,
    })
}
