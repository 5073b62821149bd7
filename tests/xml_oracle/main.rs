//! The check against expat, which Prosody and ejabberd read with: what we pass, expat passes too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod corpus;
mod grammar;

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use vestibule::protocol::xml::check::Error;
use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::check::check;
use vestibule::protocol::xml::element::Element;

/// Reads documents with a length before each, and writes whether expat takes each with two separators of namespaces:
/// line feed, which ejabberd's parser uses, and U+0001, which Prosody's does.
const EXPAT: &str = r"
import struct, sys
from xml.parsers import expat
data, at, out = sys.stdin.buffer.read(), 0, bytearray()
def takes(text, separator):
    parser = expat.ParserCreate(namespace_separator=separator)
    try:
        parser.Parse(text, True)
        return True
    except (expat.ExpatError, LookupError):
        return False
while at < len(data):
    length, = struct.unpack_from('<I', data, at)
    at += 4
    text = data[at:at + length]
    at += length
    out.append(takes(text, '\n') and takes(text, '\x01'))
sys.stdout.buffer.write(bytes(out))
";

/// What expat says of each document.
fn expat(documents: &[Vec<u8>]) -> Vec<bool> {
    let mut command = Command::new("python3");
    command.args(["-c", EXPAT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = command.spawn().expect("python3 is installed");
    let mut input = Vec::new();
    for document in documents {
        input.extend_from_slice(&u32::try_from(document.len()).unwrap().to_le_bytes());
        input.extend_from_slice(document);
    }
    let mut stdin = python.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap());
    let mut answers = Vec::new();
    python.stdout.take().unwrap().read_to_end(&mut answers).unwrap();
    writer.join().unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(answers.len(), documents.len());
    answers.into_iter().map(|answer| answer == 1).collect()
}

fn ours(document: &[u8]) -> Result<(), Error> {
    check(document, &Limits::default()).map(|_| ())
}

/// The only reasons for which we refuse what expat takes.
fn may_be_refused_by_us_alone(document: &[u8], error: Error) -> bool {
    match error {
        // RFC 6120 §11.1 forbids the first three, the others are our own bounds.
        Error::Comment
        | Error::Instruction
        | Error::DocumentType
        | Error::Depth
        | Error::Attributes
        | Error::Prefixes => true,
        // A byte order mark.
        Error::Outside => document.starts_with(b"\xef\xbb\xbf"),
        // Other encodings, which RFC 6120 §11.6 forbids: what an XML declaration names, and UTF-16, which expat guesses.
        Error::Encoding => document.starts_with(b"<?xml"),
        Error::Character => {
            let begins = |with: &[u8]| document.starts_with(with);
            begins(b"\xfe\xff")
                || begins(b"\xff\xfe")
                || begins(b"<\0")
                || begins(b"\0")
                || begins(b"<?xml")
        }
        // A control character in a namespace, where expat minds only its own separator.
        Error::Namespace => document.windows(2).any(|pair| pair == b"&#"),
        Error::Empty
        | Error::Incomplete
        | Error::Name
        | Error::Tag
        | Error::EndTag
        | Error::Attribute
        | Error::Repeated
        | Error::CdataEnd
        | Error::Reference
        | Error::Entity
        | Error::Undeclared => false,
    }
}

/// Asks both of all documents; says how many both took and for what we alone refused how many.
fn compare(documents: &[Vec<u8>]) -> (usize, BTreeMap<String, usize>) {
    let (mut taken, mut refused) = (0, BTreeMap::new());
    for (document, expat_takes_it) in documents.iter().zip(expat(documents)) {
        let shown = String::from_utf8_lossy(document);
        match ours(document) {
            Ok(()) => {
                assert!(expat_takes_it, "we pass what expat refuses: {shown:?}");
                assert!(Element::parse(document).is_ok(), "passed but not read: {shown:?}");
                taken += 1;
            }
            Err(error) if expat_takes_it => {
                assert!(
                    may_be_refused_by_us_alone(document, error),
                    "we refuse ({error}) what expat takes: {shown:?}"
                );
                *refused.entry(format!("{error:?}")).or_insert(0) += 1;
            }
            Err(_) => {}
        }
    }
    (taken, refused)
}

#[test]
fn documents_written_by_hand_are_judged_as_expat_judges_them() {
    let documents = corpus::documents();

    let (taken, refused) = compare(&documents);

    assert!(taken > 40, "{taken}");
    let reasons: Vec<&str> = refused.keys().map(String::as_str).collect();
    assert_eq!(
        reasons,
        [
            "Attributes",
            "Character",
            "Comment",
            "Depth",
            "DocumentType",
            "Encoding",
            "Instruction",
            "Namespace",
            "Outside",
            "Prefixes"
        ]
    );
}

#[test]
fn every_character_is_judged_as_expat_judges_it_in_a_text_a_name_and_a_reference() {
    let mut documents = Vec::new();
    for character in '\0'..=char::MAX {
        // Beyond the first plane expat looks at none more closely; some of each plane will do.
        if u32::from(character) > 0x1_0100 && u32::from(character) % 0x1000 > 2 {
            continue;
        }
        documents.push(format!("<a>{character}</a>").into_bytes());
        documents.push(format!("<{character}/>").into_bytes());
        documents.push(format!("<a {character}=''/>").into_bytes());
        documents.push(format!("<a{character}></a{character}>").into_bytes());
        documents.push(format!("<a>&#{};</a>", u32::from(character)).into_bytes());
    }
    for number in
        [0xd7ff, 0xd800, 0xdfff, 0xe000, 0xfffd, 0xfffe, 0xffff, 0x10_ffff, 0x11_0000, u32::MAX]
    {
        documents.push(format!("<a b='&#x{number:x};'/>").into_bytes());
        documents.push(format!("<a b='&#x00000000000000{number:X};'/>").into_bytes());
    }

    let (taken, refused) = compare(&documents);

    assert!(taken > 200_000, "{taken}");
    assert_eq!(refused, BTreeMap::new());
}

#[test]
fn mutated_documents_that_we_pass_expat_passes_too() {
    let seeds = corpus::documents();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // Few mutations make a good document of a bad one.
    let good: Vec<&Vec<u8>> = seeds.iter().filter(|document| ours(document).is_ok()).collect();
    let mut documents = Vec::new();
    for _ in 0..100_000 {
        let mut document = good[dice.below(good.len())].clone();
        document.truncate(600);
        for _ in 0..=dice.below(2) {
            mutate(&mut document, &seeds, &mut dice);
        }
        documents.push(document);
    }

    let (taken, refused) = compare(&documents);

    // Else it would be noise that was compared.
    assert!(taken > 10_000, "{taken} of {}, {refused:?}", documents.len());
}

#[test]
fn documents_of_a_grammar_are_judged_as_expat_judges_them() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let documents: Vec<Vec<u8>> = (0..150_000).map(|_| grammar::document(&mut dice)).collect();

    let (taken, refused) = compare(&documents);

    // Both kinds are there to be judged.
    assert!((30_000..120_000).contains(&taken), "{taken} of {}, {refused:?}", documents.len());
}

#[test]
fn every_edge_of_utf_8_is_judged_as_expat_judges_it() {
    // Before and behind each limit of a byte in RFC 3629 §4.
    const EDGES: [u8; 22] = [
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
        0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5,
    ];
    let mut documents = Vec::new();
    for first in 0x80..=0xff {
        for second in EDGES {
            documents.push([b"<a>", &[first, second][..], b"</a>"].concat());
            for third in EDGES {
                documents.push([b"<a b='", &[first, second, third][..], b"'/>"].concat());
            }
        }
    }
    for first in 0xf0..=0xf8 {
        for (second, third) in EDGES.iter().flat_map(|second| EDGES.map(|third| (*second, third))) {
            for fourth in EDGES {
                documents.push([b"<a>", &[first, second, third, fourth][..], b"</a>"].concat());
            }
        }
    }

    let (taken, refused) = compare(&documents);

    assert!(taken > 1000, "{taken}");
    assert_eq!(refused, BTreeMap::new());
}

/// Numbers that look like chance and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

fn mutate(document: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    const PIECES: [&str; 48] = [
        "<",
        ">",
        "/",
        "/>",
        "</",
        "=",
        "'",
        "\"",
        "&",
        ";",
        "&amp;",
        "&#x41;",
        "&#",
        "&#x",
        "]]>",
        "]]",
        "<![CDATA[",
        "<!--",
        "-->",
        "<?",
        "?>",
        "<!",
        " ",
        "\n",
        "\r\n",
        "\t",
        "xmlns",
        "xmlns:",
        "xmlns=''",
        " xmlns:a='u'",
        " a:b=''",
        " b=''",
        "xml",
        "xml:lang='en'",
        ":",
        "a:",
        "a",
        "1",
        "-",
        ".",
        "_",
        "é",
        "\u{300}",
        "\u{b7}",
        "\u{10000}",
        "\u{ffff}",
        "\0",
        "<a>",
    ];
    let at = dice.below(document.len() + 1);
    let end = (at + dice.below(6)).min(document.len());
    match dice.below(7) {
        0 => drop(document.drain(at..end)),
        1 | 2 => drop(document.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
        3 => drop(document.splice(at..end, PIECES[dice.below(PIECES.len())].bytes())),
        4 => {
            let copy = document[at..end].to_vec();
            document.splice(at..at, copy);
        }
        5 => {
            let byte = u8::try_from(dice.below(256)).unwrap();
            drop(document.splice(at..end.min(at + 1), [byte]));
        }
        _ => {
            let other = &seeds[dice.below(seeds.len())];
            let begin = dice.below(other.len() + 1);
            let other = other[begin..(begin + dice.below(40)).min(other.len())].to_vec();
            document.splice(at..end, other);
        }
    }
}
