//! Single bits: SETBIT, GETBIT.

use super::super::spec::{RF, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec};
use super::{bit_offset, bytes_of, overwrite};
use crate::data::bits;
use crate::keyspace::keys::EventClass;

/// The commands on one bit.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "SETBIT",
        arity: 4,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Sets or clears the bit at an offset of a string. Creates the key if it doesn't exist.",
        syntax: "key offset value:integer",
        examples: &[
            ("SETBIT k 7 1", "0"),
            ("SETBIT k 7 1", "1"),
            ("GET k", "\"\\x01\""),
            ("SETBIT k 8 0", "0"),
            ("GET k", "\"\\x01\\x00\""),
            ("SETBIT k 0 2", "-ERR bit is not an integer or out of range"),
            (
                "SETBIT k -1 1",
                "-ERR bit offset is not an integer or out of range",
            ),
            (
                "SETBIT k 4294967296 1",
                "-ERR bit offset is not an integer or out of range",
            ),
        ],
        run: setbit,
    },
    Spec {
        name: "GETBIT",
        arity: 3,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns the bit at an offset of a string.",
        syntax: "key offset",
        examples: &[
            ("SETBIT k 7 1", "0"),
            ("GETBIT k 0", "0"),
            ("GETBIT k 7", "1"),
            ("GETBIT k 100", "0"),
            ("GETBIT none 7", "0"),
        ],
        run: getbit,
    },
];

fn setbit(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, at) = (argv[1], bit_offset(cx, argv[2], None)?);
    let on = match argv[3] {
        b"0" => false,
        b"1" => true,
        _ => {
            return Err(CommandError::text(
                "ERR bit is not an integer or out of range",
            ));
        }
    };
    let bytes = bytes_of(cx, key)?;
    let old = bits::get(bytes, at);
    let byte = bytes.get(at / 8).copied();
    // A string that only grows by zeros has changed, too.
    if byte.is_none() || old != on {
        let bit = 0x80 >> (at % 8);
        let byte = byte.unwrap_or(0);
        let byte = if on { byte | bit } else { byte & !bit };
        overwrite(cx, key, at / 8, &[byte])?;
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::String, "setbit", key);
    }
    cx.reply.int(i64::from(old));
    Ok(())
}

fn getbit(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let at = bit_offset(cx, argv[2], None)?;
    let bit = bits::get(bytes_of(cx, argv[1])?, at);
    cx.reply.int(i64::from(bit));
    Ok(())
}
