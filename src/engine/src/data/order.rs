//! stub
/// stub
#[derive(Debug, Clone, Default)]
pub struct OrderTree;
impl OrderTree {
    /// n
    pub fn len(&self) -> usize {
        0
    }
    /// i
    pub fn iter_from(&self, _i: usize) -> std::iter::Empty<(f64, &[u8])> {
        std::iter::empty()
    }
}
