//! A strict JSON reader that hands out one token at a time and words its errors as AWS does.
//!
//! Patterns are read with it because AWS names the column at which its own reader stood when it
//! refused a pattern: that reader looks one value ahead after a member's name, and leaves a string
//! unread until somebody asks for its text.

use crate::error::describe_place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    Name,
    String,
    Number,
    True,
    False,
    Null,
    /// Nothing but white space is left.
    End,
}

#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) offset: usize,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    close: u8,
    start: usize,
    entries: bool,
}

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
    open: Vec<Container>,
    deepest: usize,
    ahead: Option<Token>,
    unread_string: bool,
    name: String,
    token_text: &'a str,
    finished: bool,
}

type Result<T> = std::result::Result<T, SyntaxError>;

const VALUES: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, deepest: usize) -> Reader<'a> {
        Reader {
            text,
            bytes: text.as_bytes(),
            position: 0,
            open: Vec::new(),
            deepest,
            ahead: None,
            unread_string: false,
            name: String::new(),
            token_text: "",
            finished: false,
        }
    }

    /// Where reading has got to.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The name that the last [`Token::Name`] stands for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The last token as it is written; a number's digits, for instance.
    pub(crate) fn token_text(&self) -> &'a str {
        self.token_text
    }

    /// The value of the last [`Token::String`].
    pub(crate) fn string(&mut self) -> Result<String> {
        self.unread_string = false;
        self.read_string()
    }

    pub(crate) fn next(&mut self) -> Result<Token> {
        if let Some(token) = self.ahead.take() {
            return Ok(token);
        }
        if self.unread_string {
            self.string()?;
        }
        self.skip_space();
        let Some(&byte) = self.bytes.get(self.position) else {
            return self.at_end();
        };
        if self.open.is_empty() && self.finished {
            return Err(self.unexpected("expected the end of the text"));
        }
        if byte == b'}' || byte == b']' {
            return self.close(byte);
        }
        let in_object = self.separate(byte)?;
        if in_object { self.read_name() } else { self.read_value() }
    }

    /// Consumes the comma before every entry but the first; says whether a name comes next.
    fn separate(&mut self, byte: u8) -> Result<bool> {
        let Some(container) = self.open.last_mut() else { return Ok(false) };
        let in_object = container.close == b'}';
        if container.entries {
            if byte != b',' {
                let kind = if in_object { "Object" } else { "Array" };
                return Err(
                    self.unexpected(&format!("was expecting comma to separate {kind} entries"))
                );
            }
            self.position += 1;
            self.skip_space();
        } else {
            container.entries = true;
        }
        Ok(in_object)
    }

    fn close(&mut self, byte: u8) -> Result<Token> {
        let found = self.open.last().copied();
        match found {
            Some(container) if container.close == byte => {
                self.position += 1;
                self.token_text = if byte == b'}' { "}" } else { "]" };
                self.open.pop();
                self.finished = self.open.is_empty();
                Ok(if byte == b'}' { Token::EndObject } else { Token::EndArray })
            }
            Some(container) => {
                self.position += 1;
                let kind = if container.close == b'}' { "Object" } else { "Array" };
                Err(self.error(format!(
                    "Unexpected close marker '{}': expected '{}' (for {kind} starting at {})",
                    byte as char,
                    container.close as char,
                    describe_place(self.text, container.start)
                )))
            }
            None => Err(self.unexpected(&format!("expected a valid value {VALUES}"))),
        }
    }

    fn at_end(&mut self) -> Result<Token> {
        let Some(container) = self.open.last().copied() else { return Ok(Token::End) };
        let kind = if container.close == b'}' { "Object" } else { "Array" };
        Err(self.error(format!(
            "Unexpected end-of-input: expected close marker for {kind} (start marker at {})",
            describe_place(self.text, container.start)
        )))
    }

    fn read_name(&mut self) -> Result<Token> {
        if self.bytes.get(self.position) != Some(&b'"') {
            if self.position >= self.bytes.len() {
                return self.at_end();
            }
            return Err(self.unexpected("was expecting double-quote to start field name"));
        }
        self.position += 1;
        self.name = self.read_string()?;
        self.skip_space();
        match self.bytes.get(self.position) {
            None => return self.at_end(),
            Some(b':') => self.position += 1,
            Some(_) => {
                return Err(
                    self.unexpected("was expecting a colon to separate field name and value")
                );
            }
        }
        self.skip_space();
        if self.position >= self.bytes.len() {
            return self.at_end();
        }
        self.ahead = Some(self.read_value()?);
        Ok(Token::Name)
    }

    fn read_value(&mut self) -> Result<Token> {
        let start = self.position;
        let Some(&byte) = self.bytes.get(start) else { return self.at_end() };
        let token = match byte {
            b'{' => self.enter(b'}', Token::StartObject)?,
            b'[' => self.enter(b']', Token::StartArray)?,
            b'"' => {
                self.position += 1;
                self.unread_string = true;
                Token::String
            }
            b'-' | b'0'..=b'9' => self.read_number()?,
            b't' => self.read_literal("true", Token::True)?,
            b'f' => self.read_literal("false", Token::False)?,
            b'n' => self.read_literal("null", Token::Null)?,
            b if b.is_ascii_alphabetic() || b == b'_' || b == b'$' => {
                return Err(self.unknown_word());
            }
            _ => return Err(self.unexpected(&format!("expected a valid value {VALUES}"))),
        };
        self.token_text = &self.text[start..self.position];
        self.finished = self.open.is_empty();
        Ok(token)
    }

    fn enter(&mut self, close: u8, token: Token) -> Result<Token> {
        if self.open.len() >= self.deepest {
            let deepest = self.deepest;
            return Err(self.error(format!(
                "Document nesting depth ({}) exceeds the maximum allowed ({deepest})",
                deepest + 1
            )));
        }
        self.open.push(Container { close, start: self.position, entries: false });
        self.position += 1;
        Ok(token)
    }

    fn read_literal(&mut self, word: &str, token: Token) -> Result<Token> {
        let rest = &self.bytes[self.position..];
        let whole = rest.starts_with(word.as_bytes())
            && !rest.get(word.len()).is_some_and(|&b| is_word_byte(b));
        if !whole {
            return Err(self.unknown_word());
        }
        self.position += word.len();
        Ok(token)
    }

    fn unknown_word(&mut self) -> SyntaxError {
        let start = self.position;
        while self.bytes.get(self.position).is_some_and(|&b| is_word_byte(b)) {
            self.position += 1;
        }
        let word = &self.text[start..self.position];
        self.error(format!("Unrecognized token '{word}': was expecting {VALUES}"))
    }

    fn read_number(&mut self) -> Result<Token> {
        if self.bytes[self.position] == b'-' {
            self.position += 1;
            if !self.at_digit() {
                return Err(self.bad_number(
                    "expected digit (0-9) to follow minus sign, for valid numeric value",
                ));
            }
        }
        if self.bytes[self.position] == b'0' {
            self.position += 1;
            if self.at_digit() {
                return Err(
                    self.error("Invalid numeric value: Leading zeroes not allowed".to_owned())
                );
            }
        }
        self.skip_digits();
        if self.bytes.get(self.position) == Some(&b'.') {
            self.position += 1;
            if !self.at_digit() {
                return Err(self.bad_number("Decimal point not followed by a digit"));
            }
            self.skip_digits();
        }
        if matches!(self.bytes.get(self.position), Some(b'e' | b'E')) {
            self.position += 1;
            if matches!(self.bytes.get(self.position), Some(b'+' | b'-')) {
                self.position += 1;
            }
            if !self.at_digit() {
                return Err(self.bad_number("Exponent indicator not followed by a digit"));
            }
            self.skip_digits();
        }
        Ok(Token::Number)
    }

    fn bad_number(&mut self, why: &str) -> SyntaxError {
        let Some(c) = self.take_char() else {
            return self.error("Unexpected end-of-input in numeric value".to_owned());
        };
        self.error(format!("Unexpected character ({}) in numeric value: {why}", describe(c)))
    }

    fn at_digit(&self) -> bool {
        self.bytes.get(self.position).is_some_and(u8::is_ascii_digit)
    }

    fn skip_digits(&mut self) {
        while self.at_digit() {
            self.position += 1;
        }
    }

    /// Reads to the closing quote; `position` stands behind the opening one.
    fn read_string(&mut self) -> Result<String> {
        let mut value = String::new();
        loop {
            let start = self.position;
            let rest = &self.bytes[start..];
            let Some(length) = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20)
            else {
                self.position = self.bytes.len();
                return Err(self.error(
                    "Unexpected end-of-input: was expecting closing quote for a string value"
                        .to_owned(),
                ));
            };
            value.push_str(&self.text[start..start + length]);
            self.position = start + length + 1;
            match rest[length] {
                b'"' => return Ok(value),
                b'\\' => self.read_escape(&mut value)?,
                control => {
                    return Err(self.error(format!(
                        "Illegal unquoted character ((CTRL-CHAR, code {control})): has to be \
                         escaped using backslash to be included in string value"
                    )));
                }
            }
        }
    }

    fn read_escape(&mut self, value: &mut String) -> Result<()> {
        let Some(c) = self.take_char() else {
            return Err(
                self.error("Unexpected end-of-input in character escape sequence".to_owned())
            );
        };
        value.push(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.read_unicode_escape(value),
            _ => {
                return Err(self.error(format!("Unrecognized character escape {}", describe(c))));
            }
        });
        Ok(())
    }

    fn read_unicode_escape(&mut self, value: &mut String) -> Result<()> {
        let first = self.read_hex()?;
        if (0xD800..0xDC00).contains(&first) && self.bytes[self.position..].starts_with(b"\\u") {
            let back = self.position;
            self.position += 2;
            let second = self.read_hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            self.position = back;
        }
        value.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn read_hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(c) = self.take_char() else {
                return Err(
                    self.error("Unexpected end-of-input in character escape sequence".to_owned())
                );
            };
            let Some(digit) = c.to_digit(16) else {
                return Err(self.error(format!(
                    "Unexpected character ({}): expected a hex-digit for character escape sequence",
                    describe(c)
                )));
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn unexpected(&mut self, why: &str) -> SyntaxError {
        let Some(c) = self.take_char() else {
            return self.error("Unexpected end-of-input".to_owned());
        };
        self.error(format!("Unexpected character ({}): {why}", describe(c)))
    }

    fn take_char(&mut self) -> Option<char> {
        let c = self.text[self.position..].chars().next()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.position), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn error(&self, message: String) -> SyntaxError {
        SyntaxError { message, offset: self.position }
    }
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$'
}

fn describe(c: char) -> String {
    let code = u32::from(c);
    if code < 0x20 {
        format!("(CTRL-CHAR, code {code})")
    } else if code > 0xff {
        format!("'{c}' (code {code} / 0x{code:x})")
    } else {
        format!("'{c}' (code {code})")
    }
}

/// Whether the text is a number and nothing else.
pub(crate) fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = leading_digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = leading_digits(fraction);
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let digits = leading_digits(exponent);
        return digits > 0 && digits == exponent.len();
    }
    rest.is_empty()
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// What a string stands for, given what is between its quotes.
pub(crate) fn unescape(inside: &[u8]) -> std::result::Result<String, String> {
    let text = std::str::from_utf8(inside).map_err(|_| "it is not UTF-8".to_owned())?;
    let quoted = format!("{text}\"");
    Reader::new(&quoted, 1).read_string().map_err(|e| e.message)
}
