//! Where an event's strings and containers begin and end, found 64 bytes at a time.
//!
//! The bytes of a block are looked at all at once, without branching on what they are; whoever
//! walks the event can then pass over a string or a container in a few steps, whatever is in it.
//! Blocks are looked at when the walk gets there, so not at all behind its end.

use wide::u8x64;

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
    carry: Carry,
}

/// What a block hands on to the next.
#[derive(Debug, Default)]
struct Carry {
    /// The first byte of the next block is escaped.
    escaped: bool,
    /// All ones when the next block begins inside a string.
    in_string: Bits,
    depth: u32,
    /// Any backslash so far.
    backslashes: Bits,
}

impl Blocks {
    /// Forgets one event before the next.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.carry = Carry::default();
    }

    /// Whether there is any backslash in what has been looked at.
    #[inline]
    pub(super) fn has_escapes(&self) -> bool {
        self.carry.backslashes != 0
    }

    /// The first quote at or behind `from` that begins or ends a string.
    #[inline]
    pub(super) fn next_quote(&mut self, event: &[u8], from: usize) -> Option<usize> {
        let mut i = from / WIDTH;
        let mut quotes = self.block(event, i)?.quotes & (!0 << (from % WIDTH));
        while quotes == 0 {
            i += 1;
            quotes = self.block(event, i)?.quotes;
        }
        Some(i * WIDTH + quotes.trailing_zeros() as usize)
    }

    /// Where the container that is opened at `open` ends: behind its closing bracket.
    pub(super) fn end_of_container(&mut self, event: &[u8], open: usize) -> Option<usize> {
        let mut i = open / WIDTH;
        let block = self.block(event, i)?;
        let from = open % WIDTH;
        let before = !(!0 << from);
        let opened = block.depth + (block.opens & before).count_ones();
        let outside = opened.saturating_sub((block.closes & before).count_ones());
        let mut end = block.find_end(from, outside, outside);
        while end.is_none() {
            i += 1;
            let block = self.block(event, i)?;
            if block.shallowest <= outside {
                end = block.find_end(0, block.depth, outside);
            }
        }
        end.map(|at| i * WIDTH + at)
    }

    #[inline]
    fn block(&mut self, event: &[u8], i: usize) -> Option<&Block> {
        while self.blocks.len() <= i {
            self.look_on(event)?;
        }
        Some(&self.blocks[i])
    }

    fn look_on(&mut self, event: &[u8]) -> Option<()> {
        let rest = event.get(self.blocks.len() * WIDTH..)?;
        let block = match rest.first_chunk::<WIDTH>() {
            Some(chunk) => Block::read(chunk, &mut self.carry),
            None if rest.is_empty() => return None,
            None => {
                let mut chunk = [b' '; WIDTH];
                chunk[..rest.len()].copy_from_slice(rest);
                Block::read(&chunk, &mut self.carry)
            }
        };
        self.blocks.push(block);
        Some(())
    }
}

impl Block {
    #[inline]
    fn read(chunk: &[u8; WIDTH], carry: &mut Carry) -> Block {
        let bytes = u8x64::from(*chunk);
        let is = |byte: u8| bytes.simd_eq(u8x64::from(byte)).to_bitmask();
        let backslashes = is(b'\\');
        let mut quotes = is(b'"');
        if backslashes != 0 || carry.escaped {
            carry.backslashes |= backslashes;
            quotes &= !escaped(backslashes, &mut carry.escaped);
        }
        let strings = fill_between(quotes) ^ carry.in_string;
        carry.in_string = 0_u64.wrapping_sub(strings >> 63);
        // `{` and `[` differ in one bit, and so do `}` and `]`.
        let folded = bytes | u8x64::from(0x20);
        let opens = folded.simd_eq(u8x64::from(b'{')).to_bitmask() & !strings;
        let closes = folded.simd_eq(u8x64::from(b'}')).to_bitmask() & !strings;
        let depth = carry.depth;
        let closed = closes.count_ones();
        // Brackets that close nothing are found by whoever walks the event.
        carry.depth = (depth + opens.count_ones()).saturating_sub(closed);
        Block { quotes, opens, closes, depth, shallowest: depth.saturating_sub(closed) }
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

    #[test]
    fn finds_quotes_that_are_not_escaped_wherever_blocks_end() {
        for pad in 0..130 {
            let space = " ".repeat(pad);
            let event = format!(r#"{space}"a\"b\\" "#);
            let mut blocks = Blocks::default();
            let mut quote = |from| blocks.next_quote(event.as_bytes(), from);
            assert_eq!(quote(0), Some(pad), "{pad}");
            assert_eq!(quote(pad + 1), Some(pad + 7), "{pad}");
            assert_eq!(quote(pad + 8), None, "{pad}");
        }
    }

    #[test]
    fn finds_the_ends_of_containers_wherever_blocks_end() {
        for pad in 0..130 {
            let space = " ".repeat(pad);
            let event = format!(r#"[{space}{{"}}]": [1, {{}}, [{space}]]}}, 2]"#);
            let mut blocks = Blocks::default();
            let mut end = |open| blocks.end_of_container(event.as_bytes(), open);
            assert_eq!(end(pad + 1), Some(event.len() - 4), "{pad}");
            assert_eq!(end(0), Some(event.len()), "{pad}");
            assert_eq!(end(event.len()), None, "{pad}");
        }
    }
}
