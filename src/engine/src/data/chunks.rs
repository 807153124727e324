//! stub
/// stub
#[derive(Debug, Clone, Default)]
pub struct ChunkList;
impl ChunkList {
    /// n
    pub fn len(&self) -> usize {
        0
    }
    /// i
    pub fn iter_from(&self, _i: usize) -> std::iter::Empty<&[u8]> {
        std::iter::empty()
    }
}
