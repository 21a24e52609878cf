//! RFC 6901 pointers while walking a value.

/// Runs `work` with `pointer` one member deeper.
pub(crate) fn inside<T>(
    pointer: &mut String,
    member: &str,
    work: impl FnOnce(&mut String) -> T,
) -> T {
    let outside = pointer.len();
    pointer.push('/');
    for character in member.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
    let result = work(pointer);
    pointer.truncate(outside);
    result
}
