//! Whether a key was changed since somebody began to look at it: a key that is
//! copied a piece at a time mustn't change meanwhile.
//!
//! It is the log's effects that are looked at, since they leave nothing out:
//! some commands, such as XACK, change a key without an event for watchers.

/// The key that is looked at, if one is.
#[derive(Debug, Default)]
pub struct Touch {
    key: Option<Box<[u8]>>,
    touched: bool,
}

impl Touch {
    /// Looks at `key` from now on, in whichever database, or at none.
    pub fn set(&mut self, key: Option<&[u8]>) {
        self.key = key.map(Into::into);
        self.touched = false;
    }

    /// Whether the key may have been changed since then.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// An effect that names the key may be one on it.
    #[inline]
    pub fn effect(&mut self, args: &[&[u8]]) {
        if let Some(key) = &self.key {
            self.touched |= args.contains(&&**key);
        }
    }

    /// A whole database was emptied or exchanged.
    pub fn replaced(&mut self) {
        self.touched = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_key_touches_it_until_another_is_looked_at() {
        let mut touch = Touch::default();
        touch.effect(&[b"k"]);
        assert!(!touch.is_touched());
        touch.set(Some(b"k"));
        touch.effect(&[b"other", b"kk"]);
        assert!(!touch.is_touched());
        touch.effect(&[b"other", b"k"]);
        assert!(touch.is_touched());
        touch.set(Some(b"k"));
        assert!(!touch.is_touched());
        touch.replaced();
        assert!(touch.is_touched());
    }
}
