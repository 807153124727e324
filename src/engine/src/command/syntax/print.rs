//! From arguments to text.

use std::fmt;

use super::{Arg, KINDS, Kind, kind_of};

/// The syntax of arguments in a row, without what values are.
pub struct Plain<'a>(pub &'a [Arg<'a>]);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, self.0, " ")
    }
}

/// With `#`, kinds of values are said where names don't.
impl fmt::Display for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.optional {
            return self.required(f);
        }
        f.write_str("[")?;
        match self.kind {
            // The brackets hold the alternatives together.
            Kind::OneOf if self.token.is_none() && !self.multiple => row(f, &self.parts, " | ")?,
            Kind::OneOf if self.multiple => {
                self.once(f)?;
                f.write_str(" ...")?;
            }
            _ => self.required(f)?,
        }
        f.write_str("]")
    }
}

impl Arg<'_> {
    /// As often as it may come.
    fn required(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.word(f)?;
        self.once(f)?;
        if self.multiple {
            f.write_str(" [")?;
            if self.multiple_token {
                self.word(f)?;
            }
            self.once(f)?;
            f.write_str(" ...]")?;
        }
        Ok(())
    }

    /// The token and what keeps it apart.
    fn word(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.token {
            Some(token) if self.kind == Kind::Token => f.write_str(token),
            Some(token) => write!(f, "{token} "),
            None => Ok(()),
        }
    }

    /// What stands behind the token.
    fn once(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Token => Ok(()),
            Kind::Block => row(f, &self.parts, " "),
            Kind::OneOf => {
                f.write_str("<")?;
                row(f, &self.parts, " | ")?;
                f.write_str(">")
            }
            kind => {
                f.write_str(&self.name)?;
                let said = KINDS.iter().find(|known| known.1 == kind);
                match said {
                    Some((word, _)) if f.alternate() && kind != kind_of(&self.name) => {
                        write!(f, ":{word}")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, args: &[Arg<'_>], between: &str) -> fmt::Result {
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        // Hands the flags on.
        fmt::Display::fmt(arg, f)?;
    }
    Ok(())
}
