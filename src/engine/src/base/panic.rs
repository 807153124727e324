//! What a panic says, fit for a log.

/// The part of a panic's message before it quotes anything: a slice of a text
/// quotes the text, an `unwrap` the error, and either may be a key or a value.
pub fn unquoted(message: &str) -> &str {
    let quotes = ["\"", "'", " of `", " slicing `", ": ", "\n"];
    let ends = quotes.iter().filter_map(|quote| message.find(quote));
    let end = ends.min().unwrap_or(message.len());
    message.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a text and its bytes.
    type Panic = fn(&str, &[u8]);

    fn failed<T>(error: T) -> Result<(), T> {
        Err(error)
    }

    #[test]
    fn no_panic_tells_data() {
        let key = "hunter2-é";
        let bytes = key.as_bytes();
        let panics: [(Panic, &str); 8] = [
            (|key, _| drop(key[..9].to_owned()), "byte index 9"),
            (|key, _| drop(key[..90].to_owned()), "byte index 90"),
            (|key, _| drop(key[3..key.len() - 8].to_owned()), "begin"),
            (|key, _| failed(key).unwrap(), "called `Result"),
            (|_, bytes| failed(bytes).unwrap(), "called `Result"),
            (|key, _| failed(key).expect("a reply"), "a reply"),
            (|_, bytes| assert_eq!(bytes, b""), "assertion"),
            (
                |_, bytes| assert_ne!(bytes[bytes.len() + 1], 0),
                "index out of bounds",
            ),
        ];
        for (panic, begins) in panics {
            let panicked = std::panic::catch_unwind(|| panic(key, bytes)).unwrap_err();
            let message = panicked.downcast_ref::<String>().unwrap();
            let told = unquoted(message);
            // Of bytes, their numbers are told: 104 is the first.
            assert!(!told.contains("hunter") && !told.contains("104"), "{told}");
            assert!(told.contains(begins), "{message:?}: {told:?}");
        }
        assert_eq!(unquoted("a literal"), "a literal");
        assert_eq!(
            unquoted("called `Option::unwrap()` on a `None` value"),
            "called `Option::unwrap()` on a `None` value"
        );
    }
}
