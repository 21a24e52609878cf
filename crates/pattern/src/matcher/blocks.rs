//! Where an event's strings and containers begin and end, found 64 bytes at a time.
//!
//! Every byte is looked at once, without branching on what it is; whoever walks the event can
//! then pass over a string or a container in a few steps, whatever is in it.

use wide::u8x64;

use crate::error::InvalidEvent;

const WIDTH: usize = 64;

/// A bit for each of 64 bytes, the lowest for the first.
type Bits = u64;

#[derive(Debug, Clone, Copy)]
struct Block {
    /// Quotes that begin or end a string.
    quotes: Bits,
    /// `{` and `[` outside strings.
    opens: Bits,
    /// `}` and `]` outside strings.
    closes: Bits,
    /// Containers open before the block.
    depth: u32,
    /// A bound from below on the containers open at any place in the block.
    shallowest: u32,
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
}

#[derive(Debug, Default)]
struct Carry {
    /// The first byte of the next block is escaped.
    escaped: bool,
    /// All ones when the next block begins inside a string.
    in_string: Bits,
    depth: u32,
    non_ascii: Bits,
}

impl Blocks {
    /// Fails for events that are not UTF-8, whose strings or containers are not all closed, or
    /// that nest deeper than `deepest`.
    pub(super) fn fill(&mut self, event: &[u8], deepest: u32) -> Result<(), InvalidEvent> {
        self.blocks.clear();
        let mut carry = Carry::default();
        let (whole, rest) = event.as_chunks::<WIDTH>();
        for (i, chunk) in whole.iter().enumerate() {
            let block = Block::read(chunk, &mut carry);
            if block.depth + block.opens.count_ones() > deepest {
                block.check_depth(event, i * WIDTH, deepest)?;
            }
            self.blocks.push(block);
        }
        if !rest.is_empty() {
            let mut chunk = [b' '; WIDTH];
            chunk[..rest.len()].copy_from_slice(rest);
            let block = Block::read(&chunk, &mut carry);
            if block.depth + block.opens.count_ones() > deepest {
                block.check_depth(event, whole.len() * WIDTH, deepest)?;
            }
            self.blocks.push(block);
        }
        if carry.non_ascii != 0
            && let Err(e) = std::str::from_utf8(event)
        {
            return Err(InvalidEvent::at("it is not UTF-8", event, e.valid_up_to()));
        }
        if carry.in_string != 0 {
            return Err(InvalidEvent::at("a string is not closed", event, event.len()));
        }
        if carry.depth != 0 {
            return Err(InvalidEvent::at("an object or array is not closed", event, event.len()));
        }
        Ok(())
    }

    /// The first quote at or behind `from` that begins or ends a string.
    #[inline]
    pub(super) fn next_quote(&self, from: usize) -> Option<usize> {
        let mut i = from / WIDTH;
        let mut quotes = self.blocks.get(i)?.quotes & (!0 << (from % WIDTH));
        while quotes == 0 {
            i += 1;
            quotes = self.blocks.get(i)?.quotes;
        }
        Some(i * WIDTH + quotes.trailing_zeros() as usize)
    }

    /// Where the container that is opened at `open` ends: behind its closing bracket.
    pub(super) fn end_of_container(&self, open: usize) -> Option<usize> {
        let first = open / WIDTH;
        let block = self.blocks.get(first)?;
        let from = open % WIDTH;
        let before = !(!0 << from);
        let opened = block.depth + (block.opens & before).count_ones();
        let outside = opened.saturating_sub((block.closes & before).count_ones());
        if let Some(at) = block.find_end(from, outside, outside) {
            return Some(first * WIDTH + at);
        }
        let later = self.blocks.get(first + 1..)?;
        for (i, block) in later.iter().enumerate() {
            if block.shallowest <= outside
                && let Some(at) = block.find_end(0, block.depth, outside)
            {
                return Some((first + 1 + i) * WIDTH + at);
            }
        }
        None
    }
}

impl Block {
    #[inline]
    fn read(chunk: &[u8; WIDTH], carry: &mut Carry) -> Block {
        let bytes = u8x64::from(*chunk);
        let is = |byte: u8| bytes.simd_eq(u8x64::from(byte)).to_bitmask();
        carry.non_ascii |= bytes.to_bitmask();
        let backslashes = is(b'\\');
        let mut quotes = is(b'"');
        if backslashes != 0 || carry.escaped {
            quotes &= !escaped(backslashes, &mut carry.escaped);
        }
        let strings = fill_between(quotes) ^ carry.in_string;
        carry.in_string = 0_u64.wrapping_sub(strings >> 63);
        // `{` and `[` differ in one bit, and so do `}` and `]`.
        let folded = bytes | u8x64::from(0x20);
        let opens = folded.simd_eq(u8x64::from(b'{')).to_bitmask() & !strings;
        let closes = folded.simd_eq(u8x64::from(b'}')).to_bitmask() & !strings;
        let depth = carry.depth;
        let shallowest = depth.saturating_sub(closes.count_ones());
        // Brackets that close nothing are found by whoever walks the event.
        carry.depth = (depth + opens.count_ones()).saturating_sub(closes.count_ones());
        Block { quotes, opens, closes, depth, shallowest }
    }

    /// Behind the bracket at which no more than `outside` containers are open, from `from` on,
    /// where `depth` are.
    fn find_end(&self, from: usize, mut depth: u32, outside: u32) -> Option<usize> {
        let mut brackets = (self.opens | self.closes) & (!0 << from);
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            if self.opens >> at & 1 == 1 {
                depth += 1;
            } else {
                depth = depth.saturating_sub(1);
                if depth <= outside {
                    return Some(at as usize + 1);
                }
            }
            brackets &= brackets - 1;
        }
        None
    }

    #[cold]
    fn check_depth(&self, event: &[u8], start: usize, deepest: u32) -> Result<(), InvalidEvent> {
        let mut depth = self.depth;
        let mut brackets = self.opens | self.closes;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            if self.opens >> at & 1 == 1 {
                depth += 1;
            } else {
                depth = depth.saturating_sub(1);
            }
            if depth > deepest {
                let reason = format!(
                    "Document nesting depth ({depth}) exceeds the maximum allowed ({deepest})"
                );
                return Err(InvalidEvent::at(reason, event, start + at as usize));
            }
            brackets &= brackets - 1;
        }
        Ok(())
    }
}

/// The bytes behind backslashes that are not themselves escaped.
#[cold]
fn escaped(backslashes: Bits, carry: &mut bool) -> Bits {
    let mut escaped = Bits::from(*carry);
    *carry = false;
    let mut left = backslashes & !escaped;
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        if at == 63 {
            *carry = true;
        } else {
            escaped |= 2 << at;
            left &= !(2 << at);
        }
    }
    escaped
}

/// Ones from each quote that begins a string to just before the one that ends it.
#[inline]
fn fill_between(quotes: Bits) -> Bits {
    let mut filled = quotes;
    for shift in [1, 2, 4, 8, 16, 32] {
        filled ^= filled << shift;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(event: &str) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.fill(event.as_bytes(), 100).unwrap();
        blocks
    }

    #[test]
    fn finds_quotes_that_are_not_escaped_wherever_blocks_end() {
        for pad in 0..130 {
            let space = " ".repeat(pad);
            let event = format!(r#"{space}"a\"b\\" "#);
            let blocks = filled(&event);
            assert_eq!(blocks.next_quote(0), Some(pad), "{pad}");
            assert_eq!(blocks.next_quote(pad + 1), Some(pad + 7), "{pad}");
            assert_eq!(blocks.next_quote(pad + 8), None, "{pad}");
        }
    }

    #[test]
    fn finds_the_ends_of_containers_wherever_blocks_end() {
        for pad in 0..130 {
            let space = " ".repeat(pad);
            let event = format!(r#"[{space}{{"}}]": [1, {{}}, [{space}]]}}, 2]"#);
            let blocks = filled(&event);
            assert_eq!(blocks.end_of_container(0), Some(event.len()), "{pad}");
            assert_eq!(blocks.end_of_container(pad + 1), Some(event.len() - 4), "{pad}");
        }
    }

    #[track_caller]
    fn check_error(event: &[u8], expected: &str) {
        let error = Blocks::default().fill(event, 3).unwrap_err();
        assert_eq!(error.reason(), expected);
    }

    #[test]
    fn errors() {
        check_error(br#"{"a"#, "a string is not closed");
        check_error(br#"{"a": ["#, "an object or array is not closed");
        check_error(b"{\"\xff\"}", "it is not UTF-8");
        check_error(b"[[[[]]]]", "Document nesting depth (4) exceeds the maximum allowed (3)");
    }
}
