//! How far reading has come: a bar on a terminal, and what was found sound.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use persist_engine::persist::reading::{Reading, SoundFile};

/// Bytes between two updates of the bar.
const STEP: u64 = 4 << 20;

/// Shows a bar on stderr if that is a terminal, and keeps what it hears.
pub struct Bar {
    bar: ProgressBar,
    shown: u64,
    /// What was found sound.
    pub sound: Vec<SoundFile>,
}

impl Bar {
    /// Nothing is read yet.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar {
            bar,
            shown: 0,
            sound: Vec::new(),
        }
    }

    /// Forgets everything: reading begins again.
    pub fn again(&mut self) {
        self.sound.clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Reading for Bar {
    fn begin(&mut self, path: &Path, len: u64) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.bar.set_message(name.into_owned());
        self.bar.reset();
        self.bar.set_length(len);
        self.shown = 0;
    }

    fn at(&mut self, bytes: u64) {
        if bytes.abs_diff(self.shown) >= STEP {
            self.shown = bytes;
            self.bar.set_position(bytes);
        }
    }

    fn sound(&mut self, file: SoundFile) {
        self.sound.push(file);
    }
}
