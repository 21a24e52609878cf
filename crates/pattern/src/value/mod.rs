//! The kinds of value a pattern compares with, each with its own notion of "equal".

pub(crate) mod ignore_case;
pub(crate) mod ip;
pub(crate) mod number;
pub(crate) mod wildcard;

pub(crate) use ignore_case::IgnoreCase;
pub(crate) use ip::{IpAddress, IpRange};
pub(crate) use number::{Number, NumberRange};
pub(crate) use wildcard::Wildcard;

/// A leaf of an event, unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    String(&'a [u8]),
    /// As it is written.
    Number(&'a [u8]),
    True,
    False,
    Null,
}
