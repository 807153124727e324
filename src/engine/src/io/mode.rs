//! Permission bits of files and folders.

/// Who else than the owner gets at files. Nobody but their group ever does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// 600: nobody.
    Owner,
    /// 640: its group may read.
    GroupReads,
    /// 660: its group may read and write.
    GroupWrites,
}

impl FileMode {
    /// What `parse` takes.
    pub const WORDS: &[&str] = &["600", "640", "660"];

    /// The bits in octal, as chmod(1) takes them.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "600" => FileMode::Owner,
            "640" => FileMode::GroupReads,
            "660" => FileMode::GroupWrites,
            _ => return None,
        })
    }

    /// See [`FileMode::parse`].
    pub const fn word(self) -> &'static str {
        match self {
            FileMode::Owner => "600",
            FileMode::GroupReads => "640",
            FileMode::GroupWrites => "660",
        }
    }

    /// Bits of a file.
    pub const fn of_files(self) -> u32 {
        match self {
            FileMode::Owner => 0o600,
            FileMode::GroupReads => 0o640,
            FileMode::GroupWrites => 0o660,
        }
    }

    /// Bits of a folder: who may read a file may also get to it.
    pub const fn of_folders(self) -> u32 {
        let bits = self.of_files();
        bits | (bits & 0o444) >> 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bits() {
        for (word, folders) in FileMode::WORDS.iter().zip([0o700, 0o750, 0o770]) {
            let mode = FileMode::parse(word).unwrap();
            assert_eq!(mode.word(), *word);
            assert_eq!(format!("{:o}", mode.of_files()), *word);
            assert_eq!(mode.of_folders(), folders);
        }
        // Nobody else gets in, the owner always does, and nothing is a program.
        for word in ["644", "666", "400", "700", "0", "", "rw"] {
            assert_eq!(FileMode::parse(word), None, "{word}");
        }
    }
}
