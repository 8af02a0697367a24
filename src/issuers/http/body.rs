//! The body of an answer: bounded, and wiped when dropped.

use zeroize::Zeroizing;

use super::error::HttpError;

/// The longest body that is taken in, in bytes.
pub const LONGEST_BODY: usize = 1 << 20;

/// A body, which may hold values.
#[derive(Default)]
pub struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Takes in the body of an answer as it comes, and leaves the rest of one that is too long.
    pub async fn read(mut response: reqwest::Response) -> Result<Self, HttpError> {
        let mut body = Self::default();
        while let Some(chunk) = response.chunk().await.map_err(|error| HttpError::of_answer(&error))? {
            body.append(&chunk)?;
        }
        Ok(body)
    }

    /// What has come.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A vector that grows by itself would leave a copy behind that nobody wipes.
    fn append(&mut self, chunk: &[u8]) -> Result<(), HttpError> {
        let length = self.0.len() + chunk.len();
        if length > LONGEST_BODY {
            return Err(HttpError::TooLong);
        }
        if length > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_what_came_in_its_order() {
        let mut body = Body::default();
        for chunk in [&b"one "[..], b"", b"two ", &[b'x'; 5000]] {
            body.append(chunk).unwrap();
        }
        assert_eq!(body.as_bytes(), [&b"one two "[..], &[b'x'; 5000]].concat());
    }

    #[test]
    fn a_body_is_never_longer_than_it_may_be() {
        let mut body = Body::default();
        body.append(&vec![0; LONGEST_BODY]).unwrap();
        assert_eq!(body.append(&[0]), Err(HttpError::TooLong));
    }
}
