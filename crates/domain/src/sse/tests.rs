use proptest::prelude::*;

use super::*;
use crate::testing::{chunks, cuts};

const A_PART: PieceKind = PieceKind::Oversized { is_last: false };
const LAST_PART: PieceKind = PieceKind::Oversized { is_last: true };

/// All pieces of a stream; a late LF is put back to the piece it belongs to.
fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(PieceKind, Vec<u8>)>, Vec<u8>) {
    let mut splitter = Splitter::default();
    let mut pieces: Vec<(PieceKind, Vec<u8>)> = Vec::new();
    for mut rest in chunks {
        while let Some(piece) = splitter.next_piece(&mut rest) {
            match (piece.kind, pieces.last_mut()) {
                (PieceKind::LateLineFeed, Some((_, last))) => last.extend_from_slice(piece.raw),
                // Where an oversized event is cut depends on the chunks, and is nobody's business.
                (
                    PieceKind::Oversized { .. },
                    Some((kind @ PieceKind::Oversized { is_last: false }, last)),
                ) => {
                    *kind = piece.kind;
                    last.extend_from_slice(piece.raw);
                }
                (kind, _) => pieces.push((kind, piece.raw.to_vec())),
            }
        }
        assert!(rest.is_empty());
    }
    (pieces, splitter.take_rest())
}

fn kinds(stream: &[u8]) -> Vec<(PieceKind, String)> {
    let (pieces, _) = pieces([stream]);
    pieces.into_iter().map(|(kind, raw)| (kind, String::from_utf8_lossy(&raw).into())).collect()
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        6 => Just("\n".to_owned()),
        3 => Just("\r\n".to_owned()),
        2 => Just("\r".to_owned()),
        4 => Just("data: ".to_owned()),
        2 => Just("data".to_owned()),
        2 => Just("event: ".to_owned()),
        2 => Just(":".to_owned()),
        1 => Just("\u{feff}".to_owned()),
        1 => Just("id: 7".to_owned()),
        4 => "[a-z {}é😀:]{0,6}",
    ];
    let valid = prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes());
    prop_oneof![9 => valid, 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_pieces_and_loses_no_byte(stream in streams(), cuts in cuts()) {
        let whole = pieces([stream.as_slice()]);
        prop_assert_eq!(&pieces(chunks(&stream, &cuts)), &whole);
        prop_assert_eq!(&pieces(stream.chunks(1)), &whole);
        let (mut bytes, rest) = (Vec::new(), whole.1);
        whole.0.iter().for_each(|(_, raw)| bytes.extend_from_slice(raw));
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(bytes, stream);
    }
}

#[test]
fn every_line_end_ends_a_line_and_a_blank_one_an_event() {
    use PieceKind::{Between, ByteOrderMark, Event};
    let found = kinds(
        b"\xEF\xBB\xBFdata: 1\n\ndata: 2\r\r: c\ndata: 3\r\n\r\n\nevent: x\n: c\ndata: 4\n\n",
    );
    let expected = [
        (ByteOrderMark, "\u{feff}"),
        (Event, "data: 1\n\n"),
        (Event, "data: 2\r\r"),
        (Between, ": c\n"),
        (Event, "data: 3\r\n\r\n"),
        (Between, "\n"),
        (Event, "event: x\n: c\ndata: 4\n\n"),
    ];
    assert_eq!(found, expected.map(|(kind, raw)| (kind, raw.to_owned())));
}

#[test]
fn an_event_is_whole_with_its_second_carriage_return() {
    let mut splitter = Splitter::default();
    let mut chunk: &[u8] = b"data: 1\r\n\r";
    let piece = splitter.next_piece(&mut chunk).unwrap();
    assert_eq!((piece.kind, piece.raw), (PieceKind::Event, b"data: 1\r\n\r".as_slice()));
    let mut chunk: &[u8] = b"\ndata: 2";
    let piece = splitter.next_piece(&mut chunk).unwrap();
    assert_eq!((piece.kind, piece.raw), (PieceKind::LateLineFeed, b"\n".as_slice()));
    assert_eq!(splitter.next_piece(&mut chunk), None);
    assert!(splitter.is_holding());
}

#[test]
fn an_event_over_the_cap_passes_in_parts_and_the_next_one_whole() {
    let mut stream = b"data: 1\n\ndata: ".to_vec();
    stream.resize(stream.len() + MAX_EVENT_BYTES, b'x');
    stream.extend_from_slice(b"\ndata: y\n\ndata: 2\n\n");
    for size in [stream.len(), 1_000_003, 65_536] {
        let (pieces, rest) = pieces(stream.chunks(size));
        let kinds: Vec<PieceKind> = pieces.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [PieceKind::Event, LAST_PART, PieceKind::Event]);
        assert_eq!(pieces[2].1, b"data: 2\n\n");
        assert_eq!(pieces.iter().flat_map(|(_, raw)| raw).count(), stream.len());
        assert!(rest.is_empty());
    }
}

#[test]
fn an_event_of_exactly_the_cap_is_read() {
    let mut stream = b"data: ".to_vec();
    stream.resize(MAX_EVENT_BYTES - 2, b'x');
    stream.extend_from_slice(b"\n\n");
    for size in [stream.len(), 1_000_003] {
        let (pieces, _) = pieces(stream.chunks(size));
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].0, PieceKind::Event);
    }
}

#[test]
fn inside_an_oversized_event_there_is_no_boundary() {
    let mut splitter = Splitter::default();
    let large = vec![b'x'; MAX_EVENT_BYTES + 1];
    let mut rest = large.as_slice();
    assert_eq!(splitter.next_piece(&mut rest).unwrap().kind, A_PART);
    assert!(splitter.is_inside_event());
    let mut rest: &[u8] = b"\n\n";
    assert_eq!(splitter.next_piece(&mut rest).unwrap().kind, LAST_PART);
    assert!(!splitter.is_inside_event());
}

#[test]
fn an_oversized_event_goes_on_after_a_line_end_cut_in_two() {
    let mut splitter = Splitter::default();
    let mut large = vec![b'x'; MAX_EVENT_BYTES];
    large.push(b'\r');
    for (chunk, kind) in
        [(large.as_slice(), A_PART), (b"\ndata: y", A_PART), (b"\r\n\r\n", LAST_PART)]
    {
        let mut rest = chunk;
        let piece = splitter.next_piece(&mut rest).unwrap();
        assert_eq!((piece.kind, piece.raw), (kind, chunk));
    }
    assert!(!splitter.is_inside_event());
}

#[test]
fn half_a_byte_order_mark_begins_a_field() {
    for stream in [b"\xEF: x\n\n".as_slice(), b"\xEF\xBB\n\n", b"\xEF\xEFdata: x\n\n"] {
        let (pieces, _) = pieces([stream]);
        assert_eq!(pieces, [(PieceKind::Event, stream.to_vec())]);
    }
}
