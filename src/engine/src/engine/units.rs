//! Transactions and scripts that may not come to their end.

use super::Engine;
use crate::host::Host;

impl Engine {
    /// A transaction or script begins.
    #[inline]
    pub fn unit_begins(&mut self) {
        self.persist.unit_begins();
    }

    /// The server is about to stop in the middle of a transaction or script;
    /// to be called before [`Engine::shutdown`].
    pub fn drop_unit(&mut self, host: &mut dyn Host) {
        self.persist.drop_unit(host);
    }
}
