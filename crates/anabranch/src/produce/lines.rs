use std::{
    io::{self, Read},
    mem,
};

use tokio::sync::mpsc;

/// A line, in bytes: far more than any topic takes, and little enough to hold.
const LINE_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 256 << 10;
/// How many blocks are read ahead.
const BLOCKS_AHEAD: usize = 8;

/// Whole lines, each with its newline; only the very last line may have none.
pub(super) type Block = Vec<u8>;

/// Reads blocks on a thread of its own, because a read of a terminal or of a pipe may block for ever. Nobody waits for
/// that thread: it ends with the process, or when nobody takes its blocks any more.
pub(super) fn spawn(input: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<io::Result<Block>>> {
    let (sender, receiver) = mpsc::channel(BLOCKS_AHEAD);
    let reader = std::thread::Builder::new().name("lines".to_owned());
    reader.spawn(move || {
        for block in Blocks::new(input) {
            if sender.blocking_send(block).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// The lines of a block without their newlines.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Cuts input after the last newline of each read, so that what has come goes on before the next read can block.
struct Blocks<R> {
    input: R,
    /// The beginning of a line whose end was not read yet.
    begun: Vec<u8>,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    fn new(input: R) -> Self {
        Self { input, begun: Vec::new(), ended: false }
    }

    fn next_block(&mut self) -> io::Result<Option<Block>> {
        while !self.ended {
            let filled = self.begun.len();
            if filled > LINE_BYTES_MAX {
                let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            self.begun.resize(filled + READ_BYTES, 0);
            let read = self.input.read(&mut self.begun[filled..]);
            self.begun.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(last) = self.begun[filled..].iter().rposition(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(filled + last + 1);
                return Ok(Some(mem::replace(&mut self.begun, rest)));
            }
        }
        Ok(Some(mem::take(&mut self.begun)).filter(|rest| !rest.is_empty()))
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_block().transpose();
        if matches!(next, Some(Err(_))) {
            self.ended = true;
            self.begun.clear();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece a read, as a pipe does.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn blocks(pieces: &[&'static [u8]]) -> Vec<Block> {
        Blocks::new(Pieces(pieces.to_vec())).collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn a_block_ends_with_the_last_whole_line_that_was_read() {
        assert_eq!(
            blocks(&[b"a\nb", b"c", b"\nd\n\n", b"e"]),
            [b"a\n".to_vec(), b"bc\nd\n\n".to_vec(), b"e".to_vec()]
        );
        assert_eq!(blocks(&[]), Vec::<Block>::new());
        assert_eq!(blocks(&[b"\n"]), [b"\n".to_vec()]);
    }

    #[test]
    fn lines_keep_every_byte_but_their_newline() {
        let of = |block: &'static [u8]| lines(block).collect::<Vec<_>>();
        assert_eq!(of(b"a\r\n\n\xff\x00\n"), [&b"a\r"[..], b"", b"\xff\x00"]);
        assert_eq!(of(b"a\nb"), [b"a", b"b"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut blocks = Blocks::new(io::repeat(b'x'));
        assert!(blocks.next().unwrap().is_err());
        assert!(blocks.next().is_none());
    }
}
